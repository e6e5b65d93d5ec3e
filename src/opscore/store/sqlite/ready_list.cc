#include "opscore/store/sqlite/ready_list.h"

#include <algorithm>
#include <ranges>

namespace opscore::sqlite {
namespace {

struct RunsLater {
  bool operator()(const Entry& a, const Entry& b) const {
    int64_t left = a.order(), right = b.order();
    return left != right ? left > right : a.key > b.key;
  }
};

template <class Heap>
void push_earliest(Heap& heap, const typename Heap::value_type& due) {
  heap.push_back(due);
  std::ranges::push_heap(heap, std::greater());
}

template <class Heap>
typename Heap::value_type pop_earliest(Heap& heap) {
  std::ranges::pop_heap(heap, std::greater());
  auto due = heap.back();
  heap.pop_back();
  return due;
}

}  // namespace

void EntryQueue::push(Entry entry) {
  if (run_.empty() || !RunsLater()(run_.back(), entry)) return run_.push_back(entry);
  if (RunsLater()(run_.front(), entry)) return run_.push_front(entry);
  late_.push_back(entry);
  std::ranges::push_heap(late_, RunsLater());
}

bool EntryQueue::top_is_late() const {
  return run_.empty() || (!late_.empty() && RunsLater()(run_.front(), late_.front()));
}

const Entry& EntryQueue::top() const {
  return top_is_late() ? late_.front() : run_.front();
}

void EntryQueue::pop() {
  if (!top_is_late()) return run_.pop_front();
  std::ranges::pop_heap(late_, RunsLater());
  late_.pop_back();
  if (late_.empty()) late_.shrink_to_fit();
}

template <class Gone>
void EntryQueue::erase_if(Gone gone) {
  std::erase_if(run_, gone);
  std::erase_if(late_, gone);
  std::ranges::make_heap(late_, RunsLater());
}

bool ReadyList::Due::operator>(const Due& other) const {
  if (entry.run_at != other.entry.run_at) return entry.run_at > other.entry.run_at;
  return entry.key > other.entry.key;
}

EntryQueue& ReadyList::entries(LaneId lane, bool suspect) {
  auto index = static_cast<size_t>(lane);
  if (index >= lanes_.size()) lanes_.resize(index + 1);
  return suspect ? lanes_[index].suspect : lanes_[index].normal;
}

ReadyList::TimeHeap& ReadyList::scheduled(QueueId queue) {
  auto index = static_cast<size_t>(queue);
  if (index >= scheduled_.size()) scheduled_.resize(index + 1);
  return scheduled_[index];
}

void ReadyList::add(const Lane& lane, Entry entry, bool scheduled) {
  put(lane, entry, scheduled);
  journal_.push_back({Change::Kind::added, &lane, {lane.id, entry}, scheduled});
}

void ReadyList::put(const Lane& lane, Entry entry, bool is_scheduled) {
  if (is_gone(entry)) return;  // its old entry is valid again
  ++entries_;
  if (is_scheduled)
    push_earliest(scheduled(lane.queue_id), {lane.id, entry});
  else
    entries(lane.id, entry.suspect != 0).push(entry);
}

void ReadyList::remove(const Lane& lane, Entry entry, bool scheduled) {
  journal_.push_back({Change::Kind::removed, &lane, {lane.id, entry}, scheduled});
  drop(entry);
}

void ReadyList::drop(Entry entry) {
  if (parked_.erase(entry) > 0) return;
  gone_.insert(entry);
  if (gone_.size() > 4096 && gone_.size() > entries_ / 2) compact();
}

void ReadyList::compact() {
  auto gone = [this](const Entry& entry) { return gone_.contains(entry); };
  auto due_gone = [&](const Due& due) { return gone(due.entry); };
  for (LaneEntries& lane : lanes_) {
    lane.normal.erase_if(gone);
    lane.suspect.erase_if(gone);
  }
  auto sweep = [&](TimeHeap& heap) {
    std::erase_if(heap, due_gone);
    std::ranges::make_heap(heap, std::greater());
  };
  for (TimeHeap& heap : scheduled_) sweep(heap);
  sweep(unpromoted_);
  entries_ -= gone_.size();
  gone_.clear();
}

void ReadyList::advance(QueueId queue, TimePoint now) {
  TimeHeap& heap = scheduled(queue);
  while (!heap.empty() && heap.front().entry.run_at <= to_ms(now)) {
    Due due = pop_earliest(heap);
    if (is_gone(due.entry)) {
      --entries_;
      continue;
    }
    entries(due.lane, due.entry.suspect != 0).push(due.entry);
    push_earliest(unpromoted_, due);
  }
  if (heap.empty()) heap.shrink_to_fit();
}

void ReadyList::advance_all(TimePoint now) {
  for (size_t queue = 0; queue < scheduled_.size(); ++queue)
    advance(static_cast<QueueId>(queue), now);
}

std::optional<TimePoint> ReadyList::next_due_at(QueueId queue) {
  TimeHeap& heap = scheduled(queue);
  while (!heap.empty() && is_gone(heap.front().entry)) {
    pop_earliest(heap);
    --entries_;
  }
  if (heap.empty()) return std::nullopt;
  return from_ms(heap.front().entry.run_at);
}

std::optional<TimePoint> ReadyList::next_due_at() {
  std::optional<TimePoint> next;
  for (size_t queue = 0; queue < scheduled_.size(); ++queue)
    if (auto at = next_due_at(static_cast<QueueId>(queue)); at && (!next || *at < *next)) next = at;
  return next;
}

const Entry* ReadyList::best(LaneId lane, bool suspect) {
  EntryQueue& due = entries(lane, suspect);
  while (!due.empty() && is_gone(due.top())) {
    due.pop();
    --entries_;
  }
  return due.empty() ? nullptr : &due.top();
}

void ReadyList::take(const Lane& lane, bool suspect) {
  EntryQueue& due = entries(lane.id, suspect);
  journal_.push_back({Change::Kind::removed, &lane, {lane.id, due.top()}, false});
  due.pop();
  --entries_;
}

void ReadyList::park(LaneId lane, bool suspect) {
  EntryQueue& due = entries(lane, suspect);
  parked_.emplace(due.top(), lane);
  due.pop();
  --entries_;
}

ReadyList::DueTotal ReadyList::due_total(LaneId lane) const {
  DueTotal total;
  auto look = [&](const Entry& entry) {
    if (!gone_.empty() && gone_.contains(entry)) return;
    ++total.count;
    TimePoint at = from_ms(entry.run_at);
    if (!total.oldest || at < *total.oldest) total.oldest = at;
  };
  if (static_cast<size_t>(lane) < lanes_.size()) {
    lanes_[static_cast<size_t>(lane)].normal.for_each(look);
    lanes_[static_cast<size_t>(lane)].suspect.for_each(look);
  }
  for (const auto& [entry, of_lane] : parked_)
    if (of_lane == lane) look(entry);
  return total;
}

ReadyList::Due ReadyList::take_unpromoted() {
  Due due = pop_earliest(unpromoted_);
  journal_.push_back({Change::Kind::promoted, nullptr, due, false});
  return due;
}

void ReadyList::rollback() {
  for (const Change& change : std::views::reverse(journal_)) {
    switch (change.kind) {
      case Change::Kind::added:
        drop(change.due.entry);
        break;
      case Change::Kind::removed:
        put(*change.lane, change.due.entry, change.scheduled);
        break;
      case Change::Kind::promoted:
        push_earliest(unpromoted_, change.due);
        break;
    }
  }
  journal_.clear();
}

}  // namespace opscore::sqlite

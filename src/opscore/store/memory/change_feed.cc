#include "opscore/store/memory/change_feed.h"

#include <algorithm>

namespace opscore {
namespace {

size_t size_of(const Change& change) {
  return 1 + change.queues.size() + change.tasks.size() + change.sessions.size();
}

template <class T>
void append_all(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

template <class T>
void sort_unique(std::vector<T>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}  // namespace

bool ChangeFeed::concerns(const Entry& entry, Interest interest) {
  if (entry.interrupt) return true;
  return interest == Interest::tasks
             ? !entry.change.tasks.empty()
             : !entry.change.queues.empty() || !entry.change.sessions.empty();
}

void ChangeFeed::publish(Change change) {
  if (size_of(change) == 1) return;
  append({0, std::move(change), false});
}

void ChangeFeed::interrupt() {
  append({0, {}, true});
}

void ChangeFeed::append(Entry entry) {
  MutexLock lock(mutex_);
  entry.position = ++position_;
  for (Interest interest : {Interest::work, Interest::tasks}) {
    if (!concerns(entry, interest)) continue;
    Channel& channel = channels_[static_cast<size_t>(interest)];
    channel.last = position_;
    channel.news.notify_all();
  }
  size_ += size_of(entry.change);
  ring_.push_back(std::move(entry));
  for (; size_ > capacity_ && ring_.size() > 1; ring_.pop_front()) {
    for (Interest interest : {Interest::work, Interest::tasks})
      if (concerns(ring_.front(), interest))
        channels_[static_cast<size_t>(interest)].forgotten = ring_.front().position;
    size_ -= size_of(ring_.front().change);
  }
}

uint64_t ChangeFeed::position() const {
  MutexLock lock(mutex_);
  return position_;
}

// A position from the future is one of an earlier life of the store.
bool ChangeFeed::out_of_reach(uint64_t since, const Channel& channel) const {
  return since < channel.forgotten || since > position_;
}

ChangeBatch ChangeFeed::wait(uint64_t since, Interest interest, Deadline deadline) {
  MutexLock lock(mutex_);
  Channel& channel = channels_[static_cast<size_t>(interest)];
  while (channel.last <= since && !out_of_reach(since, channel) && !deadline.passed())
    channel.news.wait_for(lock, deadline.left());
  return collect(since, interest, channel);
}

ChangeBatch ChangeFeed::collect(uint64_t since, Interest interest, const Channel& channel) const {
  ChangeBatch batch;
  batch.position = position_;
  batch.reset = out_of_reach(since, channel);
  auto first = batch.reset ? ring_.begin()
                           : std::upper_bound(ring_.begin(), ring_.end(), since,
                                              [](uint64_t position, const Entry& entry) {
                                                return position < entry.position;
                                              });
  for (auto entry = first; entry != ring_.end(); ++entry) {
    if (interest == Interest::tasks) {
      append_all(batch.tasks, entry->change.tasks);
    } else {
      append_all(batch.queues, entry->change.queues);
      append_all(batch.sessions, entry->change.sessions);
    }
  }
  sort_unique(batch.queues);
  sort_unique(batch.tasks);
  sort_unique(batch.sessions);
  return batch;
}

}  // namespace opscore

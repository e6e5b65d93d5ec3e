#include "opscore/worker/adopter.h"

#include <algorithm>

#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/follow_ups.h"
#include "opscore/engine/diagnosis.h"
#include "opscore/engine/foreign_rows.h"

namespace opscore {
namespace {

constexpr Duration kReceiveMax{500};
constexpr Duration kAgain{1000};
constexpr Duration kFullFor{5000};
constexpr Duration kCountConsumersEvery{1000};
constexpr Duration kWarnEvery{60'000};
constexpr size_t kWarnedMax = 1000;
constexpr size_t kBuriedBytes = 4 << 20;

std::string uuid(Random& random) {
  const uint64_t high = (random.next() & ~0xf000ULL) | 0x4000ULL;
  const uint64_t low = (random.next() >> 2) | 1ULL << 63;
  const std::string digits = fmt::format("{:016x}{:016x}", high, low);
  return fmt::format("{}-{}-{}-{}-{}", digits.substr(0, 8), digits.substr(8, 4),
                     digits.substr(12, 4), digits.substr(16, 4), digits.substr(20));
}

bool is_hostile(const Error& error) {
  return error.code() != Errc::unavailable && error.code() != Errc::disk_low &&
         error.code() != Errc::timeout && error.code() != Errc::overloaded;
}

}  // namespace

// The deliveries of one step, and what was decided about each.
struct Adopter::Round {
  std::vector<ForeignDelivery> deliveries;
  std::vector<size_t> adopted, parked, dead;  // places in deliveries
  std::vector<InsertItem> items;              // of adopted
  std::vector<OutboxRow> rows;                // of parked
  std::vector<std::string> reasons;           // of dead
  std::set<uint64_t> unanswered;
  std::vector<uint64_t> done, full;

  std::string queue(size_t place) const {
    return std::string(canonical_queue(deliveries[place].queue));
  }
  void answered(std::vector<uint64_t>& tags) {
    for (uint64_t tag : tags) unanswered.erase(tag);
    tags.clear();
  }
  void kill(size_t place, std::string reason) {
    dead.push_back(place);
    reasons.push_back(std::move(reason));
  }
};

Adopter::Adopter(Service& service, ForeignBroker& broker, const Clock& clock, Random& random,
                 Log& log, Metrics& metrics, AdopterOptions options)
    : service_(service),
      broker_(broker),
      clock_(clock),
      random_(random),
      log_(log),
      metrics_(metrics),
      options_(std::move(options)),
      loop_("adopter", log, [this](std::stop_token) { return tick(); }) {}

// What is away can be away for hours: that is said once, and then now and again.
Duration Adopter::tick() {
  try {
    const Duration wait = step(Deadline::after(kReceiveMax));
    if (std::exchange(failing_, false)) log_.info("messages of Dramatiq are taken again");
    return wait;
  } catch (const Error& error) {
    if (error.code() != Errc::unavailable) throw;
    if (!std::exchange(failing_, true) || clock_.steady() >= say_at_) {
      log_.warn("no messages of Dramatiq are taken: {}; trying again until it works", error.what());
      say_at_ = clock_.steady() + kWarnEvery;
    }
    return kAgain;
  }
}

Duration Adopter::step(Deadline deadline) {
  follow_full_queues();
  Round round;
  round.deliveries = broker_.receive(deadline);
  for (const ForeignDelivery& delivery : round.deliveries) round.unanswered.insert(delivery.tag);
  try {
    sort(round);
    insert(round);
    park(round);
    broker_.ack(round.done);
    round.answered(round.done);
    bury(round);
    broker_.give_back(round.full);
    round.answered(round.full);
  } catch (const Error&) {
    // Somebody may do better, or we in a moment.
    const std::vector<uint64_t> tags(round.unanswered.begin(), round.unanswered.end());
    broker_.give_back(tags);
    throw;
  }
  return Duration(0);
}

// A queue that is full here fills up there, as it would with nobody to serve it.
void Adopter::follow_full_queues() {
  std::set<std::string> wanted(options_.queues.begin(), options_.queues.end());
  std::erase_if(full_until_, [&](const auto& full) { return clock_.steady() >= full.second; });
  for (const auto& [queue, until] : full_until_) wanted.erase(queue);
  if (is_subscribed_ && wanted == subscribed_) return;
  broker_.subscribe({wanted.begin(), wanted.end()});
  subscribed_ = std::move(wanted);
  is_subscribed_ = true;
}

void Adopter::sort(Round& round) {
  if (round.deliveries.empty()) return;
  AdoptionContext context;
  context.now = clock_.now();
  context.input_bytes_max = options_.input_bytes_max;
  context.has_results = options_.has_results;
  context.stores_results = is_one_of(options_.stores_results);
  context.find_actor = service_.catalogue().finder();
  for (size_t place = 0; place < round.deliveries.size(); ++place) {
    context.fresh_id = uuid(random_);
    Adoption adoption = decide_adoption(round.deliveries[place], context);
    switch (adoption.kind) {
      case Adoption::Kind::adopt:
        round.adopted.push_back(place);
        round.items.push_back(std::move(adoption.item));
        break;
      case Adoption::Kind::refuse:
        round.kill(place, std::move(adoption.reason));
        break;
      case Adoption::Kind::park:
        send_on(round, place, std::move(adoption.message));
        break;
    }
  }
}

void Adopter::send_on(Round& round, size_t place, DramatiqMessage message) {
  ForeignDelivery& delivery = round.deliveries[place];
  const std::string queue = round.queue(place);
  const std::string actor = to_valid_utf8(message.actor_name.substr(0, 128));
  const TimePoint now = clock_.now();
  ForeignHop hop = decide_hop(std::move(message), others_consume(queue), now);
  const std::string body = encode_dramatiq(hop.message);
  if (!hop.reason.empty()) {
    delivery.body = body;
    delivery.size = body.size();
    return round.kill(place, std::move(hop.reason));
  }
  if (warned_.size() > kWarnedMax) warned_.clear();
  SteadyPoint& again = warned_[queue + '/' + actor];
  if (clock_.steady() >= again) {
    log_.warn(
        "queue '{}': actor '{}' is not declared here; its messages go back to the queue "
        "after {}, for whoever runs it",
        queue, actor, to_text(hop.wait));
    again = clock_.steady() + kWarnEvery;
  }
  round.parked.push_back(place);
  round.rows.push_back(to_row({delivery.queue, body, delivery.priority, {}}, now + hop.wait));
}

void Adopter::insert(Round& round) {
  if (round.items.empty()) return;
  try {
    auto results = service_.store().tasks().insert(round.items, InsertMode::per_item);
    for (size_t i = 0; i < results.size(); ++i) take_result(round, i, results[i]);
  } catch (const Error& error) {
    if (!is_hostile(error)) throw;
    insert_one_by_one(round);
  }
}

// One of them is something that the store cannot keep: it must not fail its neighbours.
void Adopter::insert_one_by_one(Round& round) {
  for (size_t i = 0; i < round.items.size(); ++i) try {
      auto results = service_.store().tasks().insert({round.items[i]}, InsertMode::per_item);
      take_result(round, i, results.at(0));
    } catch (const Error& error) {
      if (!is_hostile(error)) throw;
      round.kill(round.adopted[i], fmt::format("it cannot be stored: {}", error.what()));
    }
}

void Adopter::take_result(Round& round, size_t index, const InsertResult& result) {
  using Kind = InsertResult::Kind;
  const size_t place = round.adopted[index];
  const std::string queue = round.queue(place);
  switch (result.kind) {
    case Kind::inserted:
    case Kind::replayed:
      round.done.push_back(round.deliveries[place].tag);
      return count(queue, result.kind == Kind::inserted ? "adopted" : "duplicate");
    case Kind::queue_full:
      if (!full_until_.contains(queue))
        log_.warn("queue '{}' is full here (max_pending = {}): its messages wait in RabbitMQ",
                  queue, result.limit);
      full_until_[queue] = clock_.steady() + kFullFor;
      round.full.push_back(round.deliveries[place].tag);
      return count(queue, "full");
    case Kind::input_too_large:
      return round.kill(place,
                        fmt::format("its arguments are {} bytes long; queue '{}' takes at "
                                    "most {} (max_input_bytes)",
                                    round.items[index].spec.input.size(), queue, result.limit));
    case Kind::failed:
      return round.kill(place, fmt::format("it cannot be stored: {}", result.error->what()));
    case Kind::conflict:
      return round.kill(place,
                        fmt::format("its id '{}' belongs to another task", result.conflicting.key));
  }
}

void Adopter::park(Round& round) {
  if (round.rows.empty()) return;
  service_.store().outbox().add(round.rows);
  for (size_t place : round.parked) {
    round.done.push_back(round.deliveries[place].tag);
    count(round.queue(place), "parked");
  }
}

void Adopter::bury(Round& round) {
  size_t next = 0;
  while (next < round.dead.size()) {
    std::vector<ForeignMessage> messages;
    std::vector<uint64_t> tags, rejected;
    // A bounded part at a time, so that each call gets somewhere on a slow network, too.
    for (size_t bytes = 0; next < round.dead.size() && bytes < kBuriedBytes; ++next) {
      const ForeignDelivery& delivery = round.deliveries[round.dead[next]];
      const std::string queue = round.queue(round.dead[next]);
      log_.warn("queue '{}': a message goes to {}{}: {}", delivery.queue, queue, kDeadSuffix,
                round.reasons[next]);
      count(queue, "refused");
      if (!delivery.is_whole()) {
        rejected.push_back(delivery.tag);
        continue;
      }
      bytes += delivery.body.size();
      tags.push_back(delivery.tag);
      messages.push_back({queue + std::string(kDeadSuffix),
                          delivery.body,
                          delivery.priority,
                          {{kReasonHeader, to_valid_utf8(round.reasons[next])}}});
    }
    const std::vector<bool> taken = broker_.publish(messages);
    for (size_t i = 0; i < tags.size(); ++i) (taken[i] ? round.done : rejected).push_back(tags[i]);
    broker_.ack(round.done);
    broker_.reject(rejected);
    round.done.insert(round.done.end(), rejected.begin(), rejected.end());
    round.answered(round.done);
  }
}

// Every session that adopts a queue is a consumer of it.
bool Adopter::others_consume(const std::string& queue) {
  Consumers& known = consumers_[queue];
  if (known.seen_at != SteadyPoint{} && clock_.steady() - known.seen_at < kCountConsumersEvery)
    return known.others;
  uint64_t own = 0;
  for (const Session& session : service_.workers())
    own += !session.ended_at && is_live(session, clock_.now()) &&
           std::ranges::count(session.report.adopts, queue) > 0;
  const auto queues = broker_.queues(std::vector{queue});
  known.others = !queues.empty() && queues[0].consumers > std::max<uint64_t>(own, 1);
  known.seen_at = clock_.steady();
  return known.others;
}

void Adopter::report(SessionReport& report) const {
  report.adopts = options_.queues;
  const BrokerState state = broker_.state();
  report.adoption_problem = state.problem;
  for (const Refusal& refusal : state.refused)
    if (report.adoption_problem.empty())
      report.adoption_problem = "RabbitMQ refuses " + refusal.why;
}

std::string Adopter::unready() const {
  SessionReport said;
  report(said);
  if (!said.adoption_problem.empty()) return "it adopts nothing: " + said.adoption_problem;
  return is_subscribed_ ? "" : "it does not consume the queues of Dramatiq yet";
}

void Adopter::count(const std::string& queue, const char* outcome) {
  metrics_
      .counter("opscore_adopted_messages_total",
               "Messages taken from queues of Dramatiq, by what became of them.",
               {{"queue", queue}, {"outcome", outcome}})
      .add();
}

}  // namespace opscore

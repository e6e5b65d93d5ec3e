#include "opscore/store/sqlite/write_side.h"

#include <algorithm>
#include <utility>

#include "opscore/model/adoption.h"
#include "opscore/model/decide.h"
#include "opscore/model/handover.h"
#include "opscore/model/limits.h"
#include "opscore/model/webhook.h"
#include "opscore/store/sqlite/settings_rows.h"

namespace opscore::sqlite {
namespace {

// Is, or will be, to be claimed.
bool is_open(const Live& live) {
  return live.claimable() && (live.state == State::pending || live.state == State::scheduled);
}

}  // namespace

WriteSide::WriteSide(const Clock& clock_in, Random& random_in, Log& log_in, Connection& db_in,
                     Lanes& lanes_in, ChangeFeed& feed, bool announce)
    : clock(clock_in),
      random(random_in),
      log(log_in),
      db(db_in),
      lanes(lanes_in),
      queries(db_in, lanes_in),
      edits(db_in),
      tally(db_in),
      keys(0, TaskKey{}),
      feed_(feed),
      announce_(announce),
      insert_outbox_(db_in,
                     "INSERT INTO outbox(kind, destination, body, properties, not_before) "
                     "VALUES(?, ?, ?, ?, ?)"),
      begin_(db_in, "BEGIN IMMEDIATE"),
      commit_(db_in, "COMMIT") {}

void WriteSide::load() {
  lanes.load(db);
  tally.load(db, lanes);
  load_live();
  Statement last(db, "SELECT max(key) FROM tasks");
  auto newest = last.query();
  if (newest.next()) keys = KeyMaker(0, TaskKey{newest.integer(0)});
  use(load_settings(db));
  Statement live_sessions(db, "SELECT id FROM sessions WHERE ended IS NULL");
  auto sessions = live_sessions.query();
  while (sessions.next()) sessions_.insert(sessions.integer(0));
}

void WriteSide::load_live() {
  Statement select(db,
                   "SELECT key, lane, priority, state, run_at, session, started, suspect, "
                   "cancel_requested, deadline IS NOT NULL, external FROM live ORDER BY key");
  auto rows = select.query();
  while (rows.next()) {
    TaskKey key{rows.integer(0)};
    const Lane& lane = queries.lane_named(static_cast<LaneId>(rows.integer(1)));
    Live live;
    live.state = static_cast<State>(rows.integer(3));
    live.run_at = rows.time(4);
    live.suspect = rows.integer(7) != 0;
    live.external_until = rows.optional_time(10);
    tally.add(lane.queue_id, live.state);
    if (is_open(live))
      ready.add(lane, Entry::of(key, live, static_cast<int>(rows.integer(2)), rows.integer(9) != 0),
                live.state == State::scheduled);
    if (live.state == State::running)
      running.set(key,
                  {lane.id, SessionId{rows.integer(5)}, !rows.is_null(6), rows.integer(8) != 0});
    ready.commit();  // one by one, so that no long journal is kept
    running.commit();
  }
  tally.commit();
}

void WriteSide::begin() {
  begin_.run();
}

void WriteSide::commit() {
  lanes.save(db);
  tally.save(lanes);
  flush_outbox();
  commit_.run();
  lanes.saved();
  tally.commit();
  ready.commit();
  running.commit();
  settings_before_.reset();
  sessions_before_.clear();
  feed_.publish(std::exchange(change_, {}));
}

void WriteSide::rollback() {
  db.rollback();
  tally.rollback();
  ready.rollback();
  running.rollback();
  if (settings_before_) use(*std::exchange(settings_before_, std::nullopt));
  for (const auto& [session, was_alive] : std::views::reverse(sessions_before_))
    was_alive ? (void)sessions_.insert(session.value) : (void)sessions_.erase(session.value);
  sessions_before_.clear();
  due_.clear();
  change_ = {};
}

void WriteSide::flush_outbox() {
  for (const auto& [queue, count] : due_) {
    change_.queues.push_back(queue);
    if (announce_ && count > 0)
      post({0, OutboxRow::Kind::token, queue, std::to_string(count), {}, clock.now()});
  }
  due_.clear();
}

void WriteSide::post(const OutboxRow& row) {
  insert_outbox_.run(row.kind, row.destination, Blob{row.body}, row.properties, row.not_before);
}

void WriteSide::note_queue(QueueId queue, size_t due) {
  due_[lanes.queue_name(queue)] += due;
}

void WriteSide::enter(const LiveRow& row) {
  const Lane& lane = queries.lane_named(row.lane);
  const Live& live = row.live;
  tally.add(lane.queue_id, live.state);
  // What is scheduled is news, too: it may be due before anything that waiters know of.
  if (is_open(live)) {
    ready.add(lane, Entry::of(row.key, live, row.priority, row.deadline.has_value()),
              live.state == State::scheduled);
    due_[lane.queue] += live.state == State::pending ? 1 : 0;
  }
  if (live.state == State::running)
    running.set(row.key,
                {row.lane, live.session, live.started_at != TimePoint{}, live.cancel_requested});
}

void WriteSide::leave(const LiveRow& row) {
  const Lane& lane = queries.lane_named(row.lane);
  const Live& live = row.live;
  tally.add(lane.queue_id, live.state, -1);
  if (is_open(live))
    ready.remove(lane, Entry::of(row.key, live, row.priority, row.deadline.has_value()),
                 live.state == State::scheduled);
  if (live.state != State::running) return;
  running.erase(row.key);
  note_room(lane.queue_id);
}

// What ends makes room in a queue with a limit.
void WriteSide::note_room(QueueId queue) {
  const QueueSettings* settings = settings_of(queue);
  if (settings && settings->limits.in_force(&QueueLimits::concurrency) != kUnlimited)
    note_queue(queue, 0);
}

Applied WriteSide::apply(const Plan& plan) {
  if (finish_fast(plan)) return Applied::applied;
  auto guard_holds = [&plan](State state, int attempt, int edits_so_far) {
    return state == plan.expected && attempt == plan.attempt && edits_so_far == plan.edits_before();
  };
  auto row = queries.live(plan.key);
  if (row && guard_holds(row->live.state, row->live.attempt, row->live.edits)) {
    if (plan.yields_to_cancel && row->live.cancel_requested)
      return apply_to_live(yield_to_cancel(plan), *row);
    return apply_to_live(plan, *row);
  }
  if (!row && is_terminal(plan.expected)) {
    auto outcome = queries.outcome(plan.key);
    if (outcome && guard_holds(outcome->state, outcome->attempt, outcome->edits))
      return apply_to_outcome(plan, *outcome);
  }
  return refuse(plan);
}

// Most finishes complete a task whose row nobody needs to read: the guarded delete says it all.
bool WriteSide::finish_fast(const Plan& plan) {
  if (plan.next != State::completed || plan.expected != State::running) return false;
  const Running* held = running.find(plan.key);
  if (held == nullptr) return false;
  QueueId queue = queries.lane_named(held->lane).queue_id;
  if (!edits.delete_running({plan.key, plan.attempt})) return false;
  insert_outcome(plan);
  tally.add(queue, State::running, -1);
  tally.add(queue, State::completed);
  running.erase(plan.key);
  note_room(queue);
  add_events(plan, true);
  return true;
}

// The guard did not hold. A caller whose first try had committed finds its own finish on record.
Applied WriteSide::refuse(const Plan& plan) {
  if (!plan.ended) return Applied::lease_lost;
  for (const Attempt& attempt : queries.attempts(plan.key))
    if (attempt.number == plan.attempt && attempt.end == plan.ended)
      return Applied::already_applied;
  return Applied::lease_lost;
}

Applied WriteSide::apply_to_live(const Plan& plan, const LiveRow& row) {
  if (plan.next == State::running && plan.expected == State::running) {
    // A cancel is asked for; the rest of the row may be newer.
    note_session(row.live.session);
    if (row.live.cancel_requested) return Applied::applied;
    edits.request_cancel(plan.key);
    Running held = *running.find(plan.key);
    held.cancel_requested = true;
    running.set(plan.key, held);
    add_events(plan, false);
    return Applied::applied;
  }
  leave(row);
  bool finished = is_terminal(plan.next);
  if (finished) {
    edits.delete_live(plan.key);
    insert_outcome(plan);
    tally.add(queries.lane_named(row.lane).queue_id, plan.next);
  } else {
    LiveRow next = row;
    next.live = plan.live;
    edits.update_live(next);
    end_attempt(plan);
    enter(next);
  }
  add_events(plan, finished);
  return Applied::applied;
}

// Somebody wants a finished task run again: its last attempt becomes history.
Applied WriteSide::apply_to_outcome(const Plan& plan, const OutcomeRow& row) {
  OPSCORE_ASSERT(!is_terminal(plan.next), "a finished task can only be run again");
  auto lane = queries.lane(plan.key);
  auto task = queries.task(plan.key);
  OPSCORE_ASSERT(lane && task, "an outcome without its task");
  if (row.ended) edits.insert_attempt(plan.key, row.final_attempt());
  edits.delete_outcome(plan.key);
  LiveRow next{plan.key, *lane, task->priority, plan.live, expiry_of(task->options), {}};
  edits.insert_live(next);
  if (plan.edited_input) edits.insert_input(plan.key, plan.live.edits, *plan.edited_input);
  tally.add(queries.lane_named(*lane).queue_id, row.state, -1);
  end_attempt(plan);
  enter(next);
  add_events(plan, false);
  return Applied::applied;
}

void WriteSide::insert_outcome(const Plan& plan) {
  bool completed = plan.next == State::completed;
  std::string error = completed ? std::string() : encode_error(plan.error);
  edits.insert_outcome({
      .key = plan.key,
      .state = plan.next,
      .attempt = plan.attempt,
      .charged = plan.live.charged,
      .edits = plan.live.edits,
      .ended = plan.ended,
      .ended_charged = plan.charged,
      .session = plan.worker,
      .claimed_at = plan.claimed_at,
      .started_at = plan.started_at,
      .finished_at = plan.at,
      .result = or_null(std::string_view(plan.result)),
      .error = or_null(std::string_view(error)),
  });
}

void WriteSide::end_attempt(const Plan& plan) {
  if (!plan.ended) return;
  Attempt attempt;
  attempt.number = plan.attempt;
  attempt.end = plan.ended;
  attempt.charged = plan.charged;
  attempt.worker = plan.worker;
  attempt.claimed_at = plan.claimed_at;
  if (plan.started_at != TimePoint{}) attempt.started_at = plan.started_at;
  attempt.ended_at = plan.at;
  attempt.error = plan.error;
  edits.insert_attempt(plan.key, attempt);
}

void WriteSide::add_events(const Plan& plan, bool finished) {
  for (const TaskEvent& event : plan.events) edits.append_event(plan.key, event);
  for (const OutboxRow& row : plan.outbox) post(row);
  if (plan.hands_over)
    post(handover_row(plan.key, queries.lane_named(*queries.lane(plan.key)).queue, plan.attempt,
                      plan.at));
  if (auto row = webhook_row(plan)) post(*row);
  if (auto row = adopted_row(plan)) post(*row);
  if (!plan.events.empty() || plan.ended || finished) note_task(plan.key);
}

bool WriteSide::erase(TaskKey key) {
  if (auto row = queries.live(key)) {
    if (row->live.state == State::running || !row->live.claimable()) return false;
    leave(*row);
  } else if (auto outcome = queries.outcome(key)) {
    tally.add(queries.lane_named(*queries.lane(key)).queue_id, outcome->state, -1);
  } else {
    return false;
  }
  edits.delete_task(key);
  note_task(key);
  return true;
}

void WriteSide::session_opened(SessionId session) {
  sessions_before_.emplace_back(session, false);
  sessions_.insert(session.value);
}

void WriteSide::session_ended(SessionId session) {
  sessions_before_.emplace_back(session, true);
  sessions_.erase(session.value);
}

bool WriteSide::lead(SessionId session) {
  SteadyPoint now = clock.steady();
  bool vacant = !alive(leader_) || now - led_at_ > limits::kSessionTtl;
  if (vacant && alive(session)) leader_ = session;
  if (leader_ != session || !alive(session)) return false;
  led_at_ = now;
  return true;
}

void WriteSide::use(const Settings& settings) {
  settings_ = settings;
  queue_settings_.clear();
  for (const auto& [queue, set] : settings.queues)
    queue_settings_.emplace(lanes.intern_queue(queue), set);
}

void WriteSide::set_settings(Settings settings) {
  settings.forget_defaults();
  if (settings == settings_) return;
  save_settings(db, settings);
  std::vector<std::string> changed = settings.changed_queues(settings_);
  if (settings.actor_concurrency != settings_.actor_concurrency)
    for (int64_t session : sessions_) note_session(SessionId{session});
  if (!settings_before_) settings_before_ = settings_;
  use(settings);
  for (const std::string& queue : changed) {
    if (settings_.of_queue(queue).paused) continue;
    QueueId id = lanes.intern_queue(queue);
    ready.advance(id, clock.now());
    size_t due = 0;
    for (const Lane* lane : lanes.of_queue(id)) due += ready.due_total(lane->id).count;
    note_queue(id, due);
  }
}

std::set<QueueId> WriteSide::known_queues() const {
  std::set<QueueId> known(tally.seen().begin(), tally.seen().end());
  for (const auto& [queue, set] : queue_settings_) known.insert(queue);
  return known;
}

}  // namespace opscore::sqlite

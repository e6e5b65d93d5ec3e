#include "opscore/model/fleet.h"

#include "opscore/model/stored_json.h"

namespace opscore {
namespace {

std::string encode_names(const std::vector<std::string>& names) {
  return write_array(names, [](std::string& out, const auto& name) { append_quoted(out, name); });
}

std::vector<std::string> read_names(JsonReader& in) {
  std::vector<std::string> names;
  in.array([&](size_t) { names.push_back(in.string()); });
  return names;
}

std::string encode_loops(const SessionReport& report) {
  ObjectWriter out;
  for (const auto& [name, progress_at] : report.loops) out.number(name, to_ms(progress_at));
  return out.take();
}

std::string encode_running(const SessionReport& report) {
  return write_array(report.running, [](std::string& out, const SessionReport::Running& running) {
    out += fmt::format(R"({{"key":{},"attempt":{},"slot":{},"started_ms":{}}})", running.key.value,
                       running.attempt, running.slot, to_ms(running.started_at));
  });
}

SessionReport::Running read_running(JsonReader& in) {
  SessionReport::Running running;
  in.object([&](std::string_view name) {
    if (name == "key")
      running.key.value = in.integer();
    else if (name == "attempt")
      running.attempt = read_int(in);
    else if (name == "slot")
      running.slot = read_int(in);
    else if (name == "started_ms")
      running.started_at = read_time(in);
    else
      in.raw();
  });
  return running;
}

std::string encode_broker(const SessionReport::Broker& broker) {
  ObjectWriter refused;
  for (const auto& [queue, why] : broker.refused) refused.json(queue, quote_json(why));
  ObjectWriter out;
  out.json("where", quote_json(broker.where));
  out.text("problem", broker.problem);
  out.text("blocked", broker.blocked);
  out.json("refused", refused.take());
  return out.take();
}

SessionReport::Broker read_broker(JsonReader& in) {
  SessionReport::Broker broker;
  in.object([&](std::string_view name) {
    if (name == "where")
      broker.where = in.string();
    else if (name == "problem")
      broker.problem = in.string();
    else if (name == "blocked")
      broker.blocked = in.string();
    else if (name == "refused")
      in.object([&](std::string_view queue) {
        std::string& why = broker.refused[std::string(queue)];
        why = in.string();
      });
    else
      in.raw();
  });
  return broker;
}

std::string encode_canary(const SessionReport::Canary& canary) {
  ObjectWriter out;
  out.json("state", quote_json(canary.state));
  out.text("words", canary.words);
  out.number("at_ms", to_ms(canary.at));
  return out.take();
}

SessionReport::Canary read_canary(JsonReader& in) {
  SessionReport::Canary canary;
  in.object([&](std::string_view name) {
    if (name == "state")
      canary.state = in.string();
    else if (name == "words")
      canary.words = in.string();
    else if (name == "at_ms")
      canary.at = read_time(in);
    else
      in.raw();
  });
  return canary;
}

}  // namespace

std::string encode_report(const SessionReport& report) {
  ObjectWriter out;
  out.json("state", quote_json(report.state));
  out.json("queues", encode_names(report.queues));
  out.json("types", encode_names(report.types));
  out.number("slots", report.slots);
  out.number("busy", report.busy);
  out.number("abandoned", report.abandoned);
  out.number("unstarted", report.unstarted);
  out.time("oldest_unstarted_ms", report.oldest_unstarted_at);
  out.json("loops", encode_loops(report));
  out.json("running", encode_running(report));
  if (report.broker) out.json("broker", encode_broker(*report.broker));
  if (!report.canary.state.empty()) out.json("canary", encode_canary(report.canary));
  if (report.dramatiq) out.json("dramatiq", encode_broker(*report.dramatiq));
  if (!report.adopts.empty()) out.json("adopts", encode_names(report.adopts));
  out.text("adoption_problem", report.adoption_problem);
  return out.take();
}

// Unknown members are skipped here and below: workers of several versions share one store.
SessionReport decode_report(std::string_view text) {
  SessionReport report;
  read_stored("session report", text, [&](JsonReader& in, std::string_view name) {
    if (name == "state")
      report.state = in.string();
    else if (name == "queues")
      report.queues = read_names(in);
    else if (name == "types")
      report.types = read_names(in);
    else if (name == "slots")
      report.slots = read_int(in);
    else if (name == "busy")
      report.busy = read_int(in);
    else if (name == "abandoned")
      report.abandoned = read_int(in);
    else if (name == "unstarted")
      report.unstarted = read_int(in);
    else if (name == "oldest_unstarted_ms")
      report.oldest_unstarted_at = read_time(in);
    else if (name == "loops")
      in.object([&](std::string_view loop) { report.loops.emplace(loop, read_time(in)); });
    else if (name == "running")
      in.array([&](size_t) { report.running.push_back(read_running(in)); });
    else if (name == "broker")
      report.broker = read_broker(in);
    else if (name == "canary")
      report.canary = read_canary(in);
    else if (name == "dramatiq")
      report.dramatiq = read_broker(in);
    else if (name == "adopts")
      report.adopts = read_names(in);
    else if (name == "adoption_problem")
      report.adoption_problem = in.string();
    else
      in.raw();
  });
  return report;
}

std::string encode_entry(const CatalogueEntry& entry) {
  ObjectWriter out;
  out.json("type", quote_json(entry.type));
  out.text("kind", entry.kind);
  out.json("queue", quote_json(entry.queue));
  out.text("version", entry.version);
  out.text("description", entry.description);
  out.text("input_schema", entry.input_schema);  // as a string: moved untouched
  out.duration("timeout_ms", entry.timeout);
  if (entry.max_attempts) out.number("max_attempts", *entry.max_attempts);
  if (entry.retry) out.json("retry", encode_retry(*entry.retry));
  if (entry.concurrency) out.number("concurrency", *entry.concurrency);
  out.json("aliases", encode_names(entry.aliases));
  out.text("sandbox", entry.sandbox);
  out.text("unsandboxed", entry.unsandboxed);
  out.json("dramatiq", entry.dramatiq);
  out.number("seen_ms", to_ms(entry.seen_at));
  return out.take();
}

CatalogueEntry decode_entry(std::string_view text) {
  CatalogueEntry entry;
  read_stored("catalogue entry", text, [&](JsonReader& in, std::string_view name) {
    if (name == "type")
      entry.type = in.string();
    else if (name == "kind")
      entry.kind = in.string();
    else if (name == "queue")
      entry.queue = in.string();
    else if (name == "version")
      entry.version = in.string();
    else if (name == "description")
      entry.description = in.string();
    else if (name == "input_schema")
      entry.input_schema = in.string();
    else if (name == "timeout_ms")
      entry.timeout = read_duration(in);
    else if (name == "max_attempts")
      entry.max_attempts = read_int(in);
    else if (name == "retry")
      entry.retry = read_retry(in);
    else if (name == "concurrency")
      entry.concurrency = in.integer();
    else if (name == "aliases")
      entry.aliases = read_names(in);
    else if (name == "sandbox")
      entry.sandbox = in.string();
    else if (name == "unsandboxed")
      entry.unsandboxed = in.string();
    else if (name == "dramatiq")
      entry.dramatiq = in.raw();
    else if (name == "seen_ms")
      entry.seen_at = read_time(in);
    else
      in.raw();
  });
  return entry;
}

}  // namespace opscore

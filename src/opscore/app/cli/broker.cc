// The queues of Dramatiq on RabbitMQ: what is on them, why messages died, and their way back.
//
// Messages are got one by one and not acked, by a connection whose end puts them back (AMQP's
// basic.get; no plugin is needed). Meanwhile consumers do not see them, and afterwards they count
// as redelivered, which Dramatiq does not look at.

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "opscore/app/cli/client_commands.h"
#include "opscore/base/json.h"
#include "opscore/broker/dramatiq/seen_message.h"

namespace opscore {
namespace {

constexpr size_t kStep = 100;

MessageFilter filter_of(const ClientContext& context) {
  const BrokerOptions& options = context.line.broker;
  MessageFilter filter{options.actor, options.reason, {}};
  if (options.older_than.empty()) return filter;
  auto age = parse_duration(options.older_than);
  if (!age) throw Error(Errc::invalid, "--older-than: " + age.error().message());
  filter.at_latest = context.clock.now() - *age;
  return filter;
}

// Walks what is on a queue now, and not what comes meanwhile; `see` says which are taken.
// `limit` counts those that match.
struct Walked {
  size_t looked = 0, matched = 0;
  bool partial = false;  // the limit came first
};
using See = std::function<std::vector<uint64_t>(
    const std::vector<std::pair<WalkedMessage, SeenMessage>>& matched)>;

Walked walk_matching(ClientContext& context, const std::string& queue, size_t limit,
                     const See& see) {
  ForeignBroker& broker = context.rabbitmq.broker();
  const MessageFilter filter = filter_of(context);
  auto counts = broker.queues(std::vector{queue});
  if (counts.empty())
    throw Error(Errc::not_found, fmt::format("there is no queue '{}' on RabbitMQ", queue));
  auto walk = broker.walk(queue);
  Walked walked;
  for (size_t left = counts.front().ready; left > 0;) {
    if (walked.matched == limit) {
      walked.partial = true;
      break;
    }
    auto messages = walk->next(std::min({left, kStep, limit - walked.matched}));
    if (messages.empty()) break;
    left -= messages.size();
    walked.looked += messages.size();
    std::vector<std::pair<WalkedMessage, SeenMessage>> matched;
    for (WalkedMessage& message : messages) {
      SeenMessage seen = describe(message);
      if (filter.matches(seen)) matched.emplace_back(std::move(message), std::move(seen));
    }
    walked.matched += matched.size();
    if (auto taken = see(matched); !taken.empty()) walk->take(taken);
  }
  return walked;
}

Json to_json(const std::string& queue, const WalkedMessage& walked, const SeenMessage& seen) {
  Json json = {{"queue", queue}, {"bytes", walked.size}, {"redelivered", walked.redelivered}};
  auto text = [](const std::string& value) { return value.empty() ? Json() : Json(value); };
  json["message_id"] = seen.message ? text(to_valid_utf8(seen.message->message_id)) : Json();
  json["actor"] = seen.message ? text(to_valid_utf8(seen.message->actor_name)) : Json();
  json["retries"] = seen.retries;
  json["eta"] = seen.eta ? Json(to_rfc3339(*seen.eta)) : Json();
  json["at"] = seen.at != TimePoint{} ? Json(to_rfc3339(seen.at)) : Json();
  json["why"] = text(seen.why);
  json["deaths"] = Json::array();
  for (const MessageDeath& death : walked.deaths)
    json["deaths"].push_back({{"queue", death.queue},
                              {"reason", death.reason},
                              {"count", death.count},
                              {"at", to_rfc3339(death.at)}});
  return json;
}

std::vector<std::string> names_of(const std::string& queue) {
  if (canonical_queue(queue) != queue) return {queue};
  return {queue, queue + std::string(kDelayedSuffix), queue + std::string(kDeadSuffix)};
}

Json counts_json(ClientContext& context, const ForeignQueue& counts) {
  auto unanswered = context.rabbitmq.unanswered(counts.queue);
  return {{"queue", counts.queue},
          {"ready", counts.ready},
          {"unacked", unanswered ? Json(*unanswered) : Json()},
          {"consumers", counts.consumers}};
}

std::string number_or_unknown(const Json& number) {
  return number.is_null() ? "?" : number.dump();
}

void print_messages(ClientContext& context, const Json& queues, const Json& messages) {
  Table counts({"QUEUE", "READY", "UNACKED", "CONSUMERS"});
  for (const Json& queue : queues)
    counts.add({queue["queue"].get<std::string>(), queue["ready"].dump(),
                number_or_unknown(queue["unacked"]), queue["consumers"].dump()});
  context.out << counts.text(context.screen);
  if (messages.empty()) return;
  Table table({"QUEUE", "ACTOR", "MESSAGE", "RETRIES", "SINCE", "WHY"});
  auto text = [](const Json& json) { return json.is_null() ? "-" : json.get<std::string>(); };
  for (const Json& message : messages)
    table.add({text(message["queue"]), text(message["actor"]), text(message["message_id"]),
               message["retries"].dump(), text(message["at"]),
               message["eta"].is_null() ? text(message["why"]) : "due " + text(message["eta"])});
  context.out << '\n' << table.text(context.screen);
}

// `verb`: redriven, purged.
CommandExit print_counts(ClientContext& context, const char* verb, const Walked& walked,
                         size_t done, size_t left = 0) {
  const bool dry_run = context.line.dry_run;
  if (context.line.json) {
    context.out << Json{{"looked", walked.looked},
                        {"matched", walked.matched},
                        {verb, done},
                        {"left", left},
                        {"partial", walked.partial},
                        {"dry_run", dry_run}}
                       .dump()
                << '\n';
  } else {
    context.out << fmt::format("{}{} {} of {} that match, {} looked at\n",
                               dry_run ? "would be " : "", verb, done, walked.matched,
                               walked.looked);
    if (walked.partial) context.err << "there may be more: --limit came first\n";
  }
  return left == 0 ? CommandExit::ok : CommandExit::refused;
}

}  // namespace

CommandExit inspect_broker(ClientContext& context) {
  const std::string& asked = context.line.queue;
  const auto limit = static_cast<size_t>(context.line.broker.limit);
  Json queues = Json::array(), messages = Json::array();
  auto counts = context.rabbitmq.broker().queues(names_of(asked));
  if (counts.empty())
    throw Error(Errc::not_found, fmt::format("there is no queue '{}' on RabbitMQ", asked));
  bool partial = false;
  for (const ForeignQueue& queue : counts) {
    queues.push_back(counts_json(context, queue));
    if (queue.ready == 0) continue;
    auto see = [&](const auto& matched) {
      for (const auto& [walked, seen] : matched)
        messages.push_back(to_json(queue.queue, walked, seen));
      return std::vector<uint64_t>();
    };
    if (messages.size() < limit)
      partial |= walk_matching(context, queue.queue, limit - messages.size(), see).partial;
    else
      partial = true;
  }
  if (context.line.json)
    context.out << Json{{"queues", queues}, {"messages", messages}, {"partial", partial}}.dump()
                << '\n';
  else
    print_messages(context, queues, messages);
  if (partial && !context.line.json) context.err << "there may be more: --limit came first\n";
  return CommandExit::ok;
}

CommandExit redrive_broker(ClientContext& context) {
  const std::string queue(canonical_queue(context.line.queue));
  const std::string dead = queue + std::string(kDeadSuffix);
  if (!context.line.dry_run &&
      !confirm(context, fmt::format("This sends messages of {} back to {}.", dead, queue)))
    return CommandExit::ok;
  size_t sent = 0, left = 0;
  auto see = [&](const auto& matched) {
    std::vector<ForeignMessage> messages;
    std::vector<uint64_t> tags, taken;
    for (const auto& [walked, seen] : matched) {
      if (!seen.message) {
        ++left;
        context.err << fmt::format("left: {}\n", printable(context.screen, seen.why));
        continue;
      }
      const DramatiqMessage back = sent_back(*seen.message, context.clock.now());
      messages.push_back({back.queue_name, encode_dramatiq(back), walked.priority, {}});
      tags.push_back(walked.tag);
    }
    if (context.line.dry_run || messages.empty()) {
      sent += messages.size();
      return taken;
    }
    // Confirmed first, and only then taken: a crash in between costs a second copy, never the only
    // one.
    const std::vector<bool> accepted = context.rabbitmq.broker().publish(messages);
    for (size_t i = 0; i < tags.size(); ++i) accepted[i] ? taken.push_back(tags[i]) : (void)++left;
    sent += taken.size();
    return taken;
  };
  Walked walked = walk_matching(context, dead, static_cast<size_t>(context.line.broker.limit), see);
  return print_counts(context, "redriven", walked, sent, left);
}

CommandExit purge_broker(ClientContext& context) {
  const std::string& queue = context.line.queue;
  if (!context.line.dry_run &&
      !confirm(context, fmt::format("This deletes messages of {} for good.", queue)))
    return CommandExit::ok;
  size_t purged = 0;
  auto see = [&](const auto& matched) {
    std::vector<uint64_t> taken;
    for (const auto& [walked, seen] : matched) taken.push_back(walked.tag);
    purged += taken.size();
    return context.line.dry_run ? std::vector<uint64_t>() : taken;
  };
  Walked walked =
      walk_matching(context, queue, static_cast<size_t>(context.line.broker.limit), see);
  return print_counts(context, "purged", walked, purged);
}

}  // namespace opscore

#include "opscore/api/submit_body.h"

#include <fmt/format.h>

#include <limits>

#include "opscore/model/names.h"

namespace opscore {
namespace {

using Type = JsonReader::Type;

template <class T>
T checked(JsonReader& in, std::expected<T, Error> value) {
  if (!value) in.fail(value.error().code(), value.error().what());
  return std::move(*value);
}

int small_integer(JsonReader& in) {
  int64_t value = in.integer();
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
    in.fail(Errc::invalid, fmt::format("{} is out of range", value));
  return static_cast<int>(value);
}

// A text like "30s", or a number of seconds.
Duration duration(JsonReader& in) {
  if (in.peek() == Type::number) return checked(in, parse_duration(in.raw()));
  return checked(in, parse_duration(in.string()));
}

std::string not_empty(JsonReader& in, std::string text) {
  if (text.empty()) in.fail(Errc::invalid, "is empty; leave it out instead");
  return text;
}

std::string object_text(JsonReader& in) {
  if (in.peek() != Type::object) in.fail(Errc::invalid, "expected an object");
  return std::string(in.raw());
}

void read_deadline(JsonReader& in, SubmitRequest& request) {
  if (in.peek() == Type::number) {
    request.deadline_in = duration(in);
    return;
  }
  std::string text = in.string();
  if (auto in_future = parse_duration(text)) {
    request.deadline_in = *in_future;
  } else if (auto at = parse_rfc3339(text)) {
    request.deadline = *at;
  } else {
    in.fail(Errc::invalid, fmt::format("'{}' is neither a time, such as 2026-01-31T12:00:00Z, nor "
                                       "a duration, such as 1h",
                                       text));
  }
}

// A number j: between 1-j and 1 of the delay; or the bounds themselves, [0.5, 1.5].
void read_jitter(JsonReader& in, RetryPolicy& policy) {
  if (in.peek() == Type::number) {
    double jitter = in.number();
    if (!(jitter >= 0 && jitter <= 1)) in.fail(Errc::invalid, "must be between 0 and 1");
    policy.jitter_low = 1 - jitter;
    policy.jitter_high = 1;
    return;
  }
  size_t count = 0;
  in.array([&](size_t index) {
    double bound = in.number();
    (index == 0 ? policy.jitter_low : policy.jitter_high) = bound;
    count = index + 1;
  });
  if (count != 2) in.fail(Errc::invalid, "expected a number, or two: the lowest and the highest");
}

void read_backoff(JsonReader& in, SubmitRequest& request) {
  RetryPolicy policy;
  in.object([&](std::string_view name) {
    if (name == "min")
      policy.min = duration(in);
    else if (name == "max")
      policy.max = duration(in);
    else if (name == "factor")
      policy.factor = in.number();
    else if (name == "jitter")
      read_jitter(in, policy);
    else
      in.fail(Errc::invalid, "unknown field; known are min, max, factor, jitter");
  });
  request.retry = policy;
}

void read_labels(JsonReader& in, SubmitRequest& request) {
  in.object(
      [&](std::string_view name) { request.labels.emplace_back(std::string(name), in.string()); });
}

// A URL, or {"url", "headers"?, "secret"?}.
void read_webhook(JsonReader& in, SubmitRequest& request) {
  Webhook webhook;
  if (in.peek() == Type::string) {
    webhook.url = in.string();
    request.webhook = std::move(webhook);
    return;
  }
  if (in.peek() != Type::object) in.fail(Errc::invalid, "expected a URL or an object with one");
  bool has_url = false;
  in.object([&](std::string_view name) {
    if (name == "url") {
      webhook.url = in.string();
      has_url = true;
    } else if (in.null_or_skip_null()) {
      return;
    } else if (name == "headers") {
      in.object(
          [&](std::string_view header) { webhook.headers.emplace_back(header, in.string()); });
    } else if (name == "secret") {
      webhook.secret = not_empty(in, in.string());
    } else {
      in.fail(Errc::invalid, "unknown field; known are url, headers, secret");
    }
  });
  if (!has_url) in.fail(Errc::invalid, "needs a url");
  request.webhook = std::move(webhook);
}

// The mapping. A null means that the field is not given, except for input_data, where it is a
// value.
struct Field {
  std::string_view name;
  void (*read)(JsonReader&, SubmitRequest&);
};
using In = JsonReader;
using To = SubmitRequest;
constexpr Field kFields[] = {
    {"task_type", [](In& in, To& to) { to.type = in.string(); }},
    {"input_data", [](In& in, To& to) { to.input.assign(in.raw()); }},
    {"queue", [](In& in, To& to) { to.queue = in.string(); }},
    {"priority", [](In& in, To& to) { to.priority = small_integer(in); }},
    {"run_at", [](In& in, To& to) { to.run_at = checked(in, parse_rfc3339(in.string())); }},
    {"delay", [](In& in, To& to) { to.delay = duration(in); }},
    {"max_attempts", [](In& in, To& to) { to.max_attempts = small_integer(in); }},
    {"backoff", read_backoff},
    {"timeout", [](In& in, To& to) { to.timeout = duration(in); }},
    {"deadline", read_deadline},
    {"idempotency_key", [](In& in, To& to) { to.idempotency_key = not_empty(in, in.string()); }},
    {"task_id", [](In& in, To& to) { to.task_id = not_empty(in, in.string()); }},
    {"name", [](In& in, To& to) { to.name = in.string(); }},
    {"labels", read_labels},
    {"metadata", [](In& in, To& to) { to.metadata = object_text(in); }},
    {"webhook", read_webhook},
};

[[noreturn]] void refuse_unknown(JsonReader& in, std::string_view name) {
  auto nearest = nearest_names(name, submit_field_names(), 1);
  std::string hint =
      nearest.empty() ? std::string() : fmt::format("; did you mean '{}'?", nearest[0]);
  in.fail(Errc::invalid, "unknown field" + hint);
}

SubmitRequest read_one(JsonReader& in) {
  SubmitRequest request;
  in.object([&](std::string_view name) {
    for (const Field& field : kFields) {
      if (field.name != name) continue;
      bool value_may_be_null = field.name == "input_data";
      if (value_may_be_null || !in.null_or_skip_null()) field.read(in, request);
      return;
    }
    refuse_unknown(in, name);
  });
  if (request.type.empty()) {
    std::string place = in.path();
    throw Error(Errc::invalid, (place.empty() ? "" : place + ".") + "task_type: is missing")
        .at((place.empty() ? "" : place + ".") + "task_type");
  }
  return request;
}

// An error in item `index`, named by its place in the batch.
Error placed(const Error& error, size_t index) {
  std::string place = fmt::format("tasks[{}]", index);
  if (error.code() == Errc::malformed) return Error(Errc::malformed, place + ": " + error.what());
  Error moved(error.code(), fmt::format("{}: {}", place, error.what()));
  return moved.at(error.field().empty() ? place : place + "." + error.field());
}

void check_count(size_t index, size_t most) {
  if (index >= most)
    throw Error(Errc::too_large, fmt::format("more than {} tasks in one request", most));
}

// Calls `item(text, index, line)` for each line that is not blank.
template <class F>
void for_lines(std::string_view body, size_t most, F&& item) {
  size_t index = 0;
  for (size_t begin = 0, line = 1; begin < body.size(); ++line) {
    size_t end = std::min(body.find('\n', begin), body.size());
    std::string_view text = body.substr(begin, end - begin);
    begin = end + 1;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    check_count(index, most);
    item(text, index++, line);
  }
}

SubmitRequest read_line(std::string_view text, size_t line) {
  try {
    return read_submit(text);
  } catch (const Error& error) {
    if (error.code() != Errc::malformed) throw;
    // The reader saw one line only, its first.
    std::string message = error.what();
    if (size_t at = message.find("line 1,"); at != std::string::npos)
      message.replace(at, 7, fmt::format("line {},", line));
    throw Error(Errc::malformed, message);
  }
}

// Calls `item(index)` for each task of an array or of {"tasks": [...]}, which must consume it.
template <class F>
void for_items(JsonReader& in, size_t most, F&& item) {
  auto items = [&] {
    in.array([&](size_t index) {
      check_count(index, most);
      item(index);
    });
  };
  if (in.peek() == Type::array) {
    items();
  } else {
    bool found = false;
    in.object([&](std::string_view name) {
      if (name != "tasks") in.fail(Errc::invalid, "unknown field; a batch has 'tasks' only");
      found = true;
      items();
    });
    if (!found) throw Error(Errc::invalid, "tasks: is missing").at("tasks");
  }
  in.end();
}

}  // namespace

SubmitRequest read_submit(std::string_view body) {
  JsonReader in(body);
  SubmitRequest request = read_one(in);
  in.end();
  return request;
}

std::vector<SubmitRequest> read_batch(std::string_view body, bool ndjson, size_t most) {
  std::vector<SubmitRequest> requests;
  if (ndjson) {
    for_lines(body, most, [&](std::string_view text, size_t index, size_t line) {
      try {
        requests.push_back(read_line(text, line));
      } catch (const Error& error) {
        throw placed(error, index);
      }
    });
    return requests;
  }
  JsonReader in(body);
  try {
    for_items(in, most, [&](size_t) { requests.push_back(read_one(in)); });
  } catch (const Error& error) {
    if (!error.field().starts_with('[')) throw;
    throw Error(error.code(), std::string("tasks") + error.what()).at("tasks" + error.field());
  }
  return requests;
}

std::vector<std::expected<SubmitRequest, Error>> read_batch_per_item(std::string_view body,
                                                                     bool ndjson, size_t most) {
  std::vector<std::expected<SubmitRequest, Error>> items;
  auto add = [&](auto&& read) {
    try {
      items.push_back(read());
    } catch (const Error& error) {
      items.push_back(std::unexpected(error));
    }
  };
  if (ndjson) {
    for_lines(body, most, [&](std::string_view text, size_t, size_t line) {
      add([&] { return read_line(text, line); });
    });
    return items;
  }
  JsonReader in(body);
  for_items(in, most, [&](size_t) {
    std::string_view text = in.raw();
    add([&] { return read_submit(text); });
  });
  return items;
}

std::optional<std::string> read_retry(std::string_view body) {
  if (body.find_first_not_of(" \t\r\n") == std::string_view::npos) return std::nullopt;
  std::optional<std::string> input;
  JsonReader in(body);
  in.object([&](std::string_view name) {
    if (name != "input_data")
      in.fail(Errc::invalid, "unknown field; a retry takes 'input_data' only");
    input.emplace(in.raw());
  });
  in.end();
  return input;
}

std::vector<std::string> submit_field_names() {
  std::vector<std::string> names;
  for (const Field& field : kFields) names.emplace_back(field.name);
  return names;
}

}  // namespace opscore

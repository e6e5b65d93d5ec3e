#pragma once
// What a look through a queue of Dramatiq tells of a message: whose it is, why it is dead, and how
// it is sent back. Pure.

#include <expected>
#include <optional>
#include <string>

#include "opscore/broker/dramatiq/message.h"
#include "opscore/broker/queue_walk.h"

namespace opscore {

struct SeenMessage {
  std::optional<DramatiqMessage> message;  // nothing: it is none of Dramatiq's
  std::string why;                         // it is dead; empty: nobody says that it is
  TimePoint at{};                          // when it died, else when it was made; zero: unknown
  int64_t retries = 0;                     // failures before this delivery
  std::optional<TimePoint> eta;
};
SeenMessage describe(const WalkedMessage& message);

struct MessageFilter {
  std::string actor;                   // empty: any
  std::string reason;                  // a part of `why`, in any case; empty: any
  std::optional<TimePoint> at_latest;  // older than that
  bool matches(const SeenMessage& seen) const;
};

// The message as it goes back to its queue: at once, with the attempts that it had counted as done,
// so that its retries begin anew and reports of them are not taken for those from before.
DramatiqMessage sent_back(DramatiqMessage message, TimePoint now);

}  // namespace opscore

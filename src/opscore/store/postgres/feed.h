#pragma once
// The change feed of one process of several: what it commits itself is published at once, what
// others commit when their notification comes. When notifications may have been missed, reset()
// makes everybody look at everything. Claims are told first where to look. Safe for concurrent use.

#include <atomic>

#include "opscore/store/memory/change_feed.h"
#include "opscore/store/postgres/floors.h"

namespace opscore::postgres {

// What one commit did.
struct Effects {
  Change change;
  Places places;  // for queues of the change that have something new
};

class Feed final : public Changes {
 public:
  explicit Feed(Floors& floors) : floors_(floors) {}

  void publish(Effects effects) {
    floors_.lower(effects.places);
    changes_.publish(std::move(effects.change));
  }

  // Whoever waits, or comes with a position from before, is told.
  void reset() {
    floors_.reset();
    uint64_t before;
    do {  // until nobody has published between the look and the interrupt
      before = changes_.position();
      floor_ = before + 1;
      changes_.interrupt();
    } while (changes_.position() != before + 1);
  }

  uint64_t position() const override { return changes_.position(); }
  ChangeBatch wait(uint64_t since, Interest interest, Deadline deadline) override {
    if (since < floor_) deadline = Deadline::after(Duration(0));
    ChangeBatch batch = changes_.wait(since, interest, deadline);
    batch.reset |= since < floor_;
    return batch;
  }
  void interrupt() override { changes_.interrupt(); }

 private:
  Floors& floors_;
  ChangeFeed changes_;
  std::atomic<uint64_t> floor_{0};  // positions below it have missed something
};

}  // namespace opscore::postgres

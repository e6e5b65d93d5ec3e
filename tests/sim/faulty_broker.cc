#include "faulty_broker.h"

#include "opscore/base/error.h"

namespace opscore::sim {
namespace {

constexpr double kProbability = 0.02;

class FaultyBroker final : public Broker {
 public:
  FaultyBroker(std::shared_ptr<MemoryBrokerHub> hub, Random& random, std::function<bool()> enabled)
      : hub_(std::move(hub)), inner_(hub_->connect()), random_(random), enabled_(enabled) {}

  std::vector<Refusal> announce(std::span<const Hint> hints) override {
    if (strikes()) throw Error(Errc::unavailable, "fault: not announced");
    std::vector<Hint> taken;
    for (const Hint& hint : hints)
      for (size_t copies = strikes() ? 2 * random_.below(2) : 1; copies > 0; --copies)
        taken.push_back(hint);
    auto refused = inner_->announce(taken);
    if (strikes()) throw Error(Errc::unavailable, "fault: announced, and the answer was lost");
    return refused;
  }
  void subscribe(const std::vector<std::string>& queues) override {
    maybe_break();
    inner_->subscribe(queues);
  }
  std::vector<Delivery> receive(Deadline deadline) override {
    maybe_break();
    return inner_->receive(deadline);
  }
  void ack(std::span<const uint64_t> tags) override {
    maybe_break();
    inner_->ack(tags);
  }
  void give_back(std::span<const uint64_t> tags) override {
    maybe_break();
    inner_->give_back(tags);
  }
  std::optional<std::string> send_to_self(const Hint& hint) override {
    maybe_break();
    return inner_->send_to_self(hint);
  }
  std::vector<BrokerQueue> queues(std::span<const std::string> names) override {
    return inner_->queues(names);
  }
  BrokerState state() const override { return inner_->state(); }

 private:
  bool strikes() { return enabled_() && random_.unit() < kProbability; }
  void maybe_break() {
    if (!strikes() || !inner_->state().connected) return;
    hub_->set_away(true);
    hub_->set_away(false);
    throw Error(Errc::unavailable, "fault: the connection broke");
  }

  const std::shared_ptr<MemoryBrokerHub> hub_;
  const std::unique_ptr<Broker> inner_;
  Random& random_;
  const std::function<bool()> enabled_;
};

}  // namespace

std::unique_ptr<Broker> inject_faults(std::shared_ptr<MemoryBrokerHub> hub, Random& random,
                                      std::function<bool()> enabled) {
  return std::make_unique<FaultyBroker>(std::move(hub), random, std::move(enabled));
}

}  // namespace opscore::sim

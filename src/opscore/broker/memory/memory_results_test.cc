#include "opscore/broker/memory/memory_results.h"

#include "opscore/broker/conformance/results_conformance.h"

namespace opscore {
namespace {

class MemorySide final : public ResultsSide {
 public:
  ResultsBackend& backend() override { return *results_; }
  void create_barrier(const std::string& group, int members) override {
    results_->create_barrier(group, members);
  }
  std::optional<std::string> result(const StoredResult& stored) override {
    return results_->result(stored.message_id);
  }
  void set_away(bool away) override { results_->set_away(away); }

 private:
  std::unique_ptr<MemoryResults> results_ = open_memory_results();
};

ResultsFactory memory_results_factory() {
  return {"memory", [] { return std::make_unique<MemorySide>(); }};
}

}  // namespace
}  // namespace opscore

INSTANTIATE_RESULTS_CONFORMANCE(memory, opscore::memory_results_factory());

#include "opscore/broker/memory/memory_results.h"

#include <map>

#include "opscore/base/error.h"

namespace opscore {
namespace {

class InMemory final : public MemoryResults {
 public:
  void store(std::span<const StoredResult> results) override {
    check();
    for (const StoredResult& result : results) results_[result.message_id] = result.value;
  }

  std::vector<Barrier> count(std::span<const GroupMember> members) override {
    check();
    std::vector<Barrier> barriers;
    for (const GroupMember& member : members) barriers.push_back(count(member));
    return barriers;
  }

  void create_barrier(const std::string& group, int members) override { left_[group] = members; }
  std::optional<std::string> result(const std::string& message_id) const override {
    auto found = results_.find(message_id);
    return found == results_.end() ? std::nullopt : std::optional(found->second);
  }
  void set_away(bool away) override { away_ = away; }

 private:
  void check() const {
    if (away_) throw Error(Errc::unavailable, "the results backend is away");
  }

  Barrier count(const GroupMember& member) {
    auto left = left_.find(member.group);
    if (left == left_.end()) return Barrier::gone;
    auto [told, is_new] = told_.try_emplace({member.group, member.message_id}, Barrier::cleared);
    if (is_new && left->second > 1) {
      --left->second;
      told->second = Barrier::waiting;
    }
    return told->second;
  }

  bool away_ = false;
  std::map<std::string, std::string> results_;  // by message id
  std::map<std::string, int> left_;             // members that are missing, by group
  std::map<std::pair<std::string, std::string>, Barrier> told_;
};

}  // namespace

std::unique_ptr<MemoryResults> open_memory_results() {
  return std::make_unique<InMemory>();
}

}  // namespace opscore

#include "opscore/actor/native/function_actor.h"

namespace opscore {
namespace {

class FunctionActor final : public Actor {
 public:
  explicit FunctionActor(std::function<Outcome(TaskContext&)> function)
      : function_(std::move(function)) {}
  Outcome run(TaskContext& task) override { return function_(task); }

 private:
  const std::function<Outcome(TaskContext&)> function_;
};

}  // namespace

std::unique_ptr<Actor> make_function_actor(std::function<Outcome(TaskContext&)> function) {
  if (!function) throw Error(Errc::invalid, "a native actor needs a function");
  return std::make_unique<FunctionActor>(std::move(function));
}

}  // namespace opscore

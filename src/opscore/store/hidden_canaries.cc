#include "opscore/store/hidden_canaries.h"

#include "opscore/model/canary.h"

namespace opscore {
namespace {

class Reader final : public TaskReader {
 public:
  explicit Reader(TaskReader& inner) : inner_(inner) {}

  std::optional<TaskKey> resolve(std::string_view id) override { return inner_.resolve(id); }
  std::optional<Task> find(TaskKey key) override {
    auto task = inner_.find(key);
    if (task && task->type == kCanaryType) task.reset();
    return task;
  }
  TaskPage list(const TaskFilter& filter, std::optional<TaskKey> before, size_t limit) override {
    TaskPage page = inner_.list(filter, before, limit);
    std::erase_if(page.tasks, [](const Task& task) { return task.type == kCanaryType; });
    return page;
  }
  std::vector<Attempt> attempts(TaskKey key) override { return inner_.attempts(key); }
  std::vector<TaskEvent> events(TaskKey key) override { return inner_.events(key); }
  std::vector<Step> steps(TaskKey key) override { return inner_.steps(key); }
  std::vector<std::string> inputs(TaskKey key) override { return inner_.inputs(key); }
  std::optional<MessageOrigin> origin(TaskKey key) override { return inner_.origin(key); }
  std::vector<Task> doubtful(size_t limit) override { return inner_.doubtful(limit); }
  std::vector<QueueStats> queues() override {
    auto queues = inner_.queues();
    std::erase_if(queues, [](const QueueStats& queue) { return is_canary_queue(queue.name); });
    return queues;
  }

 private:
  TaskReader& inner_;
};

class News final : public Changes {
 public:
  explicit News(Changes& inner) : inner_(inner) {}

  uint64_t position() const override { return inner_.position(); }
  ChangeBatch wait(uint64_t since, Interest interest, Deadline deadline) override {
    ChangeBatch news = inner_.wait(since, interest, deadline);
    std::erase_if(news.queues, [](const std::string& queue) { return is_canary_queue(queue); });
    return news;
  }
  void interrupt() override { inner_.interrupt(); }

 private:
  Changes& inner_;
};

class HiddenCanaries final : public Store {
 public:
  explicit HiddenCanaries(std::unique_ptr<Store> inner)
      : inner_(std::move(inner)), reader_(inner_->reader()), changes_(inner_->changes()) {}

  TaskStore& tasks() override { return inner_->tasks(); }
  TaskReader& reader() override { return reader_; }
  Fleet& fleet() override { return inner_->fleet(); }
  Changes& changes() override { return changes_; }
  Outbox& outbox() override { return inner_->outbox(); }
  Jobs& jobs() override { return inner_->jobs(); }
  const IdCodec& ids() const override { return inner_->ids(); }
  const std::string& identity() const override { return inner_->identity(); }

 private:
  const std::unique_ptr<Store> inner_;
  Reader reader_;
  News changes_;
};

}  // namespace

std::unique_ptr<Store> hide_canaries(std::unique_ptr<Store> inner) {
  return std::make_unique<HiddenCanaries>(std::move(inner));
}

}  // namespace opscore

#include "opscore/broker/redis/redis_results.h"

#include "opscore/broker/redis/redis_connection.h"

namespace opscore {
namespace {

// What Dramatiq's Barrier.wait() does, which leaves a cleared barrier at 1, and beside it which
// members were counted and what they were told. Those of Python are not among them.
constexpr char kCount[] = R"(
local function may_be(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
if not (may_be(KEYS[1], 'string') and may_be(KEYS[2], 'hash') and may_be(KEYS[3], 'list')) then
  return 'gone'
end
local told = redis.call('HGET', KEYS[2], ARGV[1])
if told then return told end
local left = tonumber(redis.call('GET', KEYS[1]))
if not left then return 'gone' end
local answer = 'cleared'
if left > 1 then
  answer = 'waiting'
  redis.call('SET', KEYS[1], string.format('%d', left - 1), 'PX', ARGV[2])
else
  redis.call('RPUSH', KEYS[3], 'x')
  redis.call('PEXPIRE', KEYS[3], ARGV[2])
end
redis.call('HSET', KEYS[2], ARGV[1], answer)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return answer
)";

Barrier barrier_from(const std::string& answer) {
  if (answer == "waiting") return Barrier::waiting;
  return answer == "cleared" ? Barrier::cleared : Barrier::gone;
}

class RedisResults final : public ResultsBackend {
 public:
  RedisResults(const RedisResultsOptions& options, RedisUrl url)
      : keys_(options.keys),
        barrier_ttl_(std::to_string(options.barrier_ttl.count())),
        connection_(std::move(url), options.call_timeout) {}

  void store(std::span<const StoredResult> results) override {
    std::vector<RedisCommand> commands;
    for (const StoredResult& result : results) {
      const std::string key = result_key(keys_, result.queue, result.actor, result.message_id);
      commands.push_back({"MULTI"});
      commands.push_back({"DEL", key});
      commands.push_back({"LPUSH", key, result.value});
      commands.push_back({"PEXPIRE", key, std::to_string(result.keep.count())});
      commands.push_back({"EXEC"});
    }
    connection_.ask(commands);
  }

  std::vector<Barrier> count(std::span<const GroupMember> members) override {
    std::vector<RedisCommand> commands;
    for (const GroupMember& member : members)
      commands.push_back({"EVAL", kCount, "3", member.group, member.group + "@opscore",
                          member.group + "@events", member.message_id, barrier_ttl_});
    std::vector<Barrier> barriers;
    for (const RedisReply& reply : connection_.ask(commands))
      barriers.push_back(barrier_from(reply.text));
    return barriers;
  }

 private:
  const ResultKeys keys_;
  const std::string barrier_ttl_;
  RedisConnection connection_;
};

}  // namespace

std::unique_ptr<ResultsBackend> open_redis_results(const RedisResultsOptions& options) {
  auto url = parse_redis_url(options.url);
  if (!url) throw url.error();
  return std::make_unique<RedisResults>(options, *std::move(url));
}

}  // namespace opscore

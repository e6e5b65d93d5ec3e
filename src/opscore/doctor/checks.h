#pragma once
// The checks of `opscore doctor`: each decides from facts that somebody has gathered, and reads
// nothing itself. Pure. What could not be looked at makes no findings but the one that says so.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "opscore/doctor/finding.h"
#include "opscore/model/fleet.h"

namespace opscore {

// Of the process that looks, and the machine it is on.
struct HostFacts {
  std::map<std::string, std::string> environment;  // as it is, with what is empty
  std::vector<std::string> variables;              // that settings and keys are read from
  std::vector<std::string> config_problems;        // it cannot be used
  std::vector<std::string> config_notes;
  uint64_t open_files = 0;  // the limit
  bool time_zone_known = true;
};
std::vector<Finding> check_host(const HostFacts& facts);

struct StoreFacts {
  std::string where;    // without a password
  std::string problem;  // why it cannot be looked at
  bool embedded = true;
  int schema = 0, schema_known = 0;  // version 0: there is none yet
  Duration clock_offset{0};          // positive: the store's clock is ahead of this machine's
  std::optional<int64_t> disk_free_bytes;
  int64_t disk_reserve_bytes = 0;
  struct Transaction {
    int64_t pid = 0;
    std::string application, peer, state;
    Duration age{0};
  };
  std::vector<Transaction> transactions;  // the long ones
  struct Table {
    std::string name;
    int64_t live = 0, dead = 0;
  };
  std::vector<Table> tables;
  int64_t connections = 0, connections_max = 0;  // 0: unlimited
};
std::vector<Finding> check_store(const StoreFacts& facts);

// What an installation consists of, as its store tells.
struct FleetFacts {
  TimePoint now{};
  std::vector<Session> sessions;  // that have not ended
  std::vector<QueueStats> queues;
  std::optional<TimePoint> unled_since;
  struct Waiting {  // due tasks that opscore runs, of one type on one queue
    std::string type, queue, example;
    int64_t tasks = 0;
    TimePoint since{};
  };
  std::vector<Waiting> waiting;
  // The program that looks, to compare with.
  std::string version, host, executable;
};
std::vector<Finding> check_fleet(const FleetFacts& facts);

// The server that clients are led to.
struct ServerFacts {
  std::string url;
  bool answers = false;
  std::vector<std::string> reasons;                 // why it is not ready
  std::optional<std::vector<std::string>> workers;  // names of its live sessions; unknown
};
std::vector<Finding> check_server(const ServerFacts& facts, const FleetFacts& fleet);

struct BrokerFacts {
  TimePoint now{};
  std::string where;       // without a password
  std::string problem;     // why it cannot be reached
  std::string management;  // its management API, without a password; empty: not configured
  std::string management_problem;
  std::string store;                 // identity of ours
  std::vector<std::string> adopted;  // queues of Dramatiq that sessions consume
  std::vector<std::string> handed;   // that tasks are handed over on
  struct Queue {
    std::string name;
    uint64_t ready = 0, unacked = 0, consumers = 0;
    bool durable = true;
    std::string type;
    std::map<std::string, std::string> arguments;
    bool arguments_known = false;  // only the management API tells
  };
  std::vector<Queue> queues;  // opscore.*, and those of Dramatiq that are used here
  struct Consumer {
    std::string queue, name, product, peer, user;
    std::optional<int64_t> pid;  // when it is on this machine
    std::string program;         // of that pid
    std::string store;           // of a consumer that is opscore: identity of its store
    uint64_t unacked = 0;
    std::optional<TimePoint> idle_since;
    bool is_opscore() const { return product == "opscore"; }
  };
  std::vector<Consumer> consumers;
  struct Permissions {
    std::string user, configure, write, read;  // regular expressions
  };
  std::optional<Permissions> permissions;
  Duration unacked_older_than{60'000};
};
std::vector<Finding> check_broker(const BrokerFacts& facts);

struct ModelFacts {
  struct Provider {
    std::string name;
    bool is_default = false;
    std::string unusable;                // why
    std::optional<std::string> refusal;  // what it answered to a call; empty: it works
  };
  std::vector<Provider> providers;
};
std::vector<Finding> check_models(const ModelFacts& facts);

}  // namespace opscore

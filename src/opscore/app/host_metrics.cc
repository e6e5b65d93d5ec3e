#include "opscore/app/host_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "opscore/app/version.h"
#include "opscore/base/mutex.h"

namespace opscore {
namespace {

namespace fs = std::filesystem;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// A gauge while there is something to say, none otherwise.
template <class T>
void set_or_clear(Metrics& metrics, const char* name, const char* help, T value, bool known) {
  if (known)
    metrics.set_gauge(name, help, static_cast<double>(value));
  else
    metrics.clear_gauge(name);
}

void set_store_gauges(Metrics& metrics, const std::string& data_file) {
  std::error_code failed;
  auto bytes = fs::file_size(data_file, failed);
  set_or_clear(metrics, "opscore_store_file_bytes", "Size of the data file.", bytes, !failed);
  bytes = fs::file_size(data_file + "-wal", failed);
  set_or_clear(metrics, "opscore_store_wal_bytes",
               "Size of the file of commits that are not yet in the data file.", bytes, !failed);
  fs::path folder = fs::path(data_file).parent_path();
  fs::space_info disk = fs::space(folder.empty() ? "." : folder, failed);
  set_or_clear(metrics, "opscore_disk_free_bytes",
               "What the disk of the data file has free for this user.", disk.available, !failed);
  set_or_clear(metrics, "opscore_disk_size_bytes", "Size of the disk of the data file.",
               disk.capacity, !failed);
}

void set_process_gauges(Metrics& metrics) {
  std::ifstream statm("/proc/self/statm");
  uint64_t size = 0, resident = 0;
  bool known = static_cast<bool>(statm >> size >> resident);
  set_or_clear(metrics, "process_resident_memory_bytes", "Memory of this process.",
               resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)), known);
  std::error_code failed;
  auto open = std::distance(fs::directory_iterator("/proc/self/fd", failed), {});
  set_or_clear(metrics, "process_open_fds", "File descriptors of this process.", open, !failed);
}

// Counters that somebody else counts: what they have grown by is added.
class HostCounters {
 public:
  explicit HostCounters(Metrics& metrics)
      : dropped_(metrics.counter("opscore_log_lines_dropped_total",
                                 "Log lines lost because their reader was too slow or gone.")),
        cpu_(metrics.counter("process_cpu_seconds_total", "Processor time of this process.")) {}

  void update(const Log& log) {
    MutexLock lock(mutex_);
    grow(dropped_, last_dropped_, static_cast<double>(log.dropped()));
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    grow(cpu_, last_cpu_, seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  }

 private:
  static void grow(Counter& counter, double& last, double now) {
    if (now <= last) return;
    counter.add(now - last);
    last = now;
  }

  Counter& dropped_;
  Counter& cpu_;
  Mutex mutex_;
  double last_dropped_ OPSCORE_GUARDED_BY(mutex_) = 0;
  double last_cpu_ OPSCORE_GUARDED_BY(mutex_) = 0;
};

}  // namespace

void add_host_metrics(Metrics& metrics, const Log& log, const std::string& data_file,
                      int restarts) {
  metrics.set_gauge("opscore_build_info", "1, of this version and build.", 1,
                    {{"version", version()}, {"build", build_words()}});
  auto started = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch());
  metrics.set_gauge("process_start_time_seconds", "When this process began, in Unix time.",
                    started.count());
  metrics
      .counter("opscore_supervisor_restarts_total",
               "How often the supervisor has started the worker again since it began.")
      .add(restarts);
  auto counters = std::make_shared<HostCounters>(metrics);
  metrics.on_expose([&metrics, &log, data_file, counters] {
    counters->update(log);
    set_store_gauges(metrics, data_file);
    set_process_gauges(metrics);
  });
}

}  // namespace opscore

#pragma once
// Metrics, in Prometheus' vocabulary. A Metrics object owns all series of a process; counters and
// histograms are looked up once and then kept by reference: adding to a counter is an atomic add,
// observing takes the short lock of that one histogram. Label values come from closed or bounded
// sets only (queues, types, states). Safe for concurrent use.

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace opscore {

using Labels = std::map<std::string, std::string>;

class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double amount = 1) = 0;
};

class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) = 0;  // seconds for durations
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;

  // References stay valid for the life of this object.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  // Buckets from 0.1 ms to 1 h.
  Histogram& duration(const std::string& name, const std::string& help, const Labels& labels = {});
  void set_gauge(const std::string& name, const std::string& help, double value,
                 const Labels& labels = {});
  // Forgets every series of a gauge, before setting those that still exist.
  void clear_gauge(const std::string& name);
  // Text exposition format 0.0.4.
  std::string expose() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace opscore

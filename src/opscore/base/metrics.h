#pragma once
// Metrics, in Prometheus' vocabulary. A Metrics object owns all series of a process; counters and
// histograms are looked up once and then kept by reference: adding to a counter is an atomic add,
// observing takes the short lock of that one histogram. Safe for concurrent use.
//
// Whoever submits tasks chooses the values of the labels "type", "queue" and "kind", so these are
// bounded here: the first kOpenValuesMax combinations of them get series of their own, all others
// share one, in which each of them is "other". Every other label has a closed set of values.

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
  static constexpr size_t kOpenValuesMax = 100;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;

  // References stay valid for the life of this object.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  // Buckets from 0.1 ms to 1 h.
  Histogram& duration(const std::string& name, const std::string& help, const Labels& labels = {});
  // Labels are taken as they are: who sets gauges adds up what bounded() puts together.
  void set_gauge(const std::string& name, const std::string& help, double value,
                 const Labels& labels = {});
  // Forgets every series of a gauge, before setting those that still exist.
  void clear_gauge(const std::string& name);
  // The labels under which a series with these is kept, from now on.
  Labels bounded(const Labels& labels);
  // `update` sets gauges that are measured only when somebody looks: every expose() calls it first.
  void on_expose(std::function<void()> update);
  // Text exposition format 0.0.4.
  std::string expose() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace opscore

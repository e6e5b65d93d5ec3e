#include "opscore/base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>
#include <utility>

namespace opscore {
namespace {

// Seconds, from 0.1 ms to 1 h.
const prometheus::Histogram::BucketBoundaries kDurations{
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1,  0.2, 0.5,
    1,      2,      5,      10,    30,    60,    120,  300,  600,  1800, 3600};

class PrometheusCounter final : public Counter {
 public:
  explicit PrometheusCounter(prometheus::Counter& counter) : counter_(counter) {}
  void add(double amount) override { counter_.Increment(amount); }

 private:
  prometheus::Counter& counter_;
};

class PrometheusHistogram final : public Histogram {
 public:
  explicit PrometheusHistogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void observe(double value) override { histogram_.Observe(value); }

 private:
  prometheus::Histogram& histogram_;
};

using Series = std::pair<std::string, Labels>;

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  std::mutex mutex;
  // Guarded by mutex; what they point to lives as long as the registry.
  std::map<Series, std::unique_ptr<Counter>> counters;
  std::map<Series, std::unique_ptr<Histogram>> histograms;
  struct Gauges {
    prometheus::Family<prometheus::Gauge>* family = nullptr;
    std::map<Labels, prometheus::Gauge*> series;
  };
  std::map<std::string, Gauges> gauges;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Counter& Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto& counter = impl_->counters[{name, labels}];
  if (!counter) {
    auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry);
    counter = std::make_unique<PrometheusCounter>(family.Add(labels));
  }
  return *counter;
}

Histogram& Metrics::duration(const std::string& name, const std::string& help,
                             const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto& histogram = impl_->histograms[{name, labels}];
  if (!histogram) {
    auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry);
    histogram = std::make_unique<PrometheusHistogram>(family.Add(labels, kDurations));
  }
  return *histogram;
}

void Metrics::set_gauge(const std::string& name, const std::string& help, double value,
                        const Labels& labels) {
  std::lock_guard lock(impl_->mutex);
  auto& gauges = impl_->gauges[name];
  if (!gauges.family)
    gauges.family = &prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry);
  auto& gauge = gauges.series[labels];
  if (!gauge) gauge = &gauges.family->Add(labels);
  gauge->Set(value);
}

void Metrics::clear_gauge(const std::string& name) {
  std::lock_guard lock(impl_->mutex);
  auto found = impl_->gauges.find(name);
  if (found == impl_->gauges.end()) return;
  for (auto& [labels, gauge] : found->second.series) found->second.family->Remove(gauge);
  found->second.series.clear();
}

std::string Metrics::expose() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace opscore

#include "opscore/base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <set>
#include <utility>
#include <vector>

#include "opscore/base/mutex.h"

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

constexpr const char* kOpenLabels[] = {"type", "queue", "kind"};

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  Mutex mutex;
  // What they point to lives as long as the registry.
  std::map<Series, std::unique_ptr<Counter>> counters OPSCORE_GUARDED_BY(mutex);
  std::map<Series, std::unique_ptr<Histogram>> histograms OPSCORE_GUARDED_BY(mutex);
  struct Gauges {
    prometheus::Family<prometheus::Gauge>* family = nullptr;
    std::map<Labels, prometheus::Gauge*> series;
  };
  std::map<std::string, Gauges> gauges OPSCORE_GUARDED_BY(mutex);
  // By the names of open labels, which values of them have series of their own.
  std::map<std::string, std::set<Labels>> admitted OPSCORE_GUARDED_BY(mutex);
  std::vector<std::function<void()>> updates OPSCORE_GUARDED_BY(mutex);

  Labels bound(Labels labels) OPSCORE_REQUIRES(mutex) {
    Labels open;
    std::string names;
    for (const char* name : kOpenLabels)
      if (auto found = labels.find(name); found != labels.end()) {
        open.insert(*found);
        names += name;
      }
    if (open.empty()) return labels;
    auto& known = admitted[names];
    if (known.contains(open)) return labels;
    if (known.size() < kOpenValuesMax) {
      known.insert(open);
    } else {
      for (const auto& [name, value] : open) labels[name] = "other";
    }
    return labels;
  }
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Counter& Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  MutexLock lock(impl_->mutex);
  Labels bounded = impl_->bound(labels);
  auto& counter = impl_->counters[{name, bounded}];
  if (!counter) {
    auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry);
    counter = std::make_unique<PrometheusCounter>(family.Add(bounded));
  }
  return *counter;
}

Histogram& Metrics::duration(const std::string& name, const std::string& help,
                             const Labels& labels) {
  MutexLock lock(impl_->mutex);
  Labels bounded = impl_->bound(labels);
  auto& histogram = impl_->histograms[{name, bounded}];
  if (!histogram) {
    auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry);
    histogram = std::make_unique<PrometheusHistogram>(family.Add(bounded, kDurations));
  }
  return *histogram;
}

void Metrics::set_gauge(const std::string& name, const std::string& help, double value,
                        const Labels& labels) {
  MutexLock lock(impl_->mutex);
  auto& gauges = impl_->gauges[name];
  if (!gauges.family)
    gauges.family = &prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry);
  auto& gauge = gauges.series[labels];
  if (!gauge) gauge = &gauges.family->Add(labels);
  gauge->Set(value);
}

void Metrics::clear_gauge(const std::string& name) {
  MutexLock lock(impl_->mutex);
  auto found = impl_->gauges.find(name);
  if (found == impl_->gauges.end()) return;
  for (auto& [labels, gauge] : found->second.series) found->second.family->Remove(gauge);
  found->second.series.clear();
}

Labels Metrics::bounded(const Labels& labels) {
  MutexLock lock(impl_->mutex);
  return impl_->bound(labels);
}

void Metrics::on_expose(std::function<void()> update) {
  MutexLock lock(impl_->mutex);
  impl_->updates.push_back(std::move(update));
}

std::string Metrics::expose() const {
  std::vector<std::function<void()>> updates;
  {
    MutexLock lock(impl_->mutex);
    updates = impl_->updates;
  }
  for (const auto& update : updates) update();
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace opscore

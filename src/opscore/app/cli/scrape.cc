#include "opscore/app/cli/scrape.h"

#include <charconv>
#include <cmath>
#include <limits>

namespace opscore {
namespace {

struct Sample {
  std::string_view name;
  std::map<std::string, std::string, std::less<>> labels;
  double value = 0;

  std::string label(std::string_view wanted) const {
    auto found = labels.find(wanted);
    return found == labels.end() ? "" : found->second;
  }
};

// `name="value"`, with \\, \" and \n escaped; takes it off `text`.
bool take_label(std::string_view& text, Sample& sample) {
  size_t equals = text.find("=\"");
  if (equals == std::string_view::npos) return false;
  std::string name(text.substr(0, equals)), value;
  size_t at = equals + 2;
  for (; at < text.size() && text[at] != '"'; ++at) {
    bool escaped = text[at] == '\\' && at + 1 < text.size();
    if (escaped) ++at;
    value += escaped && text[at] == 'n' ? '\n' : text[at];
  }
  if (at >= text.size()) return false;
  text.remove_prefix(at + 1);
  sample.labels.emplace(std::move(name), std::move(value));
  return true;
}

std::optional<double> number(std::string_view text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<Sample> read_line(std::string_view line) {
  Sample sample;
  size_t end = line.find_first_of("{ ");
  if (end == std::string_view::npos || line.starts_with('#')) return std::nullopt;
  sample.name = line.substr(0, end);
  line.remove_prefix(end);
  if (line.starts_with('{')) {
    do {
      line.remove_prefix(1);
      if (!take_label(line, sample)) return std::nullopt;
    } while (line.starts_with(','));
    if (!line.starts_with('}')) return std::nullopt;
    line.remove_prefix(1);
  }
  if (!line.starts_with(' ')) return std::nullopt;
  auto value = number(line.substr(1));
  if (!value) return std::nullopt;
  sample.value = *value;
  return sample;
}

// Where a sample counts; null: nowhere here.
double* place_of(const Sample& sample, Counts& counts) {
  if (sample.name == "opscore_tasks_submitted_total") return &counts.submitted;
  if (sample.name == "opscore_worker_tasks_finished_total") {
    if (sample.label("state") == "completed") return &counts.completed;
    if (sample.label("state") == "failed") return &counts.failed;
    return nullptr;
  }
  Buckets* buckets = sample.name == "opscore_task_wait_seconds_bucket"          ? &counts.wait
                     : sample.name == "opscore_attempt_duration_seconds_bucket" ? &counts.run
                                                                                : nullptr;
  auto bound = number(sample.label("le"));
  return buckets && bound ? &buckets->counts[*bound] : nullptr;
}

}  // namespace

void Buckets::add(const Buckets& other) {
  for (const auto& [bound, count] : other.counts) counts[bound] += count;
}

std::optional<double> Buckets::quantile_since(const Buckets& before, double quantile) const {
  auto grown = [&](double bound, double count) {
    auto found = before.counts.find(bound);
    return found == before.counts.end() ? count : count - found->second;
  };
  if (counts.empty()) return std::nullopt;
  double all = grown(counts.rbegin()->first, total());
  if (all <= 0) return std::nullopt;
  double lower = 0, below = 0;
  for (const auto& [bound, count] : counts) {
    double here = grown(bound, count);
    if (here >= quantile * all) {
      if (std::isinf(bound)) return lower;
      return lower + (bound - lower) * (quantile * all - below) / (here - below);
    }
    lower = bound;
    below = here;
  }
  return lower;
}

void Counts::add(const Counts& other) {
  submitted += other.submitted;
  completed += other.completed;
  failed += other.failed;
  wait.add(other.wait);
  run.add(other.run);
}

std::map<TypeAndQueue, Counts> read_metrics(std::string_view text) {
  std::map<TypeAndQueue, Counts> all;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    auto sample = read_line(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!sample || !sample->labels.contains("type") || !sample->labels.contains("queue")) continue;
    Counts& counts = all[{sample->label("type"), sample->label("queue")}];
    if (double* place = place_of(*sample, counts)) *place += sample->value;
  }
  return all;
}

}  // namespace opscore

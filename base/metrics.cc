#include "base/metrics.h"

#include <cstdio>
#include <variant>

#include "base/check.h"
#include "base/text.h"

namespace fairlead {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

// {a="x",b="y"}, with one more label when `extra_key` is not empty; "" for no labels.
std::string label_text(const Labels& labels, std::string_view extra_key = {},
                       std::string_view extra_value = {}) {
  std::string out;
  const auto add = [&](std::string_view key, std::string_view value) {
    out += out.empty() ? '{' : ',';
    out += key;
    out += "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    out += '"';
  };
  for (const auto& [key, value] : labels) add(key, value);
  if (!extra_key.empty()) add(extra_key, extra_value);
  if (!out.empty()) out += '}';
  return out;
}

using Metric =
    std::variant<std::unique_ptr<Counter>, std::unique_ptr<Gauge>, std::unique_ptr<Histogram>>;

struct Series {
  Labels labels;
  Metric metric;
};

constexpr std::string_view type_names[] = {"counter", "gauge", "histogram"};

void write_histogram(std::string& out, const std::string& name, const Labels& labels,
                     const Histogram& histogram) {
  uint64_t total = 0;
  for (size_t i = 0; i <= histogram.bounds().size(); ++i) {
    total += histogram.bucket(i);
    const std::string le = i < histogram.bounds().size() ? number(histogram.bounds()[i]) : "+Inf";
    out += cat(name, "_bucket", label_text(labels, "le", le), ' ', total, '\n');
  }
  out += cat(name, "_sum", label_text(labels), ' ', number(histogram.sum()), '\n');
  out += cat(name, "_count", label_text(labels), ' ', total, '\n');
}

}  // namespace

Histogram::Histogram(std::vector<double> upper_bounds)
    : bounds_(std::move(upper_bounds)),
      counts_(std::make_unique<std::atomic<uint64_t>[]>(bounds_.size() + 1)) {}

void Histogram::observe(double value) {
  const size_t i = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[i].fetch_add(1, std::memory_order_relaxed);
  sum_nano_.fetch_add(static_cast<int64_t>(value * 1e9), std::memory_order_relaxed);
}

void Histogram::merge(const std::vector<uint64_t>& counts, double sum) {
  CHECK(counts.size() == bounds_.size() + 1);
  for (size_t i = 0; i < counts.size(); ++i) {
    counts_[i].fetch_add(counts[i], std::memory_order_relaxed);
  }
  sum_nano_.fetch_add(static_cast<int64_t>(sum * 1e9), std::memory_order_relaxed);
}

struct Registry::Family {
  std::string help;
  std::map<std::string, Series> series;  // by label text
};

Registry::Registry() = default;
Registry::~Registry() = default;

template <class M, class Make>
M& Registry::find_or_make(std::string_view name, std::string_view help, const Labels& labels,
                          Make make) {
  const std::lock_guard lock(mutex_);
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(std::string(name), std::make_unique<Family>()).first;
    found->second->help = help;
  }
  Family& family = *found->second;
  std::string key = label_text(labels);
  Labels kept = labels;
  if (!family.series.contains(key) && family.series.size() >= max_series) {
    for (auto& [label, value] : kept) value = "_overflow";
    key = label_text(kept);
  }
  auto [series, inserted] = family.series.try_emplace(key);
  if (inserted) series->second = Series{kept, make()};
  auto* metric = std::get_if<std::unique_ptr<M>>(&series->second.metric);
  CHECK(metric != nullptr);  // one name, two metric types
  return **metric;
}

Counter& Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
  return find_or_make<Counter>(name, help, labels, [] { return std::make_unique<Counter>(); });
}

Gauge& Registry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  return find_or_make<Gauge>(name, help, labels, [] { return std::make_unique<Gauge>(); });
}

Histogram& Registry::histogram(std::string_view name, std::string_view help,
                               std::vector<double> bounds, const Labels& labels) {
  return find_or_make<Histogram>(name, help, labels,
                                 [&] { return std::make_unique<Histogram>(std::move(bounds)); });
}

std::string Registry::text() const {
  const std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [name, family] : families_) {
    const size_t type = family->series.begin()->second.metric.index();
    out += cat("# HELP ", name, ' ', family->help, "\n# TYPE ", name, ' ', type_names[type], '\n');
    for (const auto& [key, series] : family->series) {
      if (const auto* counter = std::get_if<0>(&series.metric)) {
        out += cat(name, key, ' ', (*counter)->value(), '\n');
      } else if (const auto* gauge = std::get_if<1>(&series.metric)) {
        out += cat(name, key, ' ', (*gauge)->value(), '\n');
      } else {
        write_histogram(out, name, series.labels, *std::get<2>(series.metric));
      }
    }
  }
  return out;
}

std::vector<double> latency_bounds_s() {
  return {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
          0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
}

}  // namespace fairlead

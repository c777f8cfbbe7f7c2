#include "base/metrics.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/text.h"

namespace fairlead {
namespace {

TEST(Metrics, WritesTheTextFormat) {
  Registry registry;
  registry.counter("b_total", "Bees", {{"kind", "queen"}}).add(2);
  registry.counter("b_total", "Bees", {{"kind", "a\"b\\c\nd"}}).add();
  registry.gauge("a_now", "Ants").set(-3);
  EXPECT_EQ(registry.text(),
            "# HELP a_now Ants\n# TYPE a_now gauge\na_now -3\n"
            "# HELP b_total Bees\n# TYPE b_total counter\n"
            "b_total{kind=\"a\\\"b\\\\c\\nd\"} 1\nb_total{kind=\"queen\"} 2\n");
}

TEST(Metrics, HistogramsAreCumulative) {
  Registry registry;
  Histogram& histogram = registry.histogram("h", "H", {0.1, 1}, {{"x", "y"}});
  for (const double value : {0.05, 0.1, 0.5, 7.0}) histogram.observe(value);
  EXPECT_EQ(registry.text(),
            "# HELP h H\n# TYPE h histogram\n"
            "h_bucket{x=\"y\",le=\"0.1\"} 2\nh_bucket{x=\"y\",le=\"1\"} 3\n"
            "h_bucket{x=\"y\",le=\"+Inf\"} 4\nh_sum{x=\"y\"} 7.65\nh_count{x=\"y\"} 4\n");
}

TEST(Metrics, TheSameLabelsAreTheSameMetric) {
  Registry registry;
  EXPECT_EQ(&registry.counter("c", "", {{"a", "1"}}), &registry.counter("c", "", {{"a", "1"}}));
  EXPECT_NE(&registry.counter("c", "", {{"a", "1"}}), &registry.counter("c", "", {{"a", "2"}}));
}

TEST(Metrics, SeriesAreLimited) {
  Registry registry;
  for (size_t i = 0; i < Registry::max_series + 50; ++i) {
    registry.counter("c", "", {{"path", cat("/", i)}}).add();
  }
  const std::string text = registry.text();
  EXPECT_NE(text.find("c{path=\"_overflow\"} 50"), std::string::npos);
  EXPECT_EQ(text.find(cat("c{path=\"/", Registry::max_series + 1, "\"}")), std::string::npos);
}

TEST(Metrics, CountsFromManyThreads) {
  Registry registry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      Counter& counter = registry.counter("c", "");
      for (int i = 0; i < 10'000; ++i) counter.add();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(registry.counter("c", "").value(), 40'000u);
}

TEST(MetricsDeathTest, OneNameIsOneType) {
  Registry registry;
  registry.counter("c", "");
  EXPECT_DEATH(registry.gauge("c", ""), "CHECK");
}

TEST(Metrics, LabelsAreEscaped) {
  Registry registry;
  registry.counter("c", "", {{"a", "x\"y\\z\nw"}}).add();
  EXPECT_NE(registry.text().find("c{a=\"x\\\"y\\\\z\\nw\"} 1\n"), std::string::npos)
      << registry.text();
}

// The last that fits, and the first that does not.
TEST(Metrics, TheLimitOfSeriesIsExact) {
  Registry registry;
  for (size_t i = 0; i < Registry::max_series; ++i) registry.gauge("g", "", {{"i", cat(i)}}).set(1);
  EXPECT_EQ(registry.text().find("_overflow"), std::string::npos);
  registry.gauge("g", "", {{"i", "one more"}}).set(7);
  EXPECT_EQ(registry.text().find("one more"), std::string::npos);
  EXPECT_NE(registry.text().find("g{i=\"_overflow\"} 7"), std::string::npos);
  registry.gauge("g", "", {{"i", "0"}}).set(2);
  EXPECT_NE(registry.text().find("g{i=\"0\"} 2"), std::string::npos) << "those inside stay";
}

TEST(Metrics, AValueOnABoundIsInsideIt) {
  Registry registry;
  Histogram& histogram = registry.histogram("h", "", {0.1, 1});
  for (const double value : {0.1, 1.0, 1.0000001, -5.0}) histogram.observe(value);
  EXPECT_EQ(histogram.bucket(0), 2u);
  EXPECT_EQ(histogram.bucket(1), 1u);
  EXPECT_EQ(histogram.bucket(2), 1u);
}

}  // namespace
}  // namespace fairlead

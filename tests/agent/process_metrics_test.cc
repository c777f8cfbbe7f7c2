#include "agent/process_metrics.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/text.h"

namespace fairlead::agent {
namespace {

class ProcessMetrics : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/fairlead-proc-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    proc_ = name;
    std::filesystem::create_directories(proc_ + "/self/fd");
  }
  void TearDown() override { std::filesystem::remove_all(proc_); }
  void write(const std::string& file, std::string_view text) {
    std::ofstream(proc_ + "/" + file) << text;
  }
  // "name value" lines, without comments.
  std::string values() const {
    std::string out;
    const std::string text = process_metrics(proc_);
    for (const auto line : split(text, '\n')) {
      if (!line.empty() && !line.starts_with('#')) out += cat(line, '\n');
    }
    return out;
  }
  std::string proc_;
};

TEST_F(ProcessMetrics, AreTheKernelsFigures) {
  const long ticks = sysconf(_SC_CLK_TCK), page = sysconf(_SC_PAGESIZE);
  // A name with blanks and brackets, as a program may give itself.
  write("self/stat", cat("7 (fair) lead (x) S 1 7 7 0 -1 4194560 1 2 3 4 ", 12 * ticks, ' ',
                         3 * ticks + ticks / 2, " 0 0 20 0 5 0 ", 100 * ticks,
                         " 1048576 256 18446744073709551615 1 1\n"));
  write("stat", "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n");
  write("self/limits",
        "Limit                     Soft Limit           Hard Limit\n"
        "Max open files            1024                 4096                 files\n");
  write("self/fd/0", "");
  write("self/fd/1", "");
  EXPECT_EQ(values(), cat("process_cpu_seconds_total 15.50\n"
                          "process_virtual_memory_bytes 1048576\n"
                          "process_resident_memory_bytes ",
                          256 * page,
                          "\nprocess_start_time_seconds 1700000100.00\n"
                          "process_open_fds 2\nprocess_max_fds 1024\n"));
}

TEST_F(ProcessMetrics, WhatCannotBeReadIsLeftOut) {
  EXPECT_EQ(values(), "process_open_fds 0\n");
  for (const char* odd : {"", "7", "7 (x) S", "no brackets at all", ") ) )", "7 (x S 1 2 3"}) {
    write("self/stat", odd);
    EXPECT_EQ(values(), "process_open_fds 0\n") << odd;
  }
  write("self/limits", "Max open files            unlimited            unlimited\n");
  EXPECT_EQ(values(), "process_open_fds 0\n");
  EXPECT_EQ(process_metrics("/nonexistent"), "");
}

TEST(ProcessMetricsHere, AllOfThemAreThere) {
  const std::string text = process_metrics();
  for (const char* name : {"cpu_seconds_total", "virtual_memory_bytes", "resident_memory_bytes",
                           "start_time_seconds", "open_fds", "max_fds"}) {
    EXPECT_NE(text.find(cat("\nprocess_", name, ' ')), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace fairlead::agent

// A state file that somebody else wrote.
#include "cli/lab/state.h"

#include <gtest/gtest.h>

namespace fairlead::cli {
namespace {

TEST(LabState, ValuesOfAWrongTypeCountAsAbsent) {
  const auto state = parse_lab_state(R"({"name": "x", "nodes": -1, "clients": 5000000000,
      "backends": "3", "apiPort": 70000, "proxyMode": ["ebpf"], "directory": null, "processes": {
        "negative": {"pid": -4294967295, "start": -1}, "fraction": {"pid": 1.5, "start": 1e300},
        "text": {"pid": "7", "start": "8"}, "nothing": null, "good": {"pid": 7, "start": 8}}})");
  ASSERT_TRUE(state) << state.error().message;
  EXPECT_EQ(state->options.nodes, 0u);
  EXPECT_EQ(state->options.clients, 0u);
  EXPECT_EQ(state->options.backends, 0u);
  EXPECT_EQ(state->options.api_port, 0);
  EXPECT_EQ(state->options.proxy_mode, "");
  for (const char* odd : {"negative", "fraction", "text", "nothing"}) {
    EXPECT_EQ(state->processes.at(odd).pid, 0) << odd;
    EXPECT_EQ(state->processes.at(odd).start_ticks, 0u) << odd;
  }
  EXPECT_EQ(state->processes.at("good").pid, 7);
  EXPECT_EQ(state->processes.at("good").start_ticks, 8u);
}

}  // namespace
}  // namespace fairlead::cli

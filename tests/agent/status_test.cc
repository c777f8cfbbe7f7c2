#include "agent/status.h"

#include <gtest/gtest.h>

namespace fairlead::agent {
namespace {

StatusReport example() {
  StatusReport report;
  report.version = "0.1.0";
  report.node = "node1";
  report.uptime_s = 62;
  report.components = {{"feed", ComponentState::ok, "https://10.0.0.1:6443"},
                       {"proxy", ComponentState::degraded, "ebpf: as configured"},
                       {"dns", ComponentState::off, "switched off"}};
  report.feed_source = "https://10.0.0.1:6443";
  report.feed_age_ms = 1200;
  report.proxy_mode = "ebpf";
  report.proxy_why = "as configured";
  report.services = 3;
  report.backends = 7;
  report.last_apply_ms_ago = 130'000;
  report.last_apply_us = 420;
  report.last_apply_writes = 9;
  report.retiring = {"nftables: until its flows end, 3 s so far"};
  report.last_verify_ms_ago = 12'000;
  report.drifts = {"rule 7 is missing (owner: unknown; repaired)"};
  report.listening = {"http [::]:80"};
  report.errors = {"proxy: map full"};
  return report;
}

TEST(Status, JsonRoundTrips) {
  const StatusReport report = example();
  const auto back = from_json(to_json(report));
  ASSERT_TRUE(back);
  EXPECT_EQ(json::serialize(to_json(*back)), json::serialize(to_json(report)));
}

TEST(Status, TableShowsWhatMatters) {
  EXPECT_EQ(to_table(example()),
            "NODE        node1  (fairlead 0.1.0, up 62 s, ready)\n"
            "FEED        https://10.0.0.1:6443  last event 1200 ms ago\n"
            "PROXY       ebpf  3 services, 7 backends\n"
            "LAST APPLY  2 min ago, took 420 us, 9 writes\n"
            "RETIRING    nftables: until its flows end, 3 s so far\n"
            "VERIFIED    12 s ago, 1 drift\n"
            "DRIFT       rule 7 is missing (owner: unknown; repaired)\n"
            "\n"
            "COMPONENT   STATE       DETAIL\n"
            "feed        ok          https://10.0.0.1:6443\n"
            "proxy       degraded    ebpf: as configured\n"
            "dns         off         switched off\n"
            "\n"
            "LISTENING   http [::]:80\n"
            "\n"
            "ERRORS\n"
            "  proxy: map full\n");
}

// An agent of another version may leave out or change what this one knows.
TEST(Status, ValuesOfAWrongTypeCountAsAbsent) {
  const auto report = from_json(*parse_json(R"({
      "components": "none", "version": 3, "uptimeSeconds": "long",
      "feed": [], "proxy": {"mode": "ipvs", "services": "3", "backends": 2.5, "drifts": "none",
                            "retiring": [1, "ebpf", null]},
      "listening": {"a": 1}, "errors": [["x"], "y"]})"));
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->version, "");
  EXPECT_EQ(report->uptime_s, 0);
  EXPECT_EQ(report->proxy_mode, "ipvs");
  EXPECT_EQ(report->services, 0u);
  EXPECT_EQ(report->backends, 0u);
  EXPECT_TRUE(report->drifts.empty());
  EXPECT_EQ(report->retiring, std::vector<std::string>{"ebpf"});
  EXPECT_TRUE(report->listening.empty());
  EXPECT_EQ(report->errors, std::vector<std::string>{"y"});
}

TEST(Status, WhatCouldNotBeReadBackIsInTheTable) {
  StatusReport report = example();
  report.verify_error = "the kernel says no";
  EXPECT_NE(to_table(report).find("VERIFIED    12 s ago, the kernel says no\n"), std::string::npos)
      << to_table(report);
}

TEST(Status, ReadyMeansNothingIsStarting) {
  StatusReport report = example();
  EXPECT_TRUE(is_ready(report));
  report.components[0].state = ComponentState::starting;
  EXPECT_FALSE(is_ready(report));
}

TEST(Status, NothingYetIsSaidInWords) {
  StatusReport report;
  const std::string table = to_table(report);
  EXPECT_NE(table.find("last event never"), std::string::npos);
  EXPECT_NE(table.find("LAST APPLY  never"), std::string::npos);
  EXPECT_NE(table.find("VERIFIED    never"), std::string::npos);
  EXPECT_NE(table.find("no errors"), std::string::npos);
}

TEST(Status, RejectsOtherJson) {
  for (const char* text : {"{}", "[]", "3", R"({"components":[{"name":"x","state":"fine"}]})"}) {
    EXPECT_FALSE(from_json(*parse_json(text))) << text;
  }
}

}  // namespace
}  // namespace fairlead::agent

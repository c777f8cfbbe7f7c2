#include "agent/host_settings.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace fairlead::agent {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

TEST(HostSettings, AreWrittenWhenTheyAreSet) {
  char name[] = "/tmp/fairlead-proc-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  const std::string proc = name;
  std::filesystem::create_directories(proc + "/sys/net/netfilter");
  std::filesystem::create_directories(proc + "/self");
  AgentConfig config;
  EXPECT_TRUE(apply_host_settings(config, proc));
  EXPECT_FALSE(std::filesystem::exists(proc + "/self/oom_score_adj"));

  config.oom_score_adj = -999;
  config.sysctls = {{"net.netfilter.nf_conntrack_max", "131072"}};
  EXPECT_TRUE(apply_host_settings(config, proc));
  EXPECT_EQ(first_line(proc + "/sys/net/netfilter/nf_conntrack_max"), "131072");
  EXPECT_EQ(first_line(proc + "/self/oom_score_adj"), "-999");

  config.conntrack_tcp_be_liberal = true;
  EXPECT_TRUE(apply_host_settings(config, proc));
  EXPECT_EQ(first_line(proc + "/sys/net/netfilter/nf_conntrack_tcp_be_liberal"), "1");

  config.sysctls = {{"net.none.such", "1"}};
  const auto failed = apply_host_settings(config, proc);
  ASSERT_FALSE(failed);
  EXPECT_TRUE(failed.error().message.starts_with("--sysctls net.none.such: "));

  config.sysctls.clear();
  std::filesystem::remove_all(proc + "/self");
  const auto unscored = apply_host_settings(config, proc);
  ASSERT_FALSE(unscored);
  EXPECT_TRUE(unscored.error().message.starts_with("--oom-score-adj: "));
  std::filesystem::remove_all(proc);
}

TEST(HostSettings, NamesCannotLeaveTheFolder) {
  Sysctl out;
  EXPECT_TRUE(parse_setting("net.ipv4.conf.eth0-1.arp_ignore=1", out));
  for (const char* bad : {"", "a", "=1", "a/b=1", "..=1", "a..b=1", ".a=1", "a.=1", "a b=1"}) {
    EXPECT_FALSE(parse_setting(bad, out)) << bad;
  }
}

}  // namespace
}  // namespace fairlead::agent

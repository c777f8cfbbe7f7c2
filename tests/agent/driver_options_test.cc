// Settings of the proxy modes: what is accepted, and what is said of the rest.
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/config.h"

namespace fairlead::agent {
namespace {

Result<AgentConfig> with(std::string_view name, std::string_view value) {
  const auto options = agent_options();
  const auto row = std::find_if(options.begin(), options.end(),
                                [&](const auto& option) { return option.name == name; });
  if (row == options.end()) return fail("no such option");
  AgentConfig config;
  FL_TRY_VOID(row->set(config, value));
  if (row->get(config) != value) return fail(cat("reads back as ", row->get(config)));
  return config;
}

TEST(DriverOptions, AreSetAndReadBack) {
  EXPECT_EQ(with("iptables-masquerade-bit", "0")->masquerade_bit.mark(), 1u);
  EXPECT_EQ(with("iptables-masquerade-bit", "31")->masquerade_bit.mark(), 0x80000000u);
  EXPECT_EQ(AgentConfig().masquerade_bit.mark(), 0x4000u);
  using dataplane::IptablesVariant;
  EXPECT_EQ(with("iptables-variant", "nft")->iptables_variant, IptablesVariant::nft);
  EXPECT_EQ(with("iptables-variant", "legacy")->iptables_variant, IptablesVariant::legacy);
  EXPECT_EQ(with("iptables-variant", "auto")->iptables_variant, IptablesVariant::automatic);
  EXPECT_TRUE(with("conntrack-tcp-be-liberal", "true")->conntrack_tcp_be_liberal);
  EXPECT_TRUE(with("nftables-drop-invalid", "true")->nftables_drop_invalid);
  EXPECT_EQ(with("ipvs-scheduler", "wlc")->ipvs_scheduler, "wlc");
  EXPECT_TRUE(with("ipvs-strict-arp", "true")->ipvs_strict_arp);
  EXPECT_EQ(with("ipvs-tcp-timeout", "90s")->ipvs_tcp_timeout, std::chrono::seconds(90));
  EXPECT_EQ(with("ipvs-tcp-fin-timeout", "0s")->ipvs_tcp_fin_timeout, Duration{});
  EXPECT_EQ(with("ipvs-udp-timeout", "1500ms")->ipvs_udp_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(with("userspace-max-captured", "10")->userspace_max_captured, 10u);
  EXPECT_EQ(with("userspace-max-connections", "11")->userspace_max_connections, 11u);
  EXPECT_EQ(with("userspace-max-udp-flows", "12")->userspace_max_udp_flows, 12u);
  EXPECT_EQ(with("userspace-max-clients", "13")->userspace_max_clients, 13u);
  EXPECT_EQ(with("userspace-connect-attempts", "2")->userspace_connect_attempts, 2u);
  EXPECT_EQ(with("userspace-connect-timeout", "500ms")->userspace_connect_timeout,
            std::chrono::milliseconds(500));
  EXPECT_EQ(with("userspace-udp-timeout", "90s")->userspace_udp_timeout, std::chrono::seconds(90));
  EXPECT_EQ(with("userspace-drain", "250ms")->userspace_drain, std::chrono::milliseconds(250));
}

TEST(DriverOptions, WhatIsNoneIsNamed) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"iptables-masquerade-bit", "32"}, {"iptables-masquerade-bit", "-1"},
      {"iptables-masquerade-bit", "x"},  {"iptables-variant", "nftables"},
      {"iptables-variant", ""},          {"nftables-drop-invalid", "1"},
      {"userspace-max-clients", "-1"},   {"userspace-udp-timeout", "60"},
      {"ipvs-tcp-timeout", "15"},        {"ipvs-strict-arp", "on"}};
  for (const auto& [name, value] : cases) {
    const auto refused = with(name, value);
    ASSERT_FALSE(refused) << name << " " << value;
    EXPECT_NE(refused.error().message.find(cat("'", value, "'")), std::string::npos)
        << refused.error().message;
  }
}

}  // namespace
}  // namespace fairlead::agent

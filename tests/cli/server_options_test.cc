// The control plane's settings: what they accept, and that all of them reach it.
#include "cli/server_options.h"

#include <gtest/gtest.h>

namespace fairlead::cli {
namespace {

TEST(PortRange, IsTwoPortsInOrder) {
  const std::pair<const char*, PortRange> good[] = {{"30000-32767", {30000, 32767}},
                                                    {"1-65535", {1, 65535}},
                                                    {"65535-65535", {65535, 65535}},
                                                    {"1-1", {1, 1}}};
  for (const auto& [text, want] : good) {
    PortRange range;
    ASSERT_TRUE(parse_setting(text, range)) << text;
    EXPECT_EQ(range, want) << text;
    EXPECT_EQ(format_setting(range), text);
  }
  for (const char* bad : {"", "-", "30000", "30000-", "-32767", "2-1", "0-1", "1-65536", "1-2-3",
                          "1 - 2", "a-b", "1-2,3-4", "--"}) {
    PortRange range;
    const auto refused = parse_setting(bad, range);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().message,
              cat("'", bad, "' is not a range of ports such as 30000-32767"));
    EXPECT_EQ(range, PortRange()) << bad;
  }
}

TEST(ServerOptions, AllOfThemReachTheControlPlane) {
  ServerFlags flags;
  const std::pair<std::string_view, std::string_view> settings[] = {
      {"data-dir", "/data"},
      {"listen", "[::1]:7443"},
      {"unix-socket", ""},
      {"service-cidrs", "10.1.0.0/16,fd01::/112"},
      {"node-port-range", "31000-31009"},
      {"admin-kubeconfig", "/admin"},
      {"sans", "api.example.test,192.0.2.1"},
      {"log-level", "debug"}};
  const auto rows = server_options();
  ASSERT_EQ(rows.size(), std::size(settings)) << "a new one belongs here";
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].name, settings[i].first);
    ASSERT_TRUE(rows[i].set(flags, settings[i].second)) << rows[i].name;
    EXPECT_EQ(rows[i].get(flags), settings[i].second);
  }
  const controlplane::Config config = to_config(flags);
  EXPECT_EQ(config.data_dir, "/data");
  EXPECT_EQ(config.listen.to_string(), "[::1]:7443");
  EXPECT_EQ(config.unix_socket, "");
  ASSERT_EQ(config.service_cidrs.size(), 2u);
  EXPECT_EQ(config.service_cidrs[1].to_string(), "fd01::/112");
  EXPECT_EQ(config.node_port_low, 31000);
  EXPECT_EQ(config.node_port_high, 31009);
  EXPECT_EQ(config.admin_kubeconfig, "/admin");
  EXPECT_EQ(config.extra_sans, (std::vector<std::string>{"api.example.test", "192.0.2.1"}));
}

}  // namespace
}  // namespace fairlead::cli

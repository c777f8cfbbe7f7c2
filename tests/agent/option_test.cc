#include "agent/option.h"

#include <gtest/gtest.h>

#include "agent/config.h"

namespace fairlead::agent {
namespace {

// Applies one file to a default configuration; the error's text, or "".
std::string apply_error(std::string_view text) {
  AgentConfig config;
  const auto done = apply_file(config, agent_options(), text, "agent.yaml");
  return done ? "" : done.error().message;
}

TEST(ConfigFile, SetsEveryKindOfValue) {
  AgentConfig config;
  const auto done = apply_file(config, agent_options(),
                               "# a comment\n"
                               "proxy-mode: nftables\n"
                               "node-ips: [10.0.0.1, \"fd00::1\"]\n"
                               "local-pod-cidrs: 10.244.1.0/24\n"
                               "dns: false\n"
                               "dns-workers: 3\n"
                               "ingress-http:\n- 127.0.0.1:8080\n- \"[::1]:8080\"\n"
                               "log-level: debug\n"
                               "access-log:\n",
                               "agent.yaml");
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(config.proxy_mode, ProxyMode::nftables);
  EXPECT_EQ(config.node_ips, (std::vector<Ip>{*Ip::parse("10.0.0.1"), *Ip::parse("fd00::1")}));
  EXPECT_EQ(config.local_pod_cidrs, std::vector<Cidr>{*Cidr::parse("10.244.1.0/24")});
  EXPECT_FALSE(config.dns);
  EXPECT_EQ(config.dns_workers, 3u);
  ASSERT_EQ(config.ingress_http.size(), 2u);
  EXPECT_EQ(config.ingress_http[1].to_string(), "[::1]:8080");
  EXPECT_EQ(config.log_level, LogLevel::debug);
}

TEST(ConfigFile, ErrorsNameFileAndLine) {
  struct Case {
    std::string_view text, error;
  };
  const Case cases[] = {
      {"proxy-mod: ebpf\n", "agent.yaml:1: unknown key 'proxy-mod': did you mean 'proxy-mode'?"},
      {"dns: true\nkubernetes: x\n", "agent.yaml:2: unknown key 'kubernetes'"},
      {"dns: maybe\n", "agent.yaml:1: dns: 'maybe' is neither true nor false"},
      {"\n\ndns-workers: many\n", "agent.yaml:3: dns-workers: 'many' is not a number of 0 to 1024"},
      {"dns-workers: -1\n", "agent.yaml:1: dns-workers: '-1' is not a number of 0 to 1024"},
      {"proxy-mode: smoke\n",
       "agent.yaml:1: proxy-mode: 'smoke' is not a proxy mode: "
       "auto, ebpf, nftables, iptables, ipvs, userspace or none"},
      {"node-ips: [10.0.0.1, here]\n", "agent.yaml:1: node-ips: 'here' is not an IP address"},
      {"ingress-http: 80000\n",
       "agent.yaml:1: ingress-http: '80000': expected ADDRESS:PORT with a port of 0 to 65535"},
      {"local-pod-cidrs: 10.0.0.1\n",
       "agent.yaml:1: local-pod-cidrs: '10.0.0.1' is not a network such as 10.96.0.0/12"},
      {"log-level: loud\n",
       "agent.yaml:1: log-level: 'loud' is not a log level: debug, info, warn or error"},
      {"dns: true\ndns: false\n", "agent.yaml:2: duplicate key 'dns'"},
      {"dns: {on: true}\n", "agent.yaml:1: dns: expected a value or a list of values"},
      {"node-ips: [[10.0.0.1]]\n", "agent.yaml:1: node-ips: a list may hold plain values only"},
      {"- dns\n", "agent.yaml:1: expected lines of the form 'key: value'"},
      {"dns: [\n", "agent.yaml:2: end of sequence flow not found"},
  };
  for (const Case& c : cases) EXPECT_EQ(apply_error(c.text), c.error) << c.text;
}

TEST(ConfigFile, AnEmptyFileIsFine) {
  EXPECT_EQ(apply_error(""), "");
  EXPECT_EQ(apply_error("# nothing\n"), "");
}

TEST(ConfigFile, HasALimit) {
  const std::string huge(300 * 1024, '#');
  EXPECT_EQ(apply_error(huge), "agent.yaml: larger than 262144 bytes");
}

TEST(Options, EveryRowReadsBackWhatItPrints) {
  for (const auto& row : agent_options()) {
    AgentConfig config;
    const std::string text = row.get(config);
    ASSERT_TRUE(row.set(config, text)) << row.name;
    EXPECT_EQ(row.get(config), text) << row.name;
    EXPECT_FALSE(row.help.empty()) << row.name;
  }
}

TEST(Options, NamesAreUnique) {
  std::set<std::string_view> names;
  for (const auto& row : agent_options()) EXPECT_TRUE(names.insert(row.name).second) << row.name;
}

TEST(Options, DurationsPrintInTheLargestExactUnit) {
  EXPECT_EQ(format_setting(Duration(std::chrono::milliseconds(1500))), "1500ms");
  EXPECT_EQ(format_setting(Duration(std::chrono::seconds(90))), "90s");
  Duration duration{};
  EXPECT_TRUE(parse_setting("1m", duration));
  EXPECT_EQ(duration, std::chrono::minutes(1));
  EXPECT_FALSE(parse_setting("soon", duration));
}

TEST(Options, ListsMayBeEmptied) {
  std::vector<SocketAddress> list{{Ip{}, 80}};
  EXPECT_TRUE(parse_setting("", list));
  EXPECT_TRUE(list.empty());
}

TEST(Option, SuggestsNamesThatAreNearForTheirLength) {
  const std::vector<std::string_view> names = {"up", "agent", "proxy-mode"};
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"agnet", ": did you mean 'agent'?"},
      {"proxymode", ": did you mean 'proxy-mode'?"},
      {"upp", ": did you mean 'up'?"},
      {"nope", ""},
      {"x", ""},
      {"", ""},
      {"something-else", ""},
  };
  for (const auto& [word, want] : cases) EXPECT_EQ(nearest_name(word, names), want) << word;
  EXPECT_EQ(nearest_name("agent", {}), "");
}

}  // namespace
}  // namespace fairlead::agent

// The capability table: complete, and asked the right questions.
#include "dataplane/capability.h"

#include <gtest/gtest.h>

namespace fairlead::dataplane {
namespace {

PortRule plain() {
  PortRule rule;
  rule.port_name = "http";
  rule.frontends = {{FrontendKind::cluster_ip, Ip::v4(0x0a600001), 80}};
  return rule;
}

TEST(Capability, EveryRowThatAModeLacksSaysWhatHappensInstead) {
  std::set<Capability> seen;
  for (const CapabilityRow& row : capability_rows()) {
    EXPECT_TRUE(seen.insert(row.capability).second) << row.name << " stands there twice";
    const bool everywhere = std::ranges::all_of(row.has, [](bool has) { return has; });
    EXPECT_EQ(everywhere, row.instead.empty()) << row.name;
    for (const Mode mode : all_modes) {
      EXPECT_EQ(can(mode, row.capability), row.has[static_cast<size_t>(mode)]) << row.name;
    }
  }
}

TEST(Capability, ModesHaveTheirNames) {
  for (const Mode mode : all_modes) EXPECT_EQ(parse_mode(to_string(mode)), mode);
  EXPECT_EQ(to_string(Mode::ipvs), "ipvs");
  EXPECT_FALSE(parse_mode("kernelspace"));
  EXPECT_FALSE(parse_mode(""));
}

TEST(ServedBy, AModeMasqueradesWhereItCanDoNoBetter) {
  FlowResult result;
  result.candidates = {{{}, true, false}, {{}, false, true}, {{}, false, false}};
  struct Case {
    Mode mode;
    std::vector<FlowCandidate> candidates;
  };
  const Case cases[] = {
      {Mode::ebpf, result.candidates},
      {Mode::nftables, {{{}, true, false}, {{}, true, false}, {{}, false, false}}},
      {Mode::userspace, {{{}, true, false}, {{}, true, false}, {{}, true, false}}},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(served_by(c.mode, result).candidates, c.candidates) << to_string(c.mode);
  }
}

TEST(Lacking, APlainServiceIsServedInFullByEveryMode) {
  for (const Mode mode : all_modes) {
    EXPECT_TRUE(lacking(mode, {"default", "web"}, {.ports = {plain()}}).empty());
  }
}

TEST(Lacking, NamesWhatAServiceAsksForAndTheModeHasNot) {
  PortRule sctp = plain();
  sctp.protocol = Protocol::sctp;
  PortRule special = plain();
  special.algorithm = Algorithm::maglev;
  special.forwarding = Forwarding::dsr;
  PortRule large = special;
  large.backends.resize(2012);
  PortRule local = plain();
  local.frontends.push_back({FrontendKind::node_port, Ip::v4(0), 30080, true});
  struct Case {
    Mode mode;
    PortRule rule;
    std::vector<std::string> lines;
  };
  const Case cases[] = {
      {Mode::ebpf, sctp, {"default/web:http: no SCTP in ebpf mode; these ports are not served"}},
      {Mode::nftables, sctp, {}},
      {Mode::ebpf, special, {}},
      {Mode::ebpf,
       large,
       {"default/web:http: Maglev in ebpf mode is for 2011 backends at most; one of 2012 is chosen "
        "at random"}},
      {Mode::ipvs,
       large,
       {"default/web:http: no direct server return in ipvs mode; answers come back by NAT"}},
      {Mode::iptables,
       special,
       {"default/web:http: no Maglev in iptables mode; backends are chosen as without it",
        "default/web:http: no direct server return in iptables mode; answers come back by NAT"}},
      {Mode::ipvs,
       local,
       {"default/web:http: no policy Local by source in ipvs mode; pods and the node get local "
        "endpoints too"}},
      {Mode::nftables, local, {}},
  };
  for (const Case& c : cases) {
    PortRule other_family = c.rule;
    other_family.ipv6 = true;
    EXPECT_EQ(lacking(c.mode, {"default", "web"}, {.ports = {c.rule, other_family}}), c.lines);
  }
}

}  // namespace
}  // namespace fairlead::dataplane

// What `explain` says in each mode: the flow as that mode serves it, and words that agree with it.
#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/explain.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/core/golden_file.h"

namespace fairlead::dataplane {
namespace {

Ip ip(std::string_view text) { return *Ip::parse(text); }

PortRule rule_of(std::vector<Frontend> frontends, std::vector<Backend> backends) {
  PortRule out;
  out.frontends = std::move(frontends);
  out.backends = std::move(backends);
  out.if_empty = NoBackend::drop;
  return out;
}

const Backend here{Ip::v4(0x0a010005), 8080, true}, there{Ip::v4(0x0a020005), 8080, false};

ServiceTable table() {
  ServiceTable out;
  out.node = random_node();
  out.node.service_cidrs = {*Cidr::parse("10.96.0.0/16")};
  const Frontend port{FrontendKind::node_port, Ip::v4(0), 30080, true},
      remote_port{FrontendKind::node_port, Ip::v4(0), 30081, true},
      guarded{FrontendKind::load_balancer, ip("198.51.100.1"), 80, false},
      lonely{FrontendKind::cluster_ip, ip("10.96.0.9"), 80, false};
  out.services[{"default", "both"}].ports = {rule_of({port}, {here, there})};
  out.services[{"default", "remote"}].ports = {rule_of({remote_port}, {there})};
  PortRule sctp = rule_of({{FrontendKind::cluster_ip, ip("10.96.0.1"), 99}}, {here});
  sctp.protocol = Protocol::sctp;
  out.services[{"default", "sig"}].ports = {sctp};
  out.services[{"default", "one"}].ports = {rule_of({lonely}, {here})};
  PortRule ranged = rule_of({guarded}, {there});
  ranged.source_ranges = {*Cidr::parse("192.168.0.0/24")};
  out.services[{"default", "ranged"}].ports = {ranged};
  return out;
}

std::string flow(const ServiceTable& table, std::string_view source, std::string_view destination,
                 std::optional<Mode> mode) {
  const auto to = *parse_destination(destination);
  return to_table(explain_flow(table, {ip(source), to.first, to.second}, mode));
}

TEST(ExplainMode, AFlowIsAsTheModeServesIt) {
  using enum Mode;
  const struct {
    std::string_view source, to;
    std::vector<std::optional<Mode>> modes;
    std::string_view says;
  } cases[] = {
      // NodePorts on localhost.
      {"127.0.0.1", "127.0.0.1:30080", {{}, ebpf, iptables}, "forward default/both to 10.1.0.5"},
      {"127.0.0.1",
       "127.0.0.1:30080",
       {nftables},
       "no NodePorts on 127.0.0.1 in nftables mode; they answer on the node's own addresses"},
      {"127.0.0.1", "127.0.0.1:30080", {nftables, ipvs}, "outcome   pass"},
      {"127.0.0.1", "127.0.0.1:31000", {{}, nftables}, "no Service has this address, port and"},
      // SCTP.
      {"10.1.0.9", "10.96.0.1:99/SCTP", {{}, nftables, ipvs}, "forward default/sig to 10.1.0.5"},
      {"10.1.0.9", "10.96.0.1:99/SCTP", {ebpf}, "no SCTP in ebpf mode; these ports are not served"},
      {"10.1.0.9", "10.96.0.1:99/SCTP", {ebpf, userspace}, "outcome   pass"},
      {"10.1.0.9", "10.96.0.1:98/SCTP", {{}, ebpf}, "a ClusterIP that has no such port"},
      // Addresses of nobody.
      {"10.1.0.9", "10.96.7.7:80", {{}, ebpf, ipvs}, "drop no such address"},
      {"10.1.0.9", "10.96.7.7:80", {userspace}, "their packets leave the node as they are"},
      // Policy Local: whom it binds.
      {"10.1.0.9", "192.168.0.1:30080", {{}, iptables}, "to 10.1.0.5:8080, 10.2.0.5:8080"},
      {"10.1.0.9", "192.168.0.1:30080", {ipvs}, "forward default/both to 10.1.0.5:8080\n"},
      {"10.1.0.9", "192.168.0.1:30080", {ipvs}, "pods and the node get local endpoints too"},
      {"10.1.0.5", "192.168.0.1:30080", {ipvs}, "to 10.1.0.5:8080 (masquerade)\n"},
      {"192.168.0.1", "192.168.0.1:30080", {ipvs}, "to 10.1.0.5:8080 (masquerade)\n"},
      {"10.1.0.9", "192.168.0.1:30081", {{}, ipvs}, "forward default/remote to 10.2.0.5:8080\n"},
      {"203.0.113.9", "192.168.0.1:30081", {{}, ipvs}, "endpoints exist, but not for this policy"},
      // The words for who dials itself, and for a node that dials what it holds.
      {"10.1.0.5", "10.96.0.9:80", {{}, iptables}, "the endpoint dials itself"},
      {"198.51.100.1", "198.51.100.1:80", {{}, iptables}, "the node dials its own load balancer"},
      {"203.0.113.9", "198.51.100.1:80", {{}, userspace}, "the source ranges do not let it in"},
  };
  for (const auto& one : cases) {
    for (const auto mode : one.modes) {
      const std::string text = flow(table(), one.source, one.to, mode);
      EXPECT_NE(text.find(one.says), text.npos)
          << (mode ? to_string(*mode) : "any mode") << " says\n"
          << text << "and not: " << one.says;
    }
  }
}

TEST(ExplainMode, FrontendsAreAsTheModeServesThem) {
  const ServiceTable services = table();
  const api::Snapshot nothing;
  const auto frontend = [&](const char* name, std::optional<Mode> mode) {
    const auto told = explain_service(nothing, services, {"default", name}, mode);
    const FrontendExplanation& one = told.ports.at(0).frontends.at(0);
    return cat(one.local_pod, " | ", one.this_node, " | ", one.outside);
  };
  EXPECT_EQ(frontend("both", Mode::iptables), "all (2) | all (2), masquerade | local (1)");
  EXPECT_EQ(frontend("both", Mode::ipvs), "local (1) | local (1), masquerade | local (1)");
  EXPECT_EQ(frontend("remote", Mode::ipvs), "all (1) | all (1), masquerade | drop");
  EXPECT_EQ(frontend("both", Mode::userspace),
            "all (2), masquerade | all (2), masquerade | local (1), masquerade");
}

// Of one flow: the words of its decisions against its candidates.
void expect_words_agree(const FlowExplanation& told, Mode mode) {
  size_t masqueraded = 0, direct = 0;
  for (const FlowCandidate& one : told.candidates) {
    masqueraded += one.masquerade;
    direct += one.direct;
  }
  const size_t all = told.candidates.size();
  ASSERT_EQ(told.outcome == FlowOutcome::forward, all != 0);
  ASSERT_EQ(told.decisions.back().step, "outcome");
  for (const Decision& one : told.decisions) {
    SCOPED_TRACE(cat(to_string(mode), ": ", one.step, " ", one.verdict, " ", one.why));
    if (one.verdict == "refused") {
      ASSERT_EQ(told.outcome, FlowOutcome::drop);
    }
    if (one.step != "masquerade") continue;
    ASSERT_TRUE(can(mode, Capability::dsr) || direct == 0);
    if (one.verdict == "yes") {
      ASSERT_EQ(masqueraded, all);
    } else if (one.verdict == "no") {
      ASSERT_EQ(masqueraded, 0u);
    } else {
      ASSERT_TRUE(one.verdict == "only to itself" ? masqueraded == 1 && all > 1
                                                  : direct != 0 && masqueraded + direct == all);
    }
  }
}

void expect_words_agree(const ServiceTable& services) {
  for (const auto& [key, entry] : services.services) {
    std::set<Ip> sources = {ip("10.1.0.9"), ip("192.168.0.1"), ip("203.0.113.7"), ip("fd00::9")};
    for (const PortRule& rule : entry.ports) {
      for (const Backend& one : rule.backends) sources.insert(one.ip);
    }
    for (const Ip& source : sources) {
      for (const FlowQuery& query : flows_to(services, key, source)) {
        for (const Mode mode : all_modes) {
          const FlowExplanation told = explain_flow(services, query, mode);
          SCOPED_TRACE(to_table(told));
          expect_words_agree(told, mode);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(ExplainMode, WordsAgreeWithCandidatesInEveryGoldenFile) {
  for (const std::string& path : golden_paths()) {
    SCOPED_TRACE(path);
    const auto file = GoldenFile::read(path);
    ASSERT_TRUE(file);
    api::SnapshotBuilder builder;
    ASSERT_TRUE(put_yaml(builder, file->section("objects")));
    const auto node = parse_node(file->section("node"));
    ASSERT_TRUE(node);
    expect_words_agree(compile(*builder.take().snapshot, *node));
    if (HasFailure()) return;
  }
}

TEST(ExplainMode, WordsAgreeWithCandidatesInRandomClusters) {
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    RandomCluster cluster(seed);
    for (int step = 0; step < 10; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      expect_words_agree(compile(*cluster.step().snapshot, random_node()));
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace fairlead::dataplane

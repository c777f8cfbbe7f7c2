// Real packets through the nftables driver: what happens to each is what resolve() says.
#include <gtest/gtest.h>

#include <set>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/flow.h"
#include "dataplane/nftables/driver.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/netns_lab.h"
#include "tests/dataplane/packet_peers.h"

namespace fairlead::dataplane {
namespace {

// The node serves NodePorts on 10.9.0.1. Around it: a client pod, a local and a remote backend, and
// a client outside, which is also the node's default route.
constexpr std::string_view node_yaml = R"(
name: node-a
ips: [10.9.0.1, "fd00:9::1"]
pods: [10.1.0.0/24, 10.2.0.0/24, "fd00:1::/64", "fd00:2::/64"]
)";

// The node's own datagrams are refused and dropped before they leave: EPERM says both.
constexpr std::string_view refused_locally = "error: Operation not permitted";

std::string service(int number, std::string_view more) {
  const int port = 30080 + number;
  return cat(R"(---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: s)",
             number, R"(}
spec:
  type: NodePort
  clusterIP: 10.96.0.)",
             number, "\n  clusterIPs: [10.96.0.", number, ", \"fd96::", number,
             "\"]\n  externalIPs: [203.0.113.", number, ", \"2001:db8::", number, "\"]\n  ", more,
             R"(
  ports:
  - {name: t, port: 80, nodePort: )",
             port, R"(}
  - {name: u, port: 80, nodePort: )",
             port, ", protocol: UDP}\n");
}

std::string slice(int number, std::string_view address, std::string_view node) {
  return cat(R"(---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: "s)",
             number, "-", address, R"(", labels: {kubernetes.io/service-name: s)", number,
             "}}\naddressType: ", address.find(':') == address.npos ? "IPv4" : "IPv6", R"(
ports: [{name: t, port: 8080}, {name: u, port: 8080, protocol: UDP}]
endpoints: [{addresses: [")",
             address, "\"], nodeName: ", node, "}]\n");
}

std::string local_slices(int number) {
  return slice(number, "10.2.0.2", "node-a") + slice(number, "fd00:2::2", "node-a");
}
std::string remote_slices(int number) {
  return slice(number, "10.3.0.2", "node-b") + slice(number, "fd00:3::2", "node-b");
}

std::string objects() {
  std::string yaml;
  constexpr std::string_view policies[] = {"sessionAffinity: None", "externalTrafficPolicy: Local",
                                           "internalTrafficPolicy: Local"};
  for (int i = 0; i < 3; ++i)
    yaml += service(i + 1, policies[i]) + local_slices(i + 1) + remote_slices(i + 1);
  yaml +=
      service(4, "externalTrafficPolicy: Local\n  internalTrafficPolicy: Local") + remote_slices(4);
  yaml += service(5, "sessionAffinity: None");  // no endpoint at all
  return yaml;
}

class NftPackets : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<NetnsLab>();
    lab_->add("pod", 1);
    lab_->add("local", 2);
    lab_->add("remote", 3);
    lab_->add("outside", 9);
    lab_->in("node", [] {
      // Every refused datagram counts here, not one in a second.
      shell("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
      shell("ip route add default via 10.9.0.2 && ip -6 route add default via fd00:9::2");
    });
    lab_->in("local", [&] { local_ = std::make_unique<Responder>("local", 8080); });
    lab_->in("remote", [&] { remote_ = std::make_unique<Responder>("remote", 8080); });
    api::SnapshotBuilder builder;
    const auto put = put_yaml(builder, objects());
    ASSERT_TRUE(put) << put.error().message;
    table_ = compile(*builder.take().snapshot, *parse_node(node_yaml));
  }

  // A driver in the node's namespace, as a run of the agent would have.
  void apply(const ServiceTable& table) {
    lab_->in("node", [&] {
      driver_ = make_nftables_driver({}, Log(sink_), registry_);
      ASSERT_TRUE(driver_->start());
      const ApplyReport report = driver_->apply(table, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }

  // What may be seen: "local", "remote (masquerade)", "refused", "timeout".
  static std::set<std::string> expected(const FlowResult& result) {
    if (result.outcome == FlowOutcome::reject) return {"refused"};
    if (result.outcome == FlowOutcome::drop) return {"timeout"};
    std::set<std::string> out;
    for (const FlowCandidate& candidate : result.candidates) {
      const std::string ip = candidate.backend.ip.to_string();
      const bool local = ip == "10.2.0.2" || ip == "fd00:2::2";
      out.insert(cat(local ? "local" : "remote", candidate.masquerade ? " (masquerade)" : ""));
    }
    return out;
  }

  static std::string seen(const Ip& source, const SocketAddress& to, Protocol protocol,
                          bool expect_answer) {
    const std::string answer = ask(source, to, protocol, expect_answer ? 3000 : 200);
    const size_t space = answer.find(' ');
    if (answer == refused_locally) return expect_answer ? "refused" : "timeout";
    if (space == answer.npos || answer.starts_with("error")) return answer;
    const bool kept = answer.substr(space + 1) == source.to_string();
    return answer.substr(0, space) + (kept ? "" : " (masquerade)");
  }

  // Tries until everything expected was seen; anything else is a failure.
  void check_flow(const ServiceTable& table, const std::string& from, const Ip& source,
                  const SocketAddress& to, Protocol protocol) {
    const auto want = expected(resolve(table, source, to.ip, to.port, protocol));
    const bool answer = !want.contains("timeout");
    std::set<std::string> got;
    lab_->in(from, [&] {
      for (int i = 0; i < 60 && (got != want || i < 3) && (answer || i < 1); ++i) {
        const std::string one = seen(source, to, protocol, answer);
        got.insert(one);
        if (!want.contains(one)) break;
      }
    });
    EXPECT_EQ(got, want) << source.to_string() << " -> " << to.to_string() << "/"
                         << to_string(protocol);
  }

  void check_matrix(const ServiceTable& table) {
    struct Source {
      std::string name, v4, v6;
    };
    const Source sources[] = {{"pod", "10.1.0.2", "fd00:1::2"},
                              {"local", "10.2.0.2", "fd00:2::2"},  // an endpoint: hairpin
                              {"node", "10.9.0.1", "fd00:9::1"},
                              {"outside", "10.9.0.2", "fd00:9::2"}};
    for (const Source& source : sources) {
      for (const bool ipv6 : {false, true}) {
        for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
          for (uint16_t number = 1; number <= 5; ++number) {
            const Ip from = *Ip::parse(ipv6 ? source.v6 : source.v4);
            const std::string cluster_ip = cat(ipv6 ? "fd96::" : "10.96.0.", number);
            const std::string external_ip = cat(ipv6 ? "2001:db8::" : "203.0.113.", number);
            const Ip node = *Ip::parse(ipv6 ? "fd00:9::1" : "10.9.0.1");
            const uint16_t node_port = static_cast<uint16_t>(30080 + number);
            check_flow(table, source.name, from, {*Ip::parse(cluster_ip), 80}, protocol);
            check_flow(table, source.name, from, {*Ip::parse(external_ip), 80}, protocol);
            check_flow(table, source.name, from, {node, node_port}, protocol);
          }
        }
      }
    }
  }

  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<NetnsLab> lab_;
  std::unique_ptr<Responder> local_, remote_;
  std::unique_ptr<Driver> driver_;
  ServiceTable table_;
};

TEST_F(NftPackets, EveryPolicyProtocolFamilyAndSourceIsAsResolved) {
  apply(table_);
  check_matrix(table_);
}

TEST_F(NftPackets, ANodeThatKnowsNoLocalPodsIsAsResolved) {
  table_.node.local_pod_cidrs.clear();
  apply(table_);
  check_matrix(table_);
}

TEST_F(NftPackets, OtherTrafficPasses) {
  apply(table_);
  lab_->in("pod", [] {
    EXPECT_EQ(ask({}, {*Ip::parse("10.3.0.2"), 8080}, Protocol::tcp, 3000), "remote 10.1.0.2");
    EXPECT_EQ(ask({}, {*Ip::parse("fd00:2::2"), 8080}, Protocol::udp, 3000), "local fd00:1::2");
    EXPECT_EQ(ask({}, {*Ip::parse("10.9.0.1"), 8080}, Protocol::tcp, 3000), "refused");
  });
}

TEST_F(NftPackets, OpenConnectionsOutliveEveryKindOfChange) {
  apply(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  lab_->in("pod", [&] {
    Conversation talk(cluster_ip);
    ASSERT_EQ(talk.greeting(), "local 10.1.0.2");
    ServiceTable next = table_;
    // The endpoint leaves: new connections see it, this one does not.
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    lab_->in("node", [&] { driver_->apply(next, {{"default", "s3"}}, false); });
    EXPECT_EQ(ask({}, cluster_ip, Protocol::tcp, 200), "timeout");
    EXPECT_EQ(talk.say("one"), "one");
    // A new run with other settings replaces the table.
    next.node.local_pod_cidrs.clear();
    apply(next);
    EXPECT_EQ(talk.say("two"), "two");
  });
}

TEST_F(NftPackets, NoNewConnectionFailsWhileTheTableChanges) {
  apply(table_);
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::string bad;
  std::thread client([&] {
    lab_->in("pod", [&] {
      while (!stop) {
        const std::string answer = ask({}, {*Ip::parse("10.96.0.1"), 80}, Protocol::tcp, 3000);
        if (answer.starts_with("local") || answer.starts_with("remote")) {
          ++good;
        } else {
          bad = answer;
        }
      }
    });
  });
  ServiceTable other = table_;
  auto& backends = other.services.at({"default", "s1"}).ports[0].backends;
  backends.erase(backends.begin());
  for (int i = 0; i < 60; ++i) {
    const ServiceTable& next = i % 2 == 0 ? other : table_;
    lab_->in("node", [&] {
      if (i % 20 == 19) {  // a whole new table, in one transaction
        ServiceTable renamed = next;
        renamed.node.local_pod_cidrs.push_back(*Cidr::parse(cat("10.77.", i, ".0/24")));
        ASSERT_TRUE(driver_->apply(renamed, {}, true).ok());
      }
      ASSERT_TRUE(driver_->apply(next, {{"default", "s1"}}, false).ok());
    });
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_GT(good, 20);
}

}  // namespace
}  // namespace fairlead::dataplane

// The lab of the traffic policies: a node, pods and clients around it, Services of every policy,
// and a look at what really happens to a packet against what resolve() says. For the tests of every
// mode that works on packets.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/text.h"
#include "dataplane/capability.h"
#include "dataplane/compile.h"
#include "dataplane/flow.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/netns_lab.h"
#include "tests/dataplane/packet_peers.h"

namespace fairlead::dataplane {
namespace flow_lab {

// The node serves NodePorts on 10.9.0.1. Around it: a client pod, a local and a remote backend, and
// a client outside, which is also the node's default route.
inline constexpr std::string_view node_yaml = R"(
name: node-a
ips: [10.9.0.1, "fd00:9::1"]
pods: [10.1.0.0/24, 10.2.0.0/24, "fd00:1::/64", "fd00:2::/64"]
)";

// The node's own datagrams are refused and dropped before they leave: EPERM says both.
inline constexpr std::string_view refused_locally = "error: Operation not permitted";
inline constexpr std::string_view reset_later = "error: Connection reset by peer";

inline std::string service(int number, std::string_view more) {
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

inline std::string slice(int number, std::string_view address, std::string_view node) {
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

inline std::string local_slices(int number) {
  return slice(number, "10.2.0.2", "node-a") + slice(number, "fd00:2::2", "node-a");
}
inline std::string remote_slices(int number) {
  return slice(number, "10.3.0.2", "node-b") + slice(number, "fd00:3::2", "node-b");
}

inline std::string objects() {
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

// The same frontends with a load balancer's 198.51.100.N in the place of the external IP.
inline std::string load_balancer(int number, std::string_view more) {
  std::string yaml = service(number, more);
  const size_t type = yaml.find("type: NodePort"), external = yaml.find("  externalIPs");
  yaml.erase(external, yaml.find('\n', external) + 1 - external);
  yaml.replace(type, 14, "type: LoadBalancer");
  return cat(yaml, "status: {loadBalancer: {ingress: [{ip: 198.51.100.", number,
             "}, {ip: \"2001:db8:1::", number, "\"}]}}\n");
}

// Load balancers with source ranges, 6 to 8: of every policy, and without endpoints.
inline std::string guarded() {
  constexpr std::string_view ranges =
      "loadBalancerSourceRanges: [10.1.0.0/16, 10.1.0.0/24, 10.9.0.1/32, \"fd00:1::/64\", "
      "\"fd00:9::1/128\"]";
  constexpr std::string_view others = "loadBalancerSourceRanges: [10.9.0.0/24, \"fd00:9::/64\"]";
  return cat(load_balancer(6, ranges), local_slices(6), remote_slices(6),
             load_balancer(7, cat(others, "\n  externalTrafficPolicy: Local")), local_slices(7),
             remote_slices(7), load_balancer(8, ranges));
}

}  // namespace flow_lab

// REQUIRES: namespaces can be used (SKIP_WITHOUT_NAMESPACES).
class FlowLab {
 public:
  // Of a mode that is named, the differences are expected which its rows of the capability table
  // declare; of any other, none.
  explicit FlowLab(std::optional<Mode> mode = {}) : mode_(mode) {
    lab_.add("pod", 1);
    lab_.add("local", 2);
    lab_.add("remote", 3);
    lab_.add("outside", 9);
    lab_.in("node", [] {
      answer_every_packet();
      shell("ip route add default via 10.9.0.2 && ip -6 route add default via fd00:9::2");
    });
    const auto respond = [&](const std::string& name, std::string_view v4, std::string_view v6) {
      std::unique_ptr<Responder> out;
      const std::vector<Ip> addresses = {*Ip::parse(v4), *Ip::parse(v6)};
      lab_.in(name, [&] { out = std::make_unique<Responder>(name, 8080, addresses); });
      return out;
    };
    local_ = respond("local", "10.2.0.2", "fd00:2::2");
    remote_ = respond("remote", "10.3.0.2", "fd00:3::2");
  }

  // In the thread's namespace: every refused datagram counts, not one in a second, and the answers
  // of all namespaces of the machine are not counted together (the masks). 127 is nobody's type.
  static void answer_every_packet() {
    shell("sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    shell("sysctl -qw net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratemask=127");
  }

  NetnsLab& net() { return lab_; }

  // flow_lab::objects() and `more`, on the lab's node.
  static ServiceTable table(std::string_view more = {},
                            NodeConfig node = *parse_node(flow_lab::node_yaml)) {
    api::SnapshotBuilder builder;
    const auto put = put_yaml(builder, cat(flow_lab::objects(), more));
    EXPECT_TRUE(put) << put.error().message;
    return compile(*builder.take().snapshot, std::move(node));
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

  // Of this flow, with the declared differences of this mode.
  std::set<std::string> expected(const ServiceTable& table, const Ip& source,
                                 const FlowResult& result, Protocol protocol) const {
    const bool tcp = protocol == Protocol::tcp;
    if (result.outcome == FlowOutcome::drop && tcp && lacks(Capability::silent_drop)) {
      return {"refused"};
    }
    FlowResult here = result;
    for (FlowCandidate& candidate : here.candidates) {
      candidate.masquerade |= lacks(Capability::source_address);
    }
    const auto is_local = [](const FlowCandidate& one) { return one.backend.local; };
    const bool by_source = result.frontend.local_only &&
                           result.frontend.kind != FrontendKind::cluster_ip &&
                           classify_source(table.node, source) != SourceClass::outside;
    if (by_source && lacks(Capability::policy_by_source) &&
        std::any_of(here.candidates.begin(), here.candidates.end(), is_local)) {
      std::erase_if(here.candidates, std::not_fn(is_local));
    }
    return expected(here);
  }

  static std::string seen(const Ip& source, const SocketAddress& to, Protocol protocol,
                          bool expect_answer) {
    // As long as what begins a connection is sent twice: by TCP after 1 s, by SCTP after 3.
    const int patience_ms = protocol == Protocol::sctp ? 8000 : 3000;
    const std::string answer = ask(source, to, protocol, expect_answer ? patience_ms : 200);
    const size_t space = answer.find(' ');
    if (answer == flow_lab::refused_locally) return expect_answer ? "refused" : "timeout";
    if (space == answer.npos || answer.starts_with("error")) return answer;
    const bool kept = answer.substr(space + 1) == source.to_string();
    return answer.substr(0, space) + (kept ? "" : " (masquerade)");
  }

  // Tries until everything expected was seen; anything else is a failure.
  void check_flow(const ServiceTable& table, const std::string& from, const Ip& source,
                  const SocketAddress& to, Protocol protocol) {
    const FlowResult result = resolve(table, source, to.ip, to.port, protocol);
    const auto want = expected(table, source, result, protocol);
    const bool may_be_reset = result.outcome == FlowOutcome::drop && lacks(Capability::silent_drop);
    const bool answer = !want.contains("timeout");
    std::set<std::string> got;
    lab_.in(from, [&] {
      for (int i = 0; i < 60 && (got != want || i < 3) && (answer || i < 1); ++i) {
        std::string one = seen(source, to, protocol, answer);
        if (may_be_reset && one == flow_lab::reset_later) one = "refused";
        got.insert(one);
        if (!want.contains(one)) break;
      }
    });
    EXPECT_EQ(got, want) << source.to_string() << " -> " << to.to_string() << "/"
                         << to_string(protocol);
  }

  // Every kind of source, in both families and protocols: visit(namespace, address, protocol).
  template <class Visit>
  static void for_each_source(Visit visit) {
    const std::pair<std::string, std::pair<std::string, std::string>> sources[] = {
        {"pod", {"10.1.0.2", "fd00:1::2"}},
        {"local", {"10.2.0.2", "fd00:2::2"}},  // an endpoint: hairpin
        {"node", {"10.9.0.1", "fd00:9::1"}},
        {"outside", {"10.9.0.2", "fd00:9::2"}}};
    for (const auto& [name, addresses] : sources) {
      for (const std::string& address : {addresses.first, addresses.second}) {
        for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
          visit(name, *Ip::parse(address), protocol);
        }
      }
    }
  }

  void check_matrix(const ServiceTable& table) {
    for_each_source([&](const std::string& name, const Ip& from, Protocol protocol) {
      const bool ipv6 = !from.is_v4();
      for (uint16_t number = 1; number <= 5; ++number) {
        const Ip cluster_ip = *Ip::parse(cat(ipv6 ? "fd96::" : "10.96.0.", number));
        const Ip external_ip = *Ip::parse(cat(ipv6 ? "2001:db8::" : "203.0.113.", number));
        const Ip node = *Ip::parse(ipv6 ? "fd00:9::1" : "10.9.0.1");
        check_flow(table, name, from, {cluster_ip, 80}, protocol);
        check_flow(table, name, from, {external_ip, 80}, protocol);
        check_flow(table, name, from, {node, static_cast<uint16_t>(30080 + number)}, protocol);
      }
    });
  }

 private:
  bool lacks(Capability capability) const { return mode_ && !can(*mode_, capability); }

  const std::optional<Mode> mode_;
  NetnsLab lab_;
  std::unique_ptr<Responder> local_, remote_;
};

}  // namespace fairlead::dataplane

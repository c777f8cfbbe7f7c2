// What resolve() says of every flow of a table against what a walk through a mode's rules says.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/flow.h"
#include "tests/dataplane/cluster.h"

namespace fairlead::dataplane {

// The first packet of a flow.
struct WalkPacket {
  Ip source, destination;
  uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  bool from_node = false;
};

// "pass", "refused", "dropped", "10.1.0.5:8080", "10.1.0.5:8080 (masquerade)", with the
// probability.
using Fates = std::map<std::string, double>;

inline Fates expected_fates(const FlowResult& result) {
  switch (result.outcome) {
    case FlowOutcome::pass:
      return {{"pass", 1}};
    case FlowOutcome::reject:
      return {{"refused", 1}};
    case FlowOutcome::drop:
      return {{"dropped", 1}};
    case FlowOutcome::forward:
      break;
  }
  Fates out;
  for (const FlowCandidate& one : result.candidates) {
    const std::string to = SocketAddress{one.backend.ip, one.backend.port}.to_string();
    out[cat(to, one.masquerade ? " (masquerade)" : "")] +=
        1 / static_cast<double>(result.candidates.size());
  }
  return out;
}

inline std::string text_of(const Fates& fates) {
  std::string out;
  for (const auto& [fate, probability] : fates) {
    append(out, cat(fate, " ", std::lround(probability * 1000), "/1000; "));
  }
  return out;
}

inline bool same(const Fates& a, const Fates& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& one, const auto& other) {
    return one.first == other.first && std::abs(one.second - other.second) < 1e-6;
  });
}

struct Dialled {
  Ip ip;
  uint16_t port;
  Protocol protocol;
  friend auto operator<=>(const Dialled&, const Dialled&) = default;
};

// Every frontend, the ports beside them, and addresses that nobody has.
inline std::set<Dialled> destinations(const ServiceTable& table, bool ipv6) {
  std::set<Dialled> out;
  std::set<Ip> local(table.node.node_ips.begin(), table.node.node_ips.end());
  if (!ipv6) local.insert(*Ip::parse("127.0.0.1"));
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      if (rule.ipv6 != ipv6) continue;
      for (const Frontend& frontend : rule.frontends) {
        std::set<Ip> ips{frontend.ip};
        if (frontend.kind == FrontendKind::node_port) ips = local;
        for (const Ip& ip : ips) {
          if (ip.is_v4() == ipv6) continue;
          out.insert({ip, frontend.port, rule.protocol});
          out.insert({ip, static_cast<uint16_t>(frontend.port + 7), rule.protocol});
        }
      }
      for (const Backend& one : rule.backends) out.insert({one.ip, one.port, rule.protocol});
    }
  }
  for (const char* ip : {"10.96.255.77", "fd96::ff77", "192.0.2.1"}) {
    const Dialled nobody{*Ip::parse(ip), 80, Protocol::tcp};
    if (nobody.ip.is_v4() != ipv6) out.insert(nobody);
  }
  return out;
}

// The node, a pod of it, a stranger, members of source ranges, and endpoints.
inline std::set<Ip> sources(const ServiceTable& table, bool ipv6) {
  std::set<Ip> all(table.node.node_ips.begin(), table.node.node_ips.end());
  for (const char* ip : {"10.1.0.99", "fd00::a01:99", "198.18.0.9", "fd77::9", "203.0.113.9",
                         "2001:db8:7::1", "192.168.7.7"}) {
    all.insert(*Ip::parse(ip));
  }
  if (!ipv6) all.insert(*Ip::parse("127.0.0.1"));
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      // The first and the last: mostly one here and one elsewhere.
      if (!rule.backends.empty()) all.insert({rule.backends.front().ip, rule.backends.back().ip});
    }
  }
  std::erase_if(all, [&](const Ip& ip) { return ip.is_v4() == ipv6; });
  return all;
}

// All flows of one family; each from localhost and to it only if `localhost`. walk(packet) says the
// fates. The first flow that differs fails the test. Returns their number.
template <class Walk>
size_t check_flows(const ServiceTable& table, bool ipv6, bool localhost, Walk walk) {
  size_t flows = 0;
  const auto froms = sources(table, ipv6);
  for (const auto& [ip, port, protocol] : destinations(table, ipv6)) {
    for (const Ip& from : froms) {
      const bool from_node = classify_source(table.node, from) == SourceClass::node;
      // The kernel gives what goes there that source, and nothing else.
      if (ip.is_loopback() != from.is_loopback() || (ip.is_loopback() && !localhost)) continue;
      const FlowResult result = resolve(table, from, ip, port, protocol);
      const Fates want = expected_fates(result);
      const Fates got = walk(WalkPacket{from, ip, port, protocol, from_node});
      ++flows;
      if (same(got, want)) continue;
      ADD_FAILURE() << from.to_string() << " -> " << SocketAddress{ip, port}.to_string() << "/"
                    << to_string(protocol) << ": " << text_of(got) << "instead of " << text_of(want)
                    << to_text(result);
      return flows;
    }
  }
  return flows;
}

// Each is one fact of the node that changes what happens to packets.
inline const std::pair<const char*, void (*)(NodeConfig&)> node_facts[] = {
    {"as it is", [](NodeConfig&) {}},
    {"no pods", [](NodeConfig& node) { node.local_pod_cidrs.clear(); }},
    {"pods of one family", [](NodeConfig& node) { node.local_pod_cidrs.resize(1); }},
    {"more pods",
     [](NodeConfig& node) { node.local_pod_cidrs.push_back(*Cidr::parse("10.2.0.0/29")); }},
    {"its addresses among the pods'",
     [](NodeConfig& node) { node.local_pod_cidrs.push_back(*Cidr::parse("192.168.0.0/24")); }},
    {"everybody is a pod",
     [](NodeConfig& node) { node.local_pod_cidrs = {*Cidr::parse("0.0.0.0/0")}; }},
    {"everybody of both families is a pod",
     [](NodeConfig& node) {
       node.local_pod_cidrs = {*Cidr::parse("0.0.0.0/0"), *Cidr::parse("::/0")};
     }},
    {"pods that are all the node itself",
     [](NodeConfig& node) {
       node.local_pod_cidrs = {*Cidr::parse("192.168.0.1/32"), *Cidr::parse("fd01::1/128")};
     }},
    {"masquerade all", [](NodeConfig& node) { node.masquerade_all = true; }},
    {"masquerade all, no pods",
     [](NodeConfig& node) {
       node.masquerade_all = true;
       node.local_pod_cidrs.clear();
     }},
    {"service ranges",
     [](NodeConfig& node) {
       node.service_cidrs = {*Cidr::parse("10.96.0.0/16"), *Cidr::parse("fd96::/112")};
     }},
    {"a range without most Services",
     [](NodeConfig& node) { node.service_cidrs = {*Cidr::parse("10.96.255.0/24")}; }},
    {"NodePorts on one address",
     [](NodeConfig& node) { node.node_port_ips = {{Ip::v4(0xc0a80002)}}; }},
    {"NodePorts nowhere", [](NodeConfig& node) { node.node_port_ips.emplace(); }},
    {"not on localhost", [](NodeConfig& node) { node.localhost_node_ports = false; }},
    {"external addresses of its own",
     [](NodeConfig& node) {
       node.node_ips.push_back(*Ip::parse("203.0.113.0"));
       node.node_ips.push_back(*Ip::parse("203.0.113.80"));
       node.node_ips.push_back(*Ip::parse("198.51.100.1"));
       node.node_ips.push_back(*Ip::parse("198.51.100.2"));
     }},
    {"no address", [](NodeConfig& node) { node.node_ips.clear(); }},
};

// Clusters that change, on a node that is another one now and then. apply(table, changed, full)
// makes the rules; check(table) walks through them.
template <class Apply, class Check>
void walk_random_clusters(uint32_t seeds, Apply apply, Check check) {
  for (uint32_t seed = 1; seed <= seeds; ++seed) {
    RandomCluster cluster(seed);
    ServiceTable table;
    table.node = random_node();
    apply(table, {}, true);
    size_t fact = seed;
    for (int step = 0; step < 60; ++step) {
      SCOPED_TRACE(cat("seed ", seed, " step ", step));
      const auto tick = cluster.step();
      apply(table, update(table, *tick.snapshot, tick.changes), false);
      if (step % 15 != 14) continue;
      check(table);
      const auto& [name, change] = node_facts[++fact % std::size(node_facts)];
      SCOPED_TRACE(name);
      const NodeConfig before = table.node;
      change(table.node);
      apply(table, {}, true);
      check(table);
      table.node = before;
      apply(table, {}, true);
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace fairlead::dataplane

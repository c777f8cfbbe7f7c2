// The usable-endpoint rule, one line per case.
//
// Endpoints are written <place><state>: place L (on this node) or R; state
//   R ready, T serving and terminating, N terminating and not serving, U unready (not terminating).
// Each becomes an address of its own in order, 10.0.0.1, 10.0.0.2, ...
#include "api/endpoints.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr std::string_view this_node = "node-a";

Endpoint make_endpoint(std::string_view code, uint32_t number, bool ipv6 = false) {
  Endpoint endpoint;
  Ip ip = Ip::v4(0x0a000000 + number);
  if (ipv6) {
    ip = *Ip::parse("fd00::");
    ip.bytes[15] = static_cast<uint8_t>(number);
  }
  endpoint.addresses = {ip};
  endpoint.node_name = code[0] == 'L' ? this_node : "node-b";
  endpoint.ready = code[1] == 'R';
  endpoint.serving = code[1] == 'R' || code[1] == 'T';
  endpoint.terminating = code[1] == 'T' || code[1] == 'N';
  return endpoint;
}

SliceList one_slice(std::string_view codes) {
  auto slice = std::make_shared<EndpointSlice>();
  slice->address_type = "IPv4";
  slice->ports = {{.name = "http", .port = 8080}};
  uint32_t number = 0;
  for (const std::string_view code : split(codes, ' ')) {
    if (!code.empty()) slice->endpoints.push_back(make_endpoint(code, ++number));
  }
  return {slice};
}

// "1 3" for 10.0.0.1 and 10.0.0.3.
std::string numbers(const std::vector<UsableEndpoint>& endpoints) {
  std::vector<std::string> out;
  for (const UsableEndpoint& e : endpoints) out.push_back(cat(e.ip.to_v4() & 0xff));
  return join(out, " ");
}

TEST(UsableEndpoints, FollowReadinessAndTheTerminatingFallback) {
  struct Case {
    std::string_view endpoints;
    std::string_view cluster, local;
    bool any, fallback;
  };
  const Case cases[] = {
      // Ready ones only.
      {"", "", "", false, false},
      {"LR", "1", "1", true, false},
      {"RR", "1", "", true, false},
      {"LR RR LU RU", "1 2", "1", true, false},
      {"LU RU", "", "", false, false},
      // Terminating matrix: LR x2, LT, LN, RR.
      {"LR LR LT LN RR", "1 2 5", "1 2", true, false},
      // LT x2, LN, RR: the cluster set stays ready, the local set falls back on its own.
      {"LT LT LN RR", "4", "1 2", true, false},
      // LT x2, LN, RT: both fall back, independently.
      {"LT LT LN RT", "1 2 4", "1 2", true, true},
      // RT only: nothing local, but there is something somewhere (DROP, not REJECT).
      {"RT", "1", "", true, true},
      // LN + RN only: nothing at all.
      {"LN RN", "", "", false, false},
      // One ready endpoint anywhere ends the cluster fallback.
      {"RT RT LR", "3", "3", true, false},
      {"LT RU", "1", "1", true, true},
      // Unready endpoints neither serve nor stop the fallback.
      {"LU LT RU RT", "2 4", "2", true, true},
  };
  for (const Case& c : cases) {
    const SliceList slices = one_slice(c.endpoints);
    const UsableSet set = usable_endpoints(slices, "http", Protocol::tcp, false, {this_node, {}});
    EXPECT_EQ(numbers(set.cluster), c.cluster) << c.endpoints;
    EXPECT_EQ(numbers(set.local), c.local) << c.endpoints;
    EXPECT_EQ(set.any, c.any) << c.endpoints;
    EXPECT_EQ(set.terminating_fallback, c.fallback) << c.endpoints;
  }
}

TEST(UsableEndpoints, ReadyCountsEvenWhileTerminating) {
  // publishNotReadyAddresses makes terminating endpoints ready.
  auto slice = std::make_shared<EndpointSlice>(*one_slice("LR")[0]);
  slice->endpoints[0].terminating = true;
  const SliceList slices{slice};
  EXPECT_EQ(numbers(usable_endpoints(slices, "http", Protocol::tcp, false, {}).cluster), "1");
}

TEST(UsableEndpoints, MatchPortNameProtocolAndFamily) {
  auto v4 = std::make_shared<EndpointSlice>();
  v4->address_type = "IPv4";
  v4->ports = {{.name = "dns", .protocol = Protocol::udp, .port = 5353},
               {.name = "dns-tcp", .protocol = Protocol::tcp, .port = 5354},
               {.name = "", .protocol = Protocol::tcp, .port = 80},
               {.name = "all", .protocol = Protocol::tcp, .port = std::nullopt}};
  v4->endpoints = {make_endpoint("LR", 1)};
  auto v6 = std::make_shared<EndpointSlice>(*v4);
  v6->address_type = "IPv6";
  v6->endpoints = {make_endpoint("RR", 1, true)};
  auto fqdn = std::make_shared<EndpointSlice>(*v4);
  fqdn->address_type = "FQDN";
  const SliceList slices{v4, v6, fqdn};

  struct Case {
    std::string_view port;
    Protocol protocol;
    bool ipv6;
    std::string_view expected;
  };
  const Case cases[] = {
      {"dns", Protocol::udp, false, "10.0.0.1:5353"},
      {"dns", Protocol::tcp, false, ""},
      {"dns-tcp", Protocol::tcp, false, "10.0.0.1:5354"},
      {"", Protocol::tcp, false, "10.0.0.1:80"},
      {"all", Protocol::tcp, false, ""},
      {"http", Protocol::tcp, false, ""},
      {"dns", Protocol::udp, true, "[fd00::1]:5353"},
  };
  for (const Case& c : cases) {
    const UsableSet set = usable_endpoints(slices, c.port, c.protocol, c.ipv6, {this_node, {}});
    std::string got;
    for (const auto& e : set.cluster) got += SocketAddress{e.ip, e.port}.to_string();
    EXPECT_EQ(got, c.expected) << c.port;
  }
}

TEST(UsableEndpoints, MergeSlicesOrderedAndWithoutDuplicates) {
  auto first = std::make_shared<EndpointSlice>(*one_slice("RR RR RR")[0]);
  std::reverse(first->endpoints.begin(), first->endpoints.end());
  // While an endpoint moves between slices it stands in both: here as local, and as terminating.
  auto second = std::make_shared<EndpointSlice>(*one_slice("RT LR RR RR")[0]);
  const SliceList slices{first, second};
  const UsableSet set = usable_endpoints(slices, "http", Protocol::tcp, false, {this_node, {}});
  EXPECT_EQ(numbers(set.cluster), "1 2 3 4");
  EXPECT_EQ(numbers(set.local), "2");
  EXPECT_FALSE(set.cluster[0].local);
  EXPECT_TRUE(set.cluster[1].local);
  EXPECT_EQ(set.cluster[1].endpoint, &second->endpoints[1]);
}

TEST(UsableEndpoints, KeepTheSlicesOwnPortNumbers) {
  // A named target port may be another number in each pod, hence one slice per number.
  auto other = std::make_shared<EndpointSlice>(*one_slice("RR RR")[0]);
  other->ports[0].port = 9090;
  other->endpoints.erase(other->endpoints.begin());
  SliceList slices = one_slice("RR");
  slices.push_back(other);
  const UsableSet set = usable_endpoints(slices, "http", Protocol::tcp, false, {this_node, {}});
  ASSERT_EQ(set.cluster.size(), 2u);
  EXPECT_EQ(set.cluster[0].port, 8080);
  EXPECT_EQ(set.cluster[1].port, 9090);
}

TEST(UsableEndpoints, NothingIsLocalWithoutANodeName) {
  auto slice = std::make_shared<EndpointSlice>(*one_slice("LR")[0]);
  slice->endpoints[0].node_name = {};
  const SliceList slices{slice};
  EXPECT_TRUE(usable_endpoints(slices, "http", Protocol::tcp, false, {}).local.empty());
}

// Endpoints as "<place><state>[@zone+zone][#node]": hints by zone and by node.
SliceList hinted_slice(std::string_view codes) {
  auto slice = std::make_shared<EndpointSlice>(*one_slice("")[0]);
  uint32_t number = 0;
  for (const std::string_view code : split(codes, ' ')) {
    Endpoint& endpoint = slice->endpoints.emplace_back(make_endpoint(code, ++number));
    const size_t zones = code.find('@'), node = code.find('#');
    if (zones != code.npos) {
      for (const std::string_view zone : split(code.substr(zones + 1, node - zones - 1), '+')) {
        endpoint.hint_zones.push_back(zone);
      }
    }
    if (node != code.npos) endpoint.hint_nodes.push_back(code.substr(node + 1));
  }
  return {slice};
}

TEST(UsableEndpoints, HintsNarrowTheClusterSetOnlyWhenEveryReadyOneHasThem) {
  struct Case {
    std::string_view endpoints, zone;
    std::string_view cluster, local;
    Topology topology;
  };
  const Case cases[] = {
      {"LR@a RR@b", "a", "1", "1", Topology::same_zone},
      {"LR@a RR@b RR@a+b", "b", "2 3", "1", Topology::same_zone},
      {"LR@a RR", "a", "1 2", "1", Topology::everywhere},
      {"LR@a RR@b", "c", "1 2", "1", Topology::everywhere},
      {"LR@a RR@b", "", "1 2", "1", Topology::everywhere},
      // Unready ones and those that terminate are not asked for hints, nor trusted with them.
      {"LR@a RR@b RU RT", "a", "1", "1", Topology::same_zone},
      {"LR@b RU@a", "a", "1", "1", Topology::everywhere},
      // Nobody ready: the fallback takes all, hints or not.
      {"LT@a RT@b", "a", "1 2", "1", Topology::everywhere},
      // Node hints go before zone hints, and fall back to them.
      {"LR@a#node-a RR@a#node-b", "a", "1", "1", Topology::same_node},
      {"RR@a#node-b RR@b#node-c", "a", "1", "", Topology::same_zone},
      {"RR@b#node-b RR@b#node-c", "a", "1 2", "", Topology::everywhere},
  };
  for (const Case& c : cases) {
    const SliceList slices = hinted_slice(c.endpoints);
    const UsableSet set =
        usable_endpoints(slices, "http", Protocol::tcp, false, {this_node, c.zone});
    EXPECT_EQ(numbers(set.cluster), c.cluster) << c.endpoints << " from zone " << c.zone;
    EXPECT_EQ(numbers(set.local), c.local) << c.endpoints << " from zone " << c.zone;
    EXPECT_EQ(set.topology, c.topology) << c.endpoints << " from zone " << c.zone;
    EXPECT_TRUE(set.any);
  }
}

TEST(UsableEndpoints, UseTheFirstAddress) {
  auto slice = std::make_shared<EndpointSlice>(*one_slice("LR")[0]);
  slice->endpoints[0].addresses.push_back(Ip::v4(0x0a000063));
  const SliceList slices{slice};
  EXPECT_EQ(numbers(usable_endpoints(slices, "http", Protocol::tcp, false, {}).cluster), "1");
}

}  // namespace
}  // namespace fairlead::api

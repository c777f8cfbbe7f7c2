// Maglev in eBPF mode: the tables, the hash, and whom real flows reach.
#include <netinet/in.h>

#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/verify.h"
#include "dataplane/maglev.h"
#include "tests/dataplane/ebpf/pods_lab.h"
#include "tests/dataplane/ebpf/sync_lab.h"

namespace fairlead::dataplane::test {
namespace {

using ebpf::FakeMaps;
using ebpf::MapId;
using ebpf::ServiceSync;

TEST(MaglevSync, ListsThatAreHashedHaveATable) {
  FakeMaps maps;
  ServiceSync sync(maps);
  const ServiceTable table = table_of(R"(
a/hash TCP 10.0.0.1:80,node:30000! -> 1.0.0.1:1*,1.0.0.2:1*,1.0.0.3:1 maglev
a/none TCP 10.0.0.2:80 -> drop maglev
a/random TCP 10.0.0.3:80 -> 1.0.0.1:1
)");
  ASSERT_TRUE(sync.apply(table, {}, true).ok());
  EXPECT_EQ(ebpf::dump(maps, sync), R"(mode ebpf
address 10.0.0.1 cluster-ip
address 10.0.0.2 cluster-ip
address 10.0.0.3 cluster-ip
frontend 10.0.0.1:80/TCP a/hash:p maglev
  backend 1.0.0.1:1 local places 671
  backend 1.0.0.2:1 local places 670
  backend 1.0.0.3:1 places 670
frontend 10.0.0.2:80/TCP a/none:p maglev drop
frontend 10.0.0.3:80/TCP a/random:p
  backend 1.0.0.1:1
frontend node-port 30000/TCP IPv4 a/hash:p local-only maglev
  backend 1.0.0.1:1 local places 671
  backend 1.0.0.2:1 local places 670
  backend 1.0.0.3:1 places 670
  for-local 1.0.0.1:1 local places 1006
  for-local 1.0.0.2:1 local places 1005
)");
  EXPECT_EQ(maps.size(MapId::maglev), 2u) << "the cluster set's and the local set's";
}

TEST(MaglevSync, WritesInProportionToTheChange) {
  struct Case {
    const char* name;
    const char* before;
    const char* after;
    size_t writes;
  };
  const Case cases[] = {
      {"nothing", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1 maglev",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.2:1,1.0.0.1:1 maglev", 0},
      {"one more: member, slot, table, flip", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1 maglev", 4},
      {"a frontend more", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev",
       "a/a TCP 10.0.0.1:80,node:30000 -> 1.0.0.1:1 maglev", 1},
      {"by hash from now on: table, flip", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev", 2},
      {"at random from now on: flip, table", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", 2},
      {"the last backend goes: flip, slot, member, table",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev", "a/a TCP 10.0.0.1:80 -> drop maglev", 4},
      {"the service goes: frontend, slot, member, table, address",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev", "", 5},
  };
  for (const Case& c : cases) {
    FakeMaps maps;
    ServiceSync sync(maps);
    const ServiceTable before = table_of(c.before), after = table_of(c.after);
    sync.apply(before, {}, true);
    EXPECT_EQ(sync.apply(after, ebpf::differences(before, after), false).writes, c.writes)
        << c.name;
    const bool hashed = ebpf::dump(maps, sync).find("places") != std::string::npos;
    EXPECT_EQ(maps.size(MapId::maglev), hashed ? 1u : 0u) << c.name;
  }
}

TEST(MaglevSync, AFullMapMeansARandomChoice) {
  FakeMaps maps;
  maps.set_capacity(MapId::maglev, 1);
  ServiceSync sync(maps);
  ServiceTable table = table_of(R"(
a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1 maglev
b/b TCP 10.0.0.2:80 -> 1.0.0.1:1,1.0.0.2:1 maglev
)");
  const ApplyReport report = sync.apply(table, {}, true);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0],
            "b/b:p: the maglev map is full (1 entries, --max-maglev); backends are chosen at "
            "random");
  EXPECT_NE(ebpf::dump(maps, sync).find("b/b:p maglev\n  backend 1.0.0.1:1\n  backend 1.0.0.2:1"),
            std::string::npos);

  table.services.at({"b", "b"}).ports[0].backends.pop_back();
  EXPECT_FALSE(sync.apply(table, {{"b", "b"}}, false).ok());
  EXPECT_EQ(maps.size(MapId::members), 3u) << "a backend that is gone is no member meanwhile";
  table.services.erase({"a", "a"});
  EXPECT_TRUE(sync.apply(table, {{"a", "a"}}, false).ok()) << "its table makes room";
  EXPECT_NE(ebpf::dump(maps, sync).find("backend 1.0.0.1:1 places 2011"), std::string::npos);
}

TEST(MaglevSync, MoreBackendsThanPlacesAreChosenAtRandom) {
  FakeMaps maps;
  ServiceSync sync(maps);
  ServiceTable table = table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 maglev");
  auto& backends = table.services.at({"a", "a"}).ports[0].backends;
  while (backends.size() < FL_MAGLEV_SIZE) {
    backends.push_back({Ip::v4(0x01000001 + static_cast<uint32_t>(backends.size())), 1});
  }
  EXPECT_TRUE(sync.apply(table, {{"a", "a"}}, false).ok());
  EXPECT_EQ(maps.size(MapId::maglev), 1u);
  backends.push_back({Ip::v4(0x02000000), 1});
  EXPECT_TRUE(sync.apply(table, {{"a", "a"}}, false).ok());
  EXPECT_EQ(maps.size(MapId::maglev), 0u);
}

TEST(MaglevSync, TablesAreReadBackAndRepaired) {
  FakeMaps maps;
  ServiceSync sync(maps);
  ebpf::NodeSync node(maps, sync.addresses(), {});
  ASSERT_TRUE(
      sync.apply(table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1 maglev"), {}, true).ok());
  const uint32_t list = *sync.ids_of({"a", "a"}).begin();
  const std::vector<uint32_t> keys = {list, 77};
  std::vector<fl_maglev> values(2);
  values[0] = *maps.find<fl_maglev>(MapId::maglev, list);
  values[0].slot[5] ^= 1;
  maps.update(MapId::maglev, ebpf::bytes_of(keys), ebpf::bytes_of(values));
  const auto drifts = ebpf::verify_maps(maps, sync, node, true);
  ASSERT_TRUE(drifts);
  ASSERT_EQ(drifts->size(), 2u);
  EXPECT_EQ((*drifts)[0].what, cat("table of list ", list, " has another value"));
  EXPECT_EQ((*drifts)[1].what, "table of list 77 is not ours");
  EXPECT_EQ(ebpf::verify_maps(maps, sync, node, true)->size(), 0u);
}

TEST(MaglevSync, EntriesForPeopleSayTheShares) {
  FakeMaps maps;
  ServiceSync sync(maps);
  sync.apply(table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1 maglev"), {}, true);
  const std::vector<std::string> expected = {
      "frontends: 10.0.0.1:80/TCP -> service 1, slots 2, by hash",
      "backends: list 1 slot 0 -> 1.0.0.1:1",
      "backends: list 1 slot 1 -> 1.0.0.2:1",
      "maglev: list 1 slot 0 -> 1006 of 2011 places",
      "maglev: list 1 slot 1 -> 1005 of 2011 places",
  };
  EXPECT_EQ(ebpf::entry_lines(maps, sync.ids_of({"a", "a"})), expected);
}

// --- the hash ---

fl_frontend_key key_of(const char* ip, uint16_t port, Protocol protocol = Protocol::tcp) {
  return ebpf::to_map(Frontend{FrontendKind::cluster_ip, *Ip::parse(ip), port}, protocol);
}

uint64_t hash_of(const char* client, uint16_t port, const fl_frontend_key& dialled) {
  const fl_ip ip = ebpf::to_map(*Ip::parse(client));
  return fl_flow_hash(&ip, htons(port), &dialled);
}

TEST(FlowHash, IsAContractBetweenNodes) {
  EXPECT_EQ(hash_of("192.0.2.1", 40000, key_of("203.0.113.1", 80)), 0xf7fd6e3a2a8d9f26u);
  EXPECT_EQ(hash_of("2001:db8::1", 40000, key_of("2001:db8::2", 443, Protocol::udp)),
            0x637849c674fc67e9u);
}

TEST(FlowHash, EveryPartOfTheFlowCounts) {
  const uint64_t hash = hash_of("192.0.2.1", 40000, key_of("203.0.113.1", 80));
  const uint64_t others[] = {
      hash_of("192.0.2.2", 40000, key_of("203.0.113.1", 80)),
      hash_of("192.0.2.1", 40001, key_of("203.0.113.1", 80)),
      hash_of("192.0.2.1", 40000, key_of("203.0.113.2", 80)),
      hash_of("192.0.2.1", 40000, key_of("203.0.113.1", 81)),
      hash_of("192.0.2.1", 40000, key_of("203.0.113.1", 80, Protocol::udp)),
  };
  for (const uint64_t other : others) {
    EXPECT_NE(fl_maglev_place(hash), fl_maglev_place(other));
  }
}

// Flows as clients make them: addresses and ports that follow each other.
TEST(FlowHash, SpreadsLikelyFlowsEvenly) {
  constexpr uint32_t buckets = 16, flows = 64000;
  struct Case {
    const char* name;
    bool by_port, ipv6;
  };
  for (const Case& c : {Case{"ports of one client", true, false},
                        {"clients of one port", false, false},
                        {"ports, IPv6", true, true},
                        {"clients, IPv6", false, true}}) {
    std::vector<uint32_t> share(buckets);
    const fl_frontend_key dialled = key_of(c.ipv6 ? "fd00::1" : "203.0.113.1", 443);
    fl_ip client = ebpf::to_map(*Ip::parse(c.ipv6 ? "2001:db8::" : "10.0.0.0"));
    for (uint32_t i = 0; i < flows; ++i) {
      if (!c.by_port) client.word[3] = htonl(0x0a000000 + i);
      const auto port = static_cast<uint16_t>(c.by_port ? 1024 + i : 40000);
      const uint32_t place = fl_maglev_place(fl_flow_hash(&client, htons(port), &dialled));
      ASSERT_LT(place, uint32_t{FL_MAGLEV_SIZE});
      ++share[place % buckets];
    }
    for (const uint32_t count : share) {
      EXPECT_NEAR(count, flows / buckets, flows / buckets / 10) << c.name;
    }
  }
}

// --- in the kernel ---

class MaglevTest : public PodsTest {
 protected:
  // Who of x (8001), y (8002) and z (8003) has the flow, out of those that are there.
  static std::string owner(const char* client, uint16_t port, const Frontend& frontend,
                           Protocol protocol, uint16_t last_server) {
    std::vector<SocketAddress> backends;
    for (uint16_t server = 8001; server <= last_server; ++server) {
      backends.push_back({*Ip::parse("10.1.1.2"), server});
    }
    const fl_frontend_key dialled = ebpf::to_map(frontend, protocol);
    const fl_ip ip = ebpf::to_map(*Ip::parse(client));
    const uint32_t place = fl_maglev_place(fl_flow_hash(&ip, htons(port), &dialled));
    const char* names[] = {"x", "y", "z"};
    return names[maglev_table(backends, FL_MAGLEV_SIZE)[place]];
  }
  static std::string server_in(const std::string& seen) { return seen.substr(0, seen.find(' ')); }
};

const Frontend cluster_ip{FrontendKind::cluster_ip, Ip::v4(0x0a600001), 80};
const Frontend node_port{FrontendKind::node_port, Ip::v4(0), 30080};
constexpr const char* two = "10.1.1.2:8001,10.1.1.2:8002";
constexpr const char* three = "10.1.1.2:8001,10.1.1.2:8002,10.1.1.2:8003";

TEST_F(MaglevTest, PacketsReachTheBackendOfTheirHash) {
  add_server("z", 8003);
  apply(cat("a/t TCP 10.96.0.1:80,node:30080 -> ", three, " maglev"));
  Dial dial = {.ip = "192.0.2.1", .port = 30080};
  for (dial.source_port = 20000; dial.source_port < 20012; ++dial.source_port) {
    EXPECT_EQ(server_in(packets("client", dial)),
              owner("192.0.2.9", dial.source_port, node_port, Protocol::tcp, 8003));
  }
  start();  // another agent, and one backend less
  apply(cat("a/t TCP 10.96.0.1:80,node:30080 -> ", two, " maglev"));
  for (dial.source_port = 21000; dial.source_port < 21012; ++dial.source_port) {
    EXPECT_EQ(server_in(packets("client", dial)),
              owner("192.0.2.9", dial.source_port, node_port, Protocol::tcp, 8002));
  }
  dial = {.ip = "10.96.0.1", .port = 80};
  for (dial.source_port = 22000; dial.source_port < 22012; ++dial.source_port) {
    EXPECT_EQ(server_in(packets("b", dial)),
              owner("10.1.2.2", dial.source_port, cluster_ip, Protocol::tcp, 8002));
  }
}

TEST_F(MaglevTest, SocketsWithAPortReachTheBackendOfTheirHash) {
  apply(cat("a/u UDP 10.96.0.1:80,node:30080 -> ", two, " maglev"));
  for (const bool connected : {true, false}) {
    Dial dial = {"10.96.0.1", 80, Protocol::udp, connected};
    for (dial.source_port = 20000; dial.source_port < 20012; ++dial.source_port) {
      const std::string wanted = owner("::", dial.source_port, cluster_ip, Protocol::udp, 8002);
      EXPECT_EQ(server_in(sockets("node", dial)), wanted) << "not bound to an address";
      EXPECT_EQ(server_in(sockets("b", dial)), wanted);
    }
  }
}

TEST_F(MaglevTest, SocketsWithoutAPortAreSpread) {
  apply(cat("a/u TCP 10.96.0.1:80 -> ", two, " maglev"));
  const Dial many = {.ip = "10.96.0.1", .port = 80, .tries = 30};
  EXPECT_EQ(servers_in(sockets("node", many)).size(), 2u);
  EXPECT_EQ(servers_in(sockets("b", many)).size(), 2u);
}

TEST_F(MaglevTest, AffinityComesFirst) {
  apply(cat("a/t UDP node:30080 -> ", two, " affinity=1000 maglev"));
  std::set<std::string> seen, hashed;
  Dial dial = {"192.0.2.1", 30080, Protocol::udp};
  for (dial.source_port = 20000; dial.source_port < 20012; ++dial.source_port) {
    seen.merge(servers_in(packets("client", dial)));
    hashed.insert(owner("192.0.2.9", dial.source_port, node_port, Protocol::udp, 8002));
  }
  EXPECT_EQ(hashed.size(), 2u);
  EXPECT_EQ(seen, std::set{owner("192.0.2.9", 20000, node_port, Protocol::udp, 8002)})
      << "the first flow's";
}

TEST_F(MaglevTest, LocalPolicyHashesAmongTheLocalOnes) {
  apply("a/t UDP node:30080! -> 10.1.1.2:8001*,10.1.1.2:8002*,198.51.100.9:1 maglev");
  Dial dial = {"192.0.2.1", 30080, Protocol::udp};
  for (dial.source_port = 20000; dial.source_port < 20012; ++dial.source_port) {
    EXPECT_EQ(server_in(packets("client", dial)),
              owner("192.0.2.9", dial.source_port, node_port, Protocol::udp, 8002));
  }
}

}  // namespace
}  // namespace fairlead::dataplane::test

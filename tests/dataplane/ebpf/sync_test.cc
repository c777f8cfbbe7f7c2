// ServiceSync and NodeSync against maps in memory: what is written, in which order, and what
// happens when a write fails.
#include <cerrno>
#include <random>

#include "base/text.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/node_sync.h"
#include "dataplane/ebpf/service_sync.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::ebpf {
namespace {

using test::table_of;

std::string dump(const Maps& maps, const ServiceSync& sync) {
  return dump_maps(maps, [&](uint32_t id) { return sync.name_of(id); });
}

std::set<api::ObjectKey> differences(const ServiceTable& a, const ServiceTable& b) {
  std::set<api::ObjectKey> keys;
  for (const auto& [key, entry] : a.services) {
    auto other = b.services.find(key);
    if (other == b.services.end() || other->second != entry) keys.insert(key);
  }
  for (const auto& [key, entry] : b.services) {
    if (!a.services.contains(key)) keys.insert(key);
  }
  return keys;
}

TEST(ServiceSync, WritesTheWholeTable) {
  FakeMaps maps;
  ServiceSync sync(maps);
  ServiceTable table = table_of(R"(
default/web TCP 10.96.0.10:80,node:30080 -> 10.1.0.2:8080*,10.1.0.3:8080
default/web6 TCP [fd96::10]:80 -> [fd01::2]:8080
kube/dns UDP 10.96.0.10:53 -> 10.1.0.2:53
kube/none TCP 10.96.0.11:80 ->
kube/policy TCP 10.96.0.12:80,node:30081 -> drop
)");
  ApplyReport report = sync.apply(table, {}, true);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.writes, 7u + 4u + 4u + 4u) << "frontends, slots, members, addresses";
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 10.96.0.10 cluster-ip
address 10.96.0.11 cluster-ip
address 10.96.0.12 cluster-ip
address fd96::10 cluster-ip
frontend 10.96.0.10:53/UDP kube/dns:p
  backend 10.1.0.2:53
frontend 10.96.0.10:80/TCP default/web:p
  backend 10.1.0.2:8080 local
  backend 10.1.0.3:8080
frontend 10.96.0.11:80/TCP kube/none:p reject
frontend 10.96.0.12:80/TCP kube/policy:p drop
frontend [fd96::10]:80/TCP default/web6:p (IPv6)
  backend [fd01::2]:8080
frontend node-port 30080/TCP IPv4 default/web:p
  backend 10.1.0.2:8080 local
  backend 10.1.0.3:8080
frontend node-port 30081/TCP IPv4 kube/policy:p drop
)");
}

TEST(ServiceSync, WritesInProportionToTheChange) {
  struct Case {
    const char* name;
    const char* before;
    const char* after;
    size_t writes;
  };
  const Case cases[] = {
      {"nothing", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", 0},
      {"one of three goes: move the last, flip, erase, and its membership",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1,1.0.0.3:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.2:1,1.0.0.3:1", 4},
      {"the last goes: flip, erase", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", 3},
      {"one more: add, flip", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1", 3},
      {"one replaced: one slot, two members", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.2:1,1.0.0.3:1", 3},
      {"order does not matter", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.2:1,1.0.0.1:1", 0},
      {"became local", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1*", 1},
      {"all gone: flip, erase two", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1",
       "a/a TCP 10.0.0.1:80 ->", 5},
      {"reject becomes drop", "a/a TCP 10.0.0.1:80 ->", "a/a TCP 10.0.0.1:80 -> drop", 1},
      {"a frontend more", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80,node:30000 -> 1.0.0.1:1", 1},
      {"a frontend less", "a/a TCP 10.0.0.1:80,node:30000 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", 1},
      {"service deleted", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1", "", 4},
      {"policy Local: a list of its own, flip",
       "a/a TCP 10.0.0.1:80,node:30000 -> 1.0.0.1:1*,1.0.0.2:1",
       "a/a TCP 10.0.0.1:80,node:30000! -> 1.0.0.1:1*,1.0.0.2:1", 3},
      {"a remote one more, nothing for policy Local", "a/a TCP 10.0.0.1:80!  -> 1.0.0.1:1*",
       "a/a TCP 10.0.0.1:80! -> 1.0.0.1:1*,1.0.0.2:1", 0},
      {"a local one goes: its slot and its membership in both lists",
       "a/a TCP ext:10.0.0.1:80! -> 1.0.0.1:1*,1.0.0.2:1*",
       "a/a TCP ext:10.0.0.1:80! -> 1.0.0.1:1*", 4},
      {"affinity: flip", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1 affinity=10", 1},
      {"a source range for another", "a/a TCP lb:10.0.0.1:80 -> 1.0.0.1:1 from=10.0.0.0/8",
       "a/a TCP lb:10.0.0.1:80 -> 1.0.0.1:1 from=11.0.0.0/8", 2},
      {"address goes over to another service: add, flip, erase", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "b/b TCP 10.0.0.1:80 -> 1.0.0.1:1", 0},
      {"duplicates count once", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.1:1", 0},
  };
  for (const Case& c : cases) {
    FakeMaps maps;
    ServiceSync sync(maps);
    ServiceTable before = table_of(c.before), after = table_of(c.after);
    sync.apply(before, {}, true);
    ApplyReport report = sync.apply(after, differences(before, after), false);
    EXPECT_EQ(report.writes, c.writes) << c.name;
    FakeMaps fresh_maps;
    ServiceSync fresh(fresh_maps);
    fresh.apply(after, {}, true);
    EXPECT_EQ(dump(maps, sync), dump(fresh_maps, fresh)) << c.name;
  }
}

TEST(ServiceSync, OnlyChangedServicesAreLookedAt) {
  FakeMaps maps;
  ServiceSync sync(maps);
  sync.apply(table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1\nb/b TCP 10.0.0.2:80 -> 1.0.0.1:1"), {},
             true);
  ServiceTable after = table_of("a/a TCP 10.0.0.1:80 ->\nb/b TCP 10.0.0.2:80 ->");
  sync.apply(after, {{"a", "a"}}, false);
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 10.0.0.1 cluster-ip
address 10.0.0.2 cluster-ip
frontend 10.0.0.1:80/TCP a/a:p reject
frontend 10.0.0.2:80/TCP b/b:p
  backend 1.0.0.1:1
)");
}

TEST(ServiceSync, TwoServicesWithOneAddress) {
  FakeMaps maps;
  ServiceSync sync(maps);
  ServiceTable both =
      table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1\nb/b TCP 10.0.0.1:80,node:30000 -> 1.0.0.2:1");
  ApplyReport report = sync.apply(both, {}, true);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0], "b/b:p: 10.0.0.1:80/TCP already belongs to a/a");
  ServiceTable one = table_of("b/b TCP 10.0.0.1:80,node:30000 -> 1.0.0.2:1");
  EXPECT_TRUE(sync.apply(one, {{"a", "a"}}, false).ok()) << "the other gets it when it is free";
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 10.0.0.1 cluster-ip
frontend 10.0.0.1:80/TCP b/b:p
  backend 1.0.0.2:1
frontend node-port 30000/TCP IPv4 b/b:p
  backend 1.0.0.2:1
)");
}

TEST(ServiceSync, SctpIsLeftOutAndTheRestIsServed) {
  FakeMaps maps;
  ServiceSync sync(maps);
  ServiceTable table =
      table_of("a/a SCTP 10.0.0.1:80 -> 1.0.0.1:1\na/a TCP 10.0.0.1:80 -> 1.0.0.1:1");
  ApplyReport report = sync.apply(table, {}, true);
  EXPECT_TRUE(report.ok()) << "no retry would help";
  EXPECT_EQ(maps.size(MapId::frontends), 1u);
  EXPECT_EQ(sync.retry().writes, 0u);
  EXPECT_TRUE(sync.apply({}, {{"a", "a"}}, false).ok());
}

TEST(ServiceSync, FullMapsNameTheServicesThatAreNotServed) {
  FakeMaps maps;
  maps.set_capacity(MapId::backends, 3);
  maps.set_capacity(MapId::frontends, 2);
  ServiceSync sync(maps);
  ServiceTable table = table_of(R"(
a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1
b/b TCP 10.0.0.2:80 -> 1.0.0.1:1,1.0.0.2:1
c/c TCP 10.0.0.3:80 ->
)");
  ApplyReport report = sync.apply(table, {}, true);
  ASSERT_EQ(report.errors.size(), 2u);
  EXPECT_EQ(report.errors[0],
            "b/b:p: the backends map is full (3 entries); 1 of 2 backends are served");
  EXPECT_EQ(report.errors[1],
            "c/c:p: 10.0.0.3:80/TCP: the frontends map is full (2 entries); 0 of 0 backends are "
            "served");
  EXPECT_EQ(sync.retry().errors.size(), 2u);
  table.services.erase({"a", "a"});
  EXPECT_TRUE(sync.apply(table, {{"a", "a"}}, false).ok() || sync.retry().ok());
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 10.0.0.2 cluster-ip
address 10.0.0.3 cluster-ip
frontend 10.0.0.2:80/TCP b/b:p
  backend 1.0.0.1:1
  backend 1.0.0.2:1
frontend 10.0.0.3:80/TCP c/c:p reject
)");
}

// --- random tables ---

ServiceTable random_table(std::mt19937& random, const ServiceTable& from) {
  ServiceTable table = from;
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (int edits = 1 + below(4); edits > 0; --edits) {
    int i = below(6);
    api::ObjectKey key{"ns", cat("s", i)};
    if (below(5) == 0) {
      table.services.erase(key);
      continue;
    }
    ServiceEntry entry;
    for (int port = 0; port < 1 + below(2); ++port) {
      PortRule rule{.port_name = cat("p", port)};
      uint16_t number = static_cast<uint16_t>(80 + port);
      rule.frontends.push_back(
          {FrontendKind::cluster_ip, Ip::v4(0x0a600000u + unsigned(i)), number});
      if (below(2)) {
        // Two services share a pool of node ports, but never hold one at the same time.
        auto node_port = static_cast<uint16_t>(30000 + i / 2 * 10 + port);
        bool taken = false;
        for (const auto& [other, held] : table.services) {
          for (const PortRule& held_rule : held.ports) {
            for (const Frontend& f : held_rule.frontends) {
              taken |= other != key && f.port == node_port;
            }
          }
        }
        if (!taken) rule.frontends.push_back({FrontendKind::node_port, Ip::v4(0), node_port});
      }
      if (below(3) == 0) {
        rule.frontends.push_back(
            {FrontendKind::load_balancer, Ip::v4(0xcb007100u + unsigned(i)), number});
        for (int r = below(3); r > 0; --r) {
          rule.source_ranges.push_back({Ip::v4(0xc0a80000u + unsigned(below(4)) * 256), 24});
        }
      }
      const bool internal = below(4) == 0, external = below(3) == 0;
      for (Frontend& frontend : rule.frontends) {
        frontend.local_only = frontend.kind == FrontendKind::cluster_ip ? internal : external;
      }
      if (below(4) == 0) rule.affinity_timeout_s = unsigned(100 + below(2));
      for (int b = 0; b < 8; ++b) {
        if (below(3) == 0) rule.backends.push_back({Ip::v4(0x01000000u + unsigned(b)), 1, b < 4});
      }
      // Some local ones are for policy Local only.
      while (rule.cluster_first < rule.backends.size() && rule.backends[rule.cluster_first].local &&
             below(4) == 0) {
        ++rule.cluster_first;
      }
      std::sort(rule.frontends.begin(), rule.frontends.end());
      entry.ports.push_back(rule);
    }
    table.services[key] = entry;
  }
  return table;
}

using Sets = std::map<std::string, std::set<std::string>>;  // frontend and set -> backends

std::string without_flags(fl_backend backend) {
  backend.flags = 0;
  return to_text(backend);
}

Sets sets_of(const ServiceTable& table) {
  Sets sets;
  for (const auto& [key, entry] : table.services) {
    for (const PortRule& rule : entry.ports) {
      for (const Frontend& frontend : rule.frontends) {
        const std::string name = to_text(to_map(frontend, rule.protocol));
        const auto add = [&](const char* set, std::span<const Backend> backends) {
          auto& into = sets[name + set];
          for (const Backend& backend : backends) into.insert(without_flags(to_map(backend)));
        };
        if (!frontend.local_only || frontend.kind != FrontendKind::cluster_ip) {
          add(" cluster", cluster_backends(rule));
        }
        if (frontend.local_only) add(" local", local_backends(rule));
        add(" any", rule.backends);
      }
    }
  }
  return sets;
}

// What a program could do wrong at this moment, or "".
std::string wrong_now(const FakeMaps& maps, const Sets& before, const Sets& after) {
  std::set<std::string> present;
  std::string wrong;
  const auto look = [&](const std::string& frontend, const char* set, uint32_t service,
                        uint32_t list, uint32_t count) {
    const std::string name = frontend + set;
    present.insert(name);
    std::set<std::string> good;
    // Another policy from now on: every backend of the service is one that it may lead to.
    if (auto any = after.find(frontend + " any"); any != after.end() && !after.contains(name)) {
      good = any->second;
    }
    for (const Sets* sets : {&before, &after}) {
      if (auto found = sets->find(name); found != sets->end()) {
        good.insert(found->second.begin(), found->second.end());
      }
    }
    for (uint32_t slot = 0; slot < count; ++slot) {
      auto* backend = maps.find<fl_backend>(MapId::backends, fl_backend_key{list, slot});
      if (backend == nullptr)
        wrong += cat(name, " misses slot ", slot, "\n");
      else if (backend->list != list)
        wrong += cat(name, " foreign slot\n");
      else if (!good.contains(without_flags(*backend)))
        wrong += cat(name, " leads to ", to_text(*backend), "\n");
      else if (!maps.find<uint32_t>(MapId::members,
                                    fl_member_key{service, backend->ip, backend->port, 0}))
        wrong += cat(name, " has a backend that is no member: ", to_text(*backend), "\n");
    }
    auto old_set = before.find(name), new_set = after.find(name);
    bool always = old_set != before.end() && new_set != after.end() && !old_set->second.empty() &&
                  !new_set->second.empty();
    if (always && count == 0) wrong += cat(name, " has no backend\n");
  };
  each_entry<fl_frontend_key, fl_frontend>(
      maps, MapId::frontends, [&](const fl_frontend_key& key, const fl_frontend& value) {
        const bool local = (value.flags & FL_FRONTEND_LOCAL_ONLY) != 0;
        if (!local || (value.flags & FL_FRONTEND_EXTERNAL) != 0) {
          look(to_text(key), " cluster", value.service, value.service, value.count);
        }
        if (local) look(to_text(key), " local", value.service, value.local_list, value.local_count);
      });
  for (const auto& [name, backends] : before) {
    if (name.ends_with(" any")) continue;
    if (after.contains(name) && !present.contains(name)) wrong += cat(name, " is missing\n");
  }
  return wrong;
}

TEST(ServiceSyncProperty, IncrementalIsFullIsReadBackAndNoMomentIsWrong) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    std::mt19937 random(seed);
    FakeMaps maps;
    auto sync = std::make_unique<ServiceSync>(maps);
    ServiceTable table;
    sync->apply(table, {}, true);
    for (int step = 0; step < 25; ++step) {
      ServiceTable next = random_table(random, table);
      Sets before = sets_of(table), after = sets_of(next);
      std::string wrong;
      maps.on_write([&] {
        if (wrong.empty()) wrong = wrong_now(maps, before, after);
      });
      ApplyReport report = sync->apply(next, differences(table, next), false);
      maps.on_write(nullptr);
      ASSERT_TRUE(report.ok()) << report.errors[0];
      ASSERT_EQ(wrong, "") << "seed " << seed << " step " << step;
      FakeMaps full_maps;
      ServiceSync full(full_maps);
      ASSERT_TRUE(full.apply(next, {}, true).ok());
      ASSERT_EQ(dump(maps, *sync), dump(full_maps, full)) << "seed " << seed << " step " << step;
      if (step % 5 == 4) {  // a restart reads the maps back and has nothing to write
        sync = std::make_unique<ServiceSync>(maps);
        ASSERT_TRUE(sync->load());
        ASSERT_EQ(sync->apply(next, {}, true).writes, 0u) << "seed " << seed << " step " << step;
        ASSERT_EQ(dump(maps, *sync), dump(full_maps, full));
      }
      table = std::move(next);
    }
  }
}

TEST(ServiceSyncProperty, RestartWithAnotherTableIsNeverWrongEither) {
  for (unsigned seed = 100; seed < 160; ++seed) {
    std::mt19937 random(seed);
    FakeMaps maps;
    ServiceTable first = random_table(random, random_table(random, {}));
    ServiceSync(maps).apply(first, {}, true);
    ServiceTable second = random_table(random, random_table(random, first));
    ServiceSync sync(maps);
    ASSERT_TRUE(sync.load());
    std::string wrong;
    maps.on_write([&] {
      if (wrong.empty()) wrong = wrong_now(maps, sets_of(first), sets_of(second));
    });
    ASSERT_TRUE(sync.apply(second, {}, true).ok());
    maps.on_write(nullptr);
    EXPECT_EQ(wrong, "") << "seed " << seed;
    FakeMaps full_maps;
    ServiceSync full(full_maps);
    full.apply(second, {}, true);
    EXPECT_EQ(dump(maps, sync), dump(full_maps, full)) << "seed " << seed;
  }
}

TEST(ServiceSyncProperty, EveryWriteMayFailOnce) {
  for (unsigned seed = 200; seed < 208; ++seed) {
    std::mt19937 random(seed);
    ServiceTable first = random_table(random, random_table(random, random_table(random, {})));
    ServiceTable second = random_table(random, random_table(random, first));
    FakeMaps full_maps;
    ServiceSync full(full_maps);
    full.apply(second, {}, true);
    for (size_t broken = 0;; ++broken) {
      FakeMaps maps;
      size_t from = SIZE_MAX;
      FaultyMaps faulty(maps, [&](size_t n, MapId, bool) {
        return from != SIZE_MAX && n == from + broken ? EIO : 0;
      });
      ServiceSync sync(faulty);
      ASSERT_TRUE(sync.apply(first, {}, true).ok());
      from = faulty.writes();
      ApplyReport report = sync.apply(second, differences(first, second), false);
      if (faulty.writes() <= from + broken) {
        EXPECT_TRUE(report.ok());
        break;  // there is no such write
      }
      // A slot or a frontend that failed is tried once more at the end of the same call.
      bool in_sync = dump(maps, sync) == dump(full_maps, full);
      EXPECT_EQ(report.ok(), in_sync) << "write " << broken << " failed in silence";
      EXPECT_EQ(sync.pending(), !in_sync);
      EXPECT_EQ(wrong_now(maps, sets_of(first), sets_of(second)), "") << "write " << broken;
      for (int again = 0; again < 3 && sync.pending(); ++again) sync.retry();
      EXPECT_FALSE(sync.pending());
      EXPECT_TRUE(sync.retry().ok());
      EXPECT_EQ(dump(maps, sync), dump(full_maps, full)) << "seed " << seed << " write " << broken;
    }
  }
}

TEST(ServiceSyncProperty, ManyWritesFailAndItStillConverges) {
  for (unsigned seed = 300; seed < 330; ++seed) {
    std::mt19937 random(seed);
    FakeMaps maps;
    bool broken = true;
    FaultyMaps faulty(maps,
                      [&](size_t, MapId, bool) { return broken && random() % 3 == 0 ? EIO : 0; });
    ServiceSync sync(faulty);
    ServiceTable table;
    for (int step = 0; step < 10; ++step) {
      ServiceTable next = random_table(random, table);
      sync.apply(next, differences(table, next), step == 0);
      table = std::move(next);
    }
    broken = false;
    for (int again = 0; again < 3; ++again) sync.retry();
    EXPECT_TRUE(sync.retry().ok());
    FakeMaps full_maps;
    ServiceSync full(full_maps);
    full.apply(table, {}, true);
    EXPECT_EQ(dump(maps, sync), dump(full_maps, full)) << "seed " << seed;
  }
}

// --- the node ---

TEST(NodeSync, WritesOnlyDifferences) {
  FakeMaps maps;
  ServiceSync sync(maps);
  NodeSync node(maps, sync.addresses(),
                {.netns_cookie = 7, .masquerade_port_low = 1024, .masquerade_port_high = 2});
  ApplyReport report;
  node.apply(table_of("node 192.0.2.1\nnode 192.0.2.2\nnode fd00::1\npods 10.1.0.0/16").node,
             report);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 192.0.2.1 node node-ports
address 192.0.2.2 node node-ports
address fd00::1 node node-ports
localhost-node-ports
masquerade-as 192.0.2.1
masquerade-as fd00::1
pod-cidr 10.1.0.0/16
)");
  ApplyReport second;
  node.apply(table_of("node 192.0.2.2\npods 10.1.0.0/16\npods fd01::/48").node, second);
  EXPECT_EQ(second.writes, 1u + 1u + 2u) << "a CIDR, the config, two addresses away";
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 192.0.2.2 node node-ports
localhost-node-ports
masquerade-as 192.0.2.2
pod-cidr 10.1.0.0/16
pod-cidr fd01::/48
)");
  ApplyReport third;
  node.apply(table_of("node 192.0.2.2\npods 10.1.0.0/16\npods fd01::/48").node, third);
  EXPECT_EQ(third.writes, 0u);
}

TEST(NodeSync, FailedWritesAreRetriedAndEarlierStateIsTakenOver) {
  FakeMaps maps;
  ServiceSync sync(maps);
  bool broken = true;
  FaultyMaps faulty(maps, [&](size_t n, MapId, bool) { return broken && n % 2 == 0 ? EIO : 0; });
  ServiceSync on_faulty(faulty);
  NodeSync node(faulty, on_faulty.addresses(), {});
  NodeConfig wanted = table_of("node 192.0.2.1\nnode fd00::1\npods 10.1.0.0/16").node;
  ApplyReport report;
  node.apply(wanted, report);
  EXPECT_FALSE(report.ok());
  EXPECT_TRUE(node.pending());
  broken = false;
  ApplyReport again;
  node.retry(again);
  EXPECT_TRUE(again.ok());
  EXPECT_FALSE(node.pending());
  std::string expected = dump(maps, sync);
  EXPECT_NE(expected.find("address fd00::1 node node-ports"), std::string::npos);

  ServiceSync again_sync(maps);
  ASSERT_TRUE(again_sync.load());
  NodeSync restarted(maps, again_sync.addresses(), {});
  ASSERT_TRUE(restarted.load());
  ApplyReport after;
  restarted.apply(wanted, after);
  EXPECT_EQ(after.writes, 0u);
  EXPECT_EQ(dump(maps, sync), expected);
}

TEST(NodeSync, MasqueradePortsStayOffTheEphemeralRange) {
  using Range = std::pair<uint16_t, uint16_t>;
  EXPECT_EQ(masquerade_ports(32768, 60999), Range(1024, 29999));
  EXPECT_EQ(masquerade_ports(20000, 60999), Range(1024, 19999));
  EXPECT_EQ(masquerade_ports(2000, 60999), Range(61000, 65535));
  EXPECT_EQ(masquerade_ports(1024, 65535), Range(61000, 65535));
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf

// ServiceSync against maps in memory: what is written, in which order, and what happens when a map
// is full.
#include <algorithm>

#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/dataplane/ebpf/sync_lab.h"
#include "tests/dataplane/ebpf/tables.h"

namespace fairlead::dataplane::ebpf {
namespace {

using test::table_of;

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
      {"became local: slot, member", "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1",
       "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1*", 2},
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

// Every port of an address that the kernel knows is refused if it has no frontend: clients of a
// mode that takes over would get that for an answer.
TEST(ServiceSync, NoMomentRefusesWhatComesOrGoes) {
  FakeMaps maps;
  ServiceSync sync(maps);
  const ServiceTable table = table_of("a/a TCP 10.0.0.1:80,10.0.0.2:80 -> 1.0.0.1:1");
  size_t known = 0;
  maps.on_write([&] {
    EXPECT_LE(maps.size(MapId::addresses), maps.size(MapId::frontends));
    known = std::max(known, maps.size(MapId::addresses));
  });
  EXPECT_TRUE(sync.apply(table, {}, true).ok());
  EXPECT_EQ(known, 2u);
  EXPECT_TRUE(sync.apply({}, {}, true).ok());
  EXPECT_EQ(maps.size(MapId::addresses) + maps.size(MapId::frontends), 0u);
}

// It is nobody's failure: a user who claims the address of another would stop the whole node.
TEST(ServiceSync, OfServicesWithOneAddressTheFirstByNameHasItWhoeverCame) {
  const auto table = [](std::string_view names) {
    std::string text;
    if (names.contains('a')) text += "a/a TCP 10.0.0.1:80 -> 1.0.0.1:1\n";
    if (names.contains('b')) text += "b/b TCP 10.0.0.1:80,node:30000 -> 1.0.0.2:1\n";
    if (names.contains('c')) text += "c/c TCP 10.0.0.1:80,10.0.0.3:80 -> 1.0.0.3:1\n";
    return table_of(text);
  };
  const char* orders[][5] = {{"ab", "b", "ab", "a", ""},  {"b", "ab", "abc", "bc", "c"},
                             {"c", "bc", "abc", "a", ""}, {"bc", "c", "ac", "abc", "ab"},
                             {"c", "ac", "c", "bc", "b"}, {"abc", "ac", "c", "abc", "c"}};
  for (const auto& order : orders) {
    FakeMaps maps;
    ServiceSync sync(maps);
    sync.apply({}, {}, true);
    ServiceTable held;
    for (const std::string_view names : order) {
      ServiceTable next = table(names);
      const ApplyReport report = sync.apply(next, differences(held, next), false);
      EXPECT_TRUE(report.ok()) << report.errors[0];
      EXPECT_FALSE(sync.pending()) << "there is nothing to try again";
      FakeMaps fresh_maps;
      ServiceSync fresh(fresh_maps);
      fresh.apply(next, {}, true);
      EXPECT_EQ(dump(maps, sync), dump(fresh_maps, fresh)) << names;
      held = std::move(next);
    }
  }
}

TEST(ServiceSync, OnePortClaimedByTwoRulesOfAServiceIsTheFirstRules) {
  FakeMaps maps;
  ServiceSync sync(maps);
  const ServiceTable table =
      table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1\na/a TCP 10.0.0.1:80 -> 1.0.0.2:1");
  EXPECT_TRUE(sync.apply(table, {}, true).ok());
  EXPECT_EQ(sync.apply(table, {{"a", "a"}}, false).writes, 0u);
  EXPECT_EQ(dump(maps, sync), R"(mode ebpf
address 10.0.0.1 cluster-ip
frontend 10.0.0.1:80/TCP a/a:p
  backend 1.0.0.1:1
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
  EXPECT_EQ(
      report.errors[0],
      "b/b:p: the backends map is full (3 entries, --max-backends); 1 of 2 backends are served");
  EXPECT_EQ(report.errors[1],
            "c/c:p: 10.0.0.3:80/TCP: the frontends map is full (2 entries, --max-services); 0 of 0 "
            "backends are served");
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

TEST(ServiceSync, AFullMapOfMembersTakesAReplacement) {
  FakeMaps maps;
  maps.set_capacity(MapId::members, 2);
  ServiceSync sync(maps);
  ASSERT_TRUE(sync.apply(table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.2:1"), {}, true).ok());
  bool only_members = true;
  maps.on_write([&] {
    each_entry<fl_frontend_key, fl_frontend>(
        maps, MapId::frontends, [&](const fl_frontend_key&, const fl_frontend& frontend) {
          EXPECT_NE(frontend.count, 0u);
          for (uint32_t slot = 0; slot < frontend.count; ++slot) {
            const fl_backend_key key{frontend.service, slot};
            const auto* backend = maps.find<fl_backend>(MapId::backends, key);
            only_members &=
                backend != nullptr &&
                maps.find<uint32_t>(MapId::members, fl_member_key{frontend.service, backend->ip,
                                                                  backend->port, 0}) != nullptr;
          }
        });
  });
  const ServiceTable next = table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.3:1");
  EXPECT_TRUE(sync.apply(next, {{"a", "a"}}, false).ok());
  maps.on_write(nullptr);
  EXPECT_TRUE(only_members) << "at every moment";
  EXPECT_EQ(maps.size(MapId::backends), 2u);

  const ApplyReport report = sync.apply(
      table_of("a/a TCP 10.0.0.1:80 -> 1.0.0.1:1,1.0.0.3:1,1.0.0.4:1"), {{"a", "a"}}, false);
  ASSERT_EQ(report.errors.size(), 1u);
  EXPECT_EQ(report.errors[0],
            "a/a:p: the members map is full (2 entries, --max-backends); 2 of 3 backends are "
            "served");
}

TEST(ServiceSync, BackendsGoAlthoughSourceRangesDoNotFit) {
  FakeMaps maps;
  maps.set_capacity(MapId::source_ranges, 1);
  ServiceSync sync(maps);
  const auto table = [](const char* backends) {
    return table_of(cat("a/a TCP lb:10.0.0.1:80 -> ", backends, " from=10.0.0.0/8,11.0.0.0/8"));
  };
  const char* full = "a/a:p: the source_ranges map is full (1 entries); 2 of 2 backends are served";
  EXPECT_EQ(sync.apply(table("1.0.0.1:1,1.0.0.2:1"), {}, true).errors,
            std::vector<std::string>{full});
  EXPECT_FALSE(sync.apply(table("1.0.0.1:1"), {{"a", "a"}}, false).ok());
  EXPECT_EQ(maps.size(MapId::backends), 1u);
  EXPECT_EQ(maps.size(MapId::members), 1u) << "nothing may be sent to it any more";
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf

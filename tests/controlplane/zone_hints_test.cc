// Which zone each endpoint is for: every case is a line of zones with their CPU, endpoints with the
// zone they run in and the hint they have ("a:b"), and the hints that follow.
#include "controlplane/controllers/zone_hints.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

std::vector<std::string_view> words(std::string_view text) {
  return text.empty() ? std::vector<std::string_view>{} : split(text, ' ');
}

ClusterZones zones_of(std::string_view text) {
  ClusterZones zones;
  for (const std::string_view word : words(text)) {
    const size_t is = word.find('=');
    zones.cpu_millis[std::string(word.substr(0, is))] = *parse_int(word.substr(is + 1));
  }
  return zones;
}

std::vector<ZonedEndpoint> endpoints_of(std::string_view text) {
  std::vector<ZonedEndpoint> out;
  for (const std::string_view word : words(text)) {
    const size_t colon = word.find(':');
    std::string_view zone = word.substr(0, colon);
    if (zone == "?") zone = {};
    out.push_back({zone, colon == word.npos ? "" : word.substr(colon + 1)});
  }
  return out;
}

std::string allocated(std::string_view zones, std::string_view endpoints) {
  const auto out = allocate_zones(zones_of(zones), endpoints_of(endpoints));
  return out ? join(*out, " ") : out.error().message;
}

struct Case {
  std::string_view what, zones, endpoints, hints;
};

void check(std::span<const Case> cases) {
  for (const Case& c : cases) EXPECT_EQ(allocated(c.zones, c.endpoints), c.hints) << c.what;
}

constexpr std::string_view too_uneven =
    "Unable to allocate minimum required endpoints to each zone without exceeding overload "
    "threshold (4 endpoints, 3 zones)";

// The table of KEP-2433, "Controller Unit Tests".
TEST(ZoneHints, FollowTheCasesOfTheProposal) {
  const Case cases[] = {
      {"fewer endpoints than zones", "a=1 b=1 c=1", "a b",
       "Insufficient number of endpoints (2 endpoints, 3 zones)"},
      {"one in each zone", "a=1 b=1 c=1", "a b c", "a b c"},
      {"four in three equal zones", "a=1 b=1 c=1", "a b c a", too_uneven},
      {"four in two zones", "a=1 b=1", "a b a b", "a b a b"},
      {"four, all in one of two zones", "a=1 b=1", "a a a a", "a a b b"},
      {"four in three zones, one with twice the CPU", "a=2 b=1 c=1", "a b c a", "a b c a"},
      {"none at all", "a=1 b=1", "", "Insufficient number of endpoints (0 endpoints, 2 zones)"},
  };
  check(cases);
}

TEST(ZoneHints, AreInProportionToTheCpu) {
  const Case cases[] = {
      {"exact shares", "a=3000 b=1000", "a a a a", "a a a b"},
      {"40, 32 and 28 percent of ten", "a=20 b=16 c=14", "a a a a b b b c c c",
       "a a a a b b b c c c"},
      {"a zone that is rich gives to the poor", "a=1 b=1 c=1", "a a a a a a b b c",
       "a a a c b c b b c"},
      {"half an endpoint is no reason to move one", "a=5 b=5", "a a a b b b b", "a a a b b b b"},
      {"one and a half is", "a=5 b=5", "a a b b b b b", "a a b b b b a"},
      {"a zone with no endpoint of its own", "a=1 b=1 c=1", "a a a b b b", "a a c b b c"},
      {"a minimum that rounding would miss", "a=36 b=36 c=36 d=52",
       "a a a a b b b b c c c c d d d d", "a a a d b b b b c c c c d d d d"},
  };
  check(cases);
}

TEST(ZoneHints, AnEndpointWhereNoNodeIsReadyServesAnotherZone) {
  const Case cases[] = {
      {"to the zone that lacks most", "a=1 b=1", "a a b z", "a a b b"},
      {"all of them", "a=1 b=1", "z z", "a b"},
      {"and one more", "a=1 b=1", "a a a b b b z", "a a a b b b a"},
  };
  check(cases);
}

TEST(ZoneHints, ThatAreThereStayWhileNoZoneIsShort) {
  const Case cases[] = {
      {"moved ones are not moved back", "a=1 b=1", "a:b a:a b:a b:b", "b a a b"},
      {"a new one joins its own zone", "a=10 b=10", "a:a a:a a:b b:b b:b b", "a a a b b b"},
      {"within the threshold", "a=10 b=10", "a:a a:a a:a a:a a:a a:a b:b b:b b:b b:b b:b",
       "a a a a a a b b b b b"},
      {"a little more CPU changes nothing", "a=11 b=10", "a:a a:a a:b b:b b:b b:a", "a a b b b a"},
      {"much more does", "a=30 b=10", "a:a a:a b:b b:b", "a a b a"},
      {"a zone that has gone", "a=1 b=1", "a:a a:z b:b b:z", "a a b b"},
      {"without any hint yet they are distributed", "a=1 b=1", "a a a b", "a a b b"},
  };
  check(cases);
}

TEST(ZoneHints, NeedAZoneForEveryEndpoint) {
  EXPECT_EQ(allocated("a=1 b=1", "a b b ?"), "One or more endpoints do not have a zone specified");
}

TEST(ZoneHints, AreNotGivenWhileTheNodesSayTooLittle) {
  ClusterZones zones = zones_of("a=1 b=1");
  zones.problem = "No node is ready";
  const auto out = allocate_zones(zones, endpoints_of("a b"));
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().message, "No node is ready");
}

// However the endpoints are spread: no zone below its minimum, each endpoint for some zone, and
// what was decided once stays.
TEST(ZoneHints, LeaveNoZoneShortAndSettle) {
  std::mt19937 random(7);
  const auto upto = [&](size_t most) { return static_cast<size_t>(random()) % (most + 1); };
  size_t given = 0;
  for (int round = 0; round < 3000; ++round) {
    ClusterZones zones;
    int64_t total = 0;
    const size_t zone_count = 2 + upto(4);
    std::vector<std::string> names;
    for (size_t i = 0; i < zone_count; ++i) {
      names.push_back(std::string(1, static_cast<char>('a' + i)));
      total += zones.cpu_millis[names[i]] = static_cast<int64_t>(1000 + upto(9000));
    }
    names.push_back("z");  // has no node that is ready
    std::vector<ZonedEndpoint> endpoints(upto(60));
    for (ZonedEndpoint& one : endpoints) {
      one.zone = names[upto(upto(3) == 0 ? zone_count : zone_count - 1)];
      if (upto(1) == 0) one.present = names[upto(zone_count)];
    }
    const auto hints = allocate_zones(zones, endpoints);
    if (!hints) continue;
    ++given;
    ASSERT_EQ(hints->size(), endpoints.size());
    for (const auto& [zone, millis] : zones.cpu_millis) {
      const double part = static_cast<double>(millis) / static_cast<double>(total);
      const double least = part * static_cast<double>(endpoints.size()) / 1.2;
      const auto got = std::ranges::count(*hints, zone);
      ASSERT_GE(static_cast<double>(got), std::ceil(least - 1e-9)) << zone;
    }
    for (size_t i = 0; i < endpoints.size(); ++i) {
      ASSERT_TRUE(zones.cpu_millis.contains((*hints)[i])) << "'" << (*hints)[i] << "'";
      endpoints[i].present = (*hints)[i];
    }
    ASSERT_EQ(*allocate_zones(zones, endpoints), *hints);
  }
  EXPECT_GT(given, 500u);
}

struct NodeCase {
  std::string name, zone;
  int64_t cpu_millis = 1000;
  bool ready = true;
  std::string role = {};
};

ClusterZones zones_of(const std::vector<NodeCase>& nodes) {
  api::SnapshotBuilder builder;
  for (const NodeCase& c : nodes) {
    auto node = std::make_shared<api::Node>();
    node->meta.key.name = c.name;
    node->zone = c.zone;
    node->cpu_millis = c.cpu_millis;
    node->ready = c.ready;
    if (!c.role.empty()) node->meta.labels["node-role.kubernetes.io/" + c.role] = "";
    builder.put(std::shared_ptr<const api::Node>(node));
  }
  return cluster_zones(*builder.take().snapshot);
}

TEST(ZoneHints, TheCpuOfAZoneIsThatOfItsReadyWorkers) {
  const ClusterZones zones = zones_of({{"n1", "a", 1000},
                                       {"n2", "a", 500},
                                       {"n3", "b", 2000},
                                       {"n4", "b", 4000, false},
                                       {"n5", "", 4000, false},
                                       {"n6", "c", 4000, true, "control-plane"},
                                       {"n7", "", 0, true, "master"},
                                       {"n8", "b", 100, true, "worker"}});
  EXPECT_EQ(zones.problem, "");
  EXPECT_EQ(zones.cpu_millis, (std::map<std::string, int64_t>{{"a", 1500}, {"b", 2100}}));
  EXPECT_EQ(zones.zone_of,
            (std::map<std::string, std::string>{
                {"n1", "a"}, {"n2", "a"}, {"n3", "b"}, {"n4", "b"}, {"n6", "c"}, {"n8", "b"}}));
}

TEST(ZoneHints, NodesThatSayTooLittleAreNamed) {
  const std::pair<std::vector<NodeCase>, std::string_view> cases[] = {
      {{}, "No node is ready"},
      {{{"n1", "a", 1000, false}}, "No node is ready"},
      {{{"n1", "a"}, {"n2", "a"}}, "Nodes only ready in one zone"},
      {{{"n1", "a"}, {"n2", "b", 1000, false}}, "Nodes only ready in one zone"},
      {{{"n1", "a"}, {"n2", "b"}, {"n3", ""}},
       "Insufficient Node information: zone not specified on node n3"},
      {{{"n1", "a"}, {"n2", "b", 0}, {"n3", "", 0}},
       "Insufficient Node information: allocatable CPU not specified on node n2"},
  };
  for (const auto& [nodes, problem] : cases) EXPECT_EQ(zones_of(nodes).problem, problem);
}

TEST(ZoneHints, AreAskedForByAnnotation) {
  const std::string mode = "service.kubernetes.io/topology-mode";
  const std::string hints = "service.kubernetes.io/topology-aware-hints";
  const std::pair<api::StringMap, bool> cases[] = {
      {{}, false},
      {{{mode, "Auto"}}, true},
      {{{mode, "auto"}}, true},
      {{{mode, "AUTO"}}, false},
      {{{mode, "Disabled"}}, false},
      {{{mode, ""}}, false},
      {{{hints, "auto"}}, true},
      {{{hints, "Disabled"}, {mode, "Auto"}}, false},
      {{{hints, "Auto"}, {mode, "Disabled"}}, true},
  };
  for (const auto& [annotations, wanted] : cases) {
    api::Service service;
    service.meta.annotations = annotations;
    EXPECT_EQ(wants_zone_hints(service), wanted)
        << (annotations.empty() ? "" : annotations.begin()->second);
  }
}

std::string events_text(const std::vector<ZoneHintsVerdict>& before,
                        const std::vector<ZoneHintsVerdict>& now) {
  api::Service service;
  service.meta.key = {"shop", "web"};
  service.meta.uid = "u1";
  std::vector<std::string> out;
  for (const json::value& event : verdict_events(service, before, now, "2026-01-01T00:00:00Z")) {
    EXPECT_EQ(find_string(event, "involvedObject", "uid"), "u1");
    EXPECT_EQ(find_string(event, "metadata", "namespace"), "shop");
    out.push_back(cat(find_string(event, "type"), ' ', find_string(event, "reason"), ' ',
                      find_string(event, "message")));
  }
  return join(out, "\n");
}

TEST(ZoneHints, EventsSayWhatChanged) {
  struct EventCase {
    std::vector<ZoneHintsVerdict> before, now;
    std::string_view events;
  };
  const EventCase cases[] = {
      {{}, {}, ""},
      {{},
       {{"IPv4", ""}},
       "Normal TopologyAwareHintsEnabled Topology Aware Hints has been enabled, "
       "addressType: IPv4"},
      {{{"IPv4", ""}}, {{"IPv4", ""}}, ""},
      {{}, {{"IPv4", "why"}}, "Warning TopologyAwareHintsDisabled why, addressType: IPv4"},
      {{{"IPv4", "why"}}, {{"IPv4", "why"}}, ""},
      {{{"IPv4", "why"}},
       {{"IPv4", "other"}},
       "Warning TopologyAwareHintsDisabled other, addressType: IPv4"},
      {{{"IPv4", ""}, {"IPv6", ""}},
       {{"IPv4", ""}, {"IPv6", "why"}},
       "Warning TopologyAwareHintsDisabled why, addressType: IPv6"},
      {{{"IPv4", ""}},
       {},
       "Warning TopologyAwareHintsDisabled Topology Aware Hints has been disabled, "
       "addressType: IPv4"},
      {{{"IPv4", "why"}}, {}, ""},
  };
  for (const EventCase& c : cases) EXPECT_EQ(events_text(c.before, c.now), c.events);
}

}  // namespace
}  // namespace fairlead::controlplane

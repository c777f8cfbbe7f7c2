// Ports of connections that the kernel's tracker carries, and ours in its hands.
#include "dataplane/ebpf/tracked_flows.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include "base/text.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_codec.h"

namespace fairlead::dataplane::ebpf {
namespace {

constexpr uint32_t now = 100'000;

SocketAddress at(const char* text) {
  const std::string_view all(text);
  const size_t colon = all.rfind(':');
  return {*Ip::parse(all.substr(0, colon)),
          static_cast<uint16_t>(*parse_int(all.substr(colon + 1)))};
}

std::string flow_text(const fl_tuple& key, const fl_nat& value) {
  return cat(key.hook == FL_INGRESS ? "ingress " : "egress ",
             SocketAddress{from_map(key.src), to_host(key.sport)}.to_string(), " > ",
             SocketAddress{from_map(key.dst), to_host(key.dport)}.to_string(), " = ",
             SocketAddress{from_map(value.ip), to_host(value.port)}.to_string(), " ", value.flags);
}

std::vector<std::string> flows_in(const Maps& maps) {
  std::vector<std::string> out;
  each_entry<fl_tuple, fl_nat>(maps, MapId::conntrack,
                               [&](const fl_tuple& key, const fl_nat& value) {
                                 EXPECT_EQ(key.protocol, IPPROTO_TCP);
                                 EXPECT_EQ(value.seen, now);
                                 out.push_back(flow_text(key, value));
                               });
  std::sort(out.begin(), out.end());
  return out;
}

void set_ports(Maps& maps, uint16_t low, uint16_t high) {
  const uint32_t zero = 0;
  fl_config config{};
  config.masquerade_port_low = low;
  config.masquerade_port_high = high;
  maps.update(MapId::config, std::as_bytes(std::span(&zero, 1)),
              std::as_bytes(std::span(&config, 1)));
}

TEST(TrackedFlows, PortsOfMasqueradedConnectionsToServicesAreTaken) {
  struct Case {
    const char* what;
    TrackedFlow flow;
    std::vector<std::string> entries;
  };
  const SocketAddress client = at("192.0.2.9:40000"), port = at("192.0.2.1:30080"),
                      backend = at("10.1.0.2:8080"), node = at("192.0.2.1:5000");
  const Case cases[] = {
      {"a NodePort",
       {Protocol::tcp, client, port, backend, node},
       {"egress 192.0.2.1:5000 > 10.1.0.2:8080 = 192.0.2.1:5000 0",
        "ingress 10.1.0.2:8080 > 192.0.2.1:5000 = 192.0.2.1:5000 1"}},
      {"IPv6",
       {Protocol::tcp, at("fd02::9:40000"), at("fd02::1:30080"), at("fd01::2:80"),
        at("fd02::1:1024")},
       {"egress [fd02::1]:1024 > [fd01::2]:80 = [fd02::1]:1024 0",
        "ingress [fd01::2]:80 > [fd02::1]:1024 = [fd02::1]:1024 1"}},
      {"the client's address stays", {Protocol::tcp, client, port, backend, client}, {}},
      {"to nobody's service", {Protocol::tcp, client, backend, backend, node}, {}},
      {"the node's own, from another port",
       {Protocol::tcp, at("192.0.2.1:40000"), backend, backend, node},
       {"egress 192.0.2.1:5000 > 10.1.0.2:8080 = 192.0.2.1:5000 0",
        "ingress 10.1.0.2:8080 > 192.0.2.1:5000 = 192.0.2.1:5000 1"}},
      {"not translated", {Protocol::tcp, client, backend, backend, client}, {}},
      {"a port below those that are given",
       {Protocol::tcp, client, port, backend, at("192.0.2.1:1023")},
       {}},
      {"a port above them", {Protocol::tcp, client, port, backend, at("192.0.2.1:30000")}, {}},
      {"UDP has no end that resets", {Protocol::udp, client, port, backend, node}, {}},
  };
  for (const Case& c : cases) {
    FakeMaps maps;
    set_ports(maps, 1024, 29999);
    net::FakeConntrack tracker;
    tracker.add(c.flow);
    const auto taken = take_tracked_ports(tracker, maps, now);
    ASSERT_TRUE(taken) << c.what;
    EXPECT_EQ(*taken, c.entries.size() / 2) << c.what;
    EXPECT_EQ(flows_in(maps), c.entries) << c.what;
  }
}

TEST(TrackedFlows, NoMoreThanAQuarterOfTheMapIsTaken) {
  FakeMaps maps;
  set_ports(maps, 1024, 29999);
  maps.set_capacity(MapId::conntrack, 80);
  net::FakeConntrack tracker;
  for (uint16_t i = 0; i < 50; ++i) {
    tracker.add({Protocol::tcp,
                 {*Ip::parse("192.0.2.9"), i},
                 at("192.0.2.1:30080"),
                 at("10.1.0.2:8080"),
                 {*Ip::parse("192.0.2.1"), static_cast<uint16_t>(2000 + i)}});
  }
  EXPECT_EQ(*take_tracked_ports(tracker, maps, now), 10u);
  EXPECT_EQ(maps.size(MapId::conntrack), 20u);
}

TEST(TrackedFlows, TheTrackerIsGivenWhatIsOpen) {
  FakeMaps maps;
  const auto add = [&](uint8_t hook, const char* from, const char* to, const char* becomes,
                       int flags, uint8_t protocol = IPPROTO_TCP, uint32_t idle = 0) {
    fl_tuple key{};
    key.src = to_map(at(from).ip);
    key.sport = to_network(at(from).port);
    key.dst = to_map(at(to).ip);
    key.dport = to_network(at(to).port);
    key.protocol = protocol;
    key.hook = hook;
    fl_nat value{};
    value.ip = to_map(at(becomes).ip);
    value.port = to_network(at(becomes).port);
    value.flags = static_cast<uint16_t>(flags);
    value.seen = now - idle;
    maps.update(MapId::conntrack, std::as_bytes(std::span(&key, 1)),
                std::as_bytes(std::span(&value, 1)));
  };
  constexpr int open = FL_NAT_REPLIED;
  const char *client = "192.0.2.9:40000", *port = "192.0.2.1:30080", *backend = "10.1.0.2:8080",
             *node = "192.0.2.1:5000";
  // One masqueraded connection, as four entries.
  add(FL_INGRESS, client, port, backend, open);
  add(FL_EGRESS, client, backend, node, open);
  add(FL_INGRESS, backend, node, client, open | FL_NAT_REPLY);
  add(FL_EGRESS, backend, client, port, open | FL_NAT_REPLY);
  // None of these.
  add(FL_INGRESS, "192.0.2.9:40001", port, backend, 0);
  add(FL_INGRESS, "192.0.2.9:40002", port, backend, open | FL_NAT_FIN);
  add(FL_INGRESS, "192.0.2.9:40003", port, backend, open | FL_NAT_PEER_FIN);
  add(FL_INGRESS, "192.0.2.9:40004", port, backend, open | FL_NAT_RST);
  add(FL_INGRESS, "192.0.2.9:40005", port, backend, open, IPPROTO_UDP);
  add(FL_INGRESS, "192.0.2.9:40006", port, backend, open, IPPROTO_TCP, FL_TIMEOUT_TCP + 1);

  net::FakeConntrack tracker;
  const auto given = give_to_tracker(tracker, maps, now);
  ASSERT_TRUE(given) << given.error().message;
  EXPECT_EQ(*given, 2u);
  std::set<std::pair<SocketAddress, SocketAddress>> seen;
  for (const TrackedFlow& flow : tracker.all()) {
    EXPECT_EQ(flow.reply_source, flow.destination) << "nobody else translates it";
    EXPECT_EQ(flow.reply_destination, flow.source);
    seen.insert({flow.source, flow.destination});
  }
  EXPECT_EQ(seen, (std::set<std::pair<SocketAddress, SocketAddress>>{{at(client), at(backend)},
                                                                     {at(node), at(backend)}}));
  EXPECT_EQ(*give_to_tracker(tracker, maps, now), 0u) << "it knows them";

  // One that has ended on the same ports, while the tracker was not at work.
  net::FakeConntrack late;
  late.add({Protocol::tcp, at(client), at(backend), at(backend), at(client), 0, FlowStage::ended});
  EXPECT_EQ(*give_to_tracker(late, maps, now), 2u);
  EXPECT_EQ(late.all(), tracker.all());
}

TEST(TrackedFlows, ATrackerThatCannotBeAskedSaysSo) {
  FakeMaps maps;
  net::FakeConntrack tracker;
  tracker.fail_with("no");
  EXPECT_FALSE(take_tracked_ports(tracker, maps, now));
  EXPECT_EQ(maps.size(MapId::conntrack), 0u);
  EXPECT_TRUE(give_to_tracker(tracker, maps, now)) << "there is nothing to give";
}

}  // namespace
}  // namespace fairlead::dataplane::ebpf

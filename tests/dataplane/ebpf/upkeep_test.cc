// What the driver does beside applying tables: reading the kernel back, stepping down for another
// mode, closing sockets whose backend is gone.
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/text.h"
#include "dataplane/ebpf/conntrack.h"
#include "dataplane/ebpf/fake_maps.h"
#include "dataplane/ebpf/map_codec.h"
#include "dataplane/ebpf/map_dump.h"
#include "dataplane/ebpf/pins.h"
#include "dataplane/ebpf/stale_udp.h"
#include "dataplane/ebpf/verify.h"
#include "net/conntrack.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/ebpf/pods_lab.h"

namespace fairlead::dataplane::test {
namespace {

using ebpf::FakeMaps;
using ebpf::MapId;
using ebpf::NodeSync;
using ebpf::ServiceSync;

constexpr const char* services = R"(
node 192.0.2.1
pods 10.1.0.0/16
services 10.96.0.0/16
a/web TCP 10.96.0.1:80,lb:203.0.113.1:80!,node:30080 -> 10.1.0.2:80*,10.2.0.2:80 from=10.0.0.0/8
a/dns UDP 10.96.0.2:53 -> 10.1.0.3:53
)";

TEST(Verify, NamesEachDriftAndRepairsIt) {
  FakeMaps maps;
  ServiceSync sync(maps);
  NodeSync node(maps, sync.addresses(), {.netns_cookie = 7});
  const ServiceTable table = table_of(services);
  ApplyReport report;
  node.apply(table.node, report);
  ASSERT_TRUE(sync.apply(table, {}, true).ok());
  const auto name = [&](uint32_t id) { return sync.name_of(id); };
  const std::string right = ebpf::dump_maps(maps, name);
  EXPECT_EQ(ebpf::verify_maps(maps, sync, node, false)->size(), 0u);

  const uint32_t dns = *sync.ids_of({"a", "dns"}).begin();
  const Frontend web{FrontendKind::cluster_ip, *Ip::parse("10.96.0.1"), 80};
  const std::vector<fl_frontend_key> gone = {ebpf::to_map(web, Protocol::tcp)};
  const std::vector<fl_backend_key> slot = {{dns, 0}};
  const std::vector<fl_backend> elsewhere = {ebpf::to_map(Backend{*Ip::parse("10.9.9.9"), 53})};
  const std::vector<fl_ip> foreign = {ebpf::to_map(*Ip::parse("10.96.0.7"))};
  const std::vector<fl_cidr> cidr = {ebpf::to_map(*Cidr::parse("10.1.0.0/16"))};
  const std::vector<uint32_t> one = {1};
  maps.erase(MapId::frontends, ebpf::bytes_of(gone));
  maps.update(MapId::backends, ebpf::bytes_of(slot), ebpf::bytes_of(elsewhere));
  maps.update(MapId::addresses, ebpf::bytes_of(foreign), ebpf::bytes_of(one));
  maps.erase(MapId::pod_cidrs, ebpf::bytes_of(cidr));

  const char* owner = "another user of bpf(2)";
  std::vector<Drift> expected = {
      {cat("backend slot 0 of list ", dns, " has another value"), owner, false},
      {"pod CIDR 10.1.0.0/16 is missing", owner, false},
      {"address 10.96.0.7 is not ours", owner, false},
      {"frontend 10.96.0.1:80/TCP is missing", owner, false}};
  EXPECT_EQ(*ebpf::verify_maps(maps, sync, node, false), expected);
  for (Drift& drift : expected) drift.repaired = true;
  EXPECT_EQ(*ebpf::verify_maps(maps, sync, node, true), expected);
  EXPECT_EQ(ebpf::verify_maps(maps, sync, node, true)->size(), 0u);
  EXPECT_EQ(ebpf::dump_maps(maps, name), right);
}

TEST(Verify, ManyDriftsAreCounted) {
  FakeMaps maps;
  ServiceSync sync(maps);
  NodeSync node(maps, sync.addresses(), {});
  std::vector<fl_ip> ips;
  for (uint32_t i = 0; i < 250; ++i) ips.push_back(ebpf::to_map(Ip::v4(0x0a600000 + i)));
  const std::vector<uint32_t> ones(ips.size(), 1);
  maps.update(MapId::addresses, ebpf::bytes_of(ips), ebpf::bytes_of(ones));
  const auto drifts = ebpf::verify_maps(maps, sync, node, true);
  ASSERT_EQ(drifts->size(), ebpf::max_drifts_of_map + 1);
  EXPECT_EQ(drifts->back().what, "150 more entries of the map addresses");
  EXPECT_TRUE(drifts->back().repaired);
  EXPECT_EQ(maps.size(MapId::addresses), 0u);
}

// So many that they are compared in several rounds; each map is read a few times, never kept.
TEST(Verify, WhatManyServicesHaveIsComparedInRounds) {
  FakeMaps maps;
  ServiceSync sync(maps);
  NodeSync node(maps, sync.addresses(), {});
  const ServiceTable table = big_table(3000, 4);
  ASSERT_TRUE(sync.apply(table, {}, true).ok());
  ASSERT_EQ(maps.size(MapId::backends), 12000u);
  EXPECT_EQ(ebpf::verify_maps(maps, sync, node, true)->size(), 0u);
  std::vector<fl_backend_key> lost, foreign;
  std::vector<fl_backend> values;
  ebpf::each_entry<fl_backend_key, fl_backend>(
      maps, MapId::backends, [&](const fl_backend_key& key, const fl_backend& value) {
        if (key.slot == 0) lost.push_back(key);
        if (key.slot != 1) return;
        foreign.push_back(key);
        values.push_back(value);
        values.back().port ^= 1;
      });
  for (uint32_t i = 0; i < 6000; ++i) {
    foreign.push_back({1000000, i});
    values.push_back({});
  }
  maps.erase(MapId::backends, ebpf::bytes_of(lost));
  maps.update(MapId::backends, ebpf::bytes_of(foreign), ebpf::bytes_of(values));
  const auto drifts = ebpf::verify_maps(maps, sync, node, true);
  ASSERT_EQ(drifts->size(), ebpf::max_drifts_of_map + 1);
  EXPECT_EQ(drifts->back().what, "11900 more entries of the map backends");
  EXPECT_TRUE(drifts->back().repaired);
  EXPECT_EQ(maps.size(MapId::backends), 12000u);
  EXPECT_EQ(ebpf::verify_maps(maps, sync, node, true)->size(), 0u);
}

TEST(KernelEntries, AreThoseOfTheService) {
  FakeMaps maps;
  ServiceSync sync(maps);
  ASSERT_TRUE(sync.apply(table_of(services), {}, true).ok());
  const std::vector<std::string> expected = {
      "frontends: 10.96.0.1:80/TCP -> service 2, slots 2",
      "frontends: 203.0.113.1:80/TCP -> service 2, slots 2, local list 3, slots 1",
      "frontends: node-port 30080/TCP IPv4 -> service 2, slots 2",
      "backends: list 2 slot 0 -> 10.1.0.2:80 local",
      "backends: list 2 slot 1 -> 10.2.0.2:80",
      "backends: list 3 slot 0 -> 10.1.0.2:80 local",
      "source_ranges: service 2 10.0.0.0/8",
  };
  EXPECT_EQ(ebpf::entry_lines(maps, sync.ids_of({"a", "web"})), expected);
  EXPECT_TRUE(ebpf::entry_lines(maps, sync.ids_of({"a", "nobody"})).empty());
}

TEST(Conntrack, LiveFlowsAreCounted) {
  FakeMaps maps;
  std::vector<fl_tuple> keys(2);
  std::vector<fl_nat> values(2);
  keys[0].protocol = keys[1].protocol = 17;
  keys[1].sport = 1;
  values[0].seen = 1000;
  values[1].seen = 1000 - FL_TIMEOUT_UDP_OPENING - 1;
  maps.update(MapId::conntrack, ebpf::bytes_of(keys), ebpf::bytes_of(values));
  EXPECT_EQ(ebpf::live_flows(maps, 1000), 1u);
  EXPECT_EQ(ebpf::live_flows(maps, 2000), 0u);
  EXPECT_EQ(maps.size(MapId::conntrack), 2u) << "none is removed";
}

// --- the driver ---

using Upkeep = PodsTest;

constexpr const char* web = "a/b TCP 10.96.0.1:80 -> 10.1.1.2:8001";
const Dial to_web = {"10.96.0.1", 80};

TEST_F(Upkeep, VerifyPutsBackWhatOthersTookAway) {
  apply(web);
  in_node([&] {
    EXPECT_EQ(driver_->verify(false)->size(), 0u);
    const ebpf::Pins pins(lab_->bpffs());
    const net::Fd frontends(bpf_obj_get(pins.map("frontends").c_str()));
    const Frontend frontend{FrontendKind::cluster_ip, *Ip::parse("10.96.0.1"), 80};
    const fl_frontend_key key = ebpf::to_map(frontend, Protocol::tcp);
    ASSERT_EQ(bpf_map_delete_elem(frontends.get(), &key), 0);
    ASSERT_EQ(unlink(pins.link("cgroup_connect4").c_str()), 0);
    const auto drifts = driver_->verify(false);
    ASSERT_TRUE(drifts);
    ASSERT_EQ(drifts->size(), 2u);
    EXPECT_EQ((*drifts)[0].what, "frontend 10.96.0.1:80/TCP is missing");
    EXPECT_EQ((*drifts)[1].what,
              cat("the program cgroup_connect4 is not attached to ", lab_->cgroup()));
  });
  EXPECT_EQ(packets("b", to_web), "ECONNREFUSED") << "the address is known, the port is not";
  in_node([&] {
    const auto repaired = driver_->verify(true);
    ASSERT_TRUE(repaired);
    EXPECT_EQ(repaired->size(), 2u);
    for (const Drift& drift : *repaired) EXPECT_TRUE(drift.repaired) << drift.what;
    EXPECT_EQ(driver_->verify(false)->size(), 0u);
  });
  EXPECT_EQ(packets("b", to_web), "x 10.1.2.2 from 10.96.0.1:80");
  EXPECT_EQ(sockets("b", to_web), "x 10.1.2.2 from 10.96.0.1:80");
  in_node([&] { EXPECT_EQ(driver_->kernel_entries({"a", "b"}).size(), 2u); });
}

// A socket of pod b, outside the cgroup.
net::Fd dialled(const net::Netns& netns, const Dial& to) {
  auto scope = net::NetnsScope::enter(netns);
  const int type = to.protocol == Protocol::tcp ? SOCK_STREAM : SOCK_DGRAM;
  net::Fd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const timeval patience{2, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(to.port);
  inet_pton(AF_INET, to.ip.c_str(), &address.sin_addr);
  EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return fd;
}

std::string exchange(const net::Fd& fd) {
  char answer[64];
  if (send(fd.get(), "?", 1, MSG_NOSIGNAL) != 1) return strerror(errno);
  const ssize_t got = recv(fd.get(), answer, sizeof answer, 0);
  return got > 0 ? std::string(answer, 1) : got == 0 ? "closed" : strerror(errno);
}

TEST_F(Upkeep, RetiresWithoutTouchingWhatIsThere) {
  apply("services 10.96.0.0/16\n" + std::string(web));
  EXPECT_TRUE(driver_->drained());
  const net::Fd old = dialled(lab_->netns("b"), to_web);
  EXPECT_EQ(exchange(old), "x");
  in_node([&] { ASSERT_TRUE(driver_->retire()); });
  EXPECT_EQ(exchange(old), "x");
  EXPECT_FALSE(driver_->drained());
  EXPECT_EQ(driver_->dump().find("frontend"), std::string::npos) << driver_->dump();
  EXPECT_EQ(driver_->dump().find("service-cidr"), std::string::npos) << driver_->dump();
  EXPECT_EQ(sockets("b", to_web), packets("b", to_web)) << "nobody translates any more";
  EXPECT_EQ(exchange(old), "x");
}

// The next mode's rules ask for the state of connections, of which the kernel has tracked none so
// far. To its tracker a connection may not begin with a FIN.
TEST_F(Upkeep, ConnectionsThatTheNextModeDoesNotKnowEndWell) {
  apply(web);
  const net::Fd old = dialled(lab_->netns("b"), to_web);
  EXPECT_EQ(exchange(old), "x");
  in_node([&] {
    ASSERT_TRUE(driver_->prepare_retire("userspace"));
    EXPECT_EQ(net::make_conntrack()->flows(Protocol::tcp)->size(), 0u) << "it does not track";
    const auto prepared = driver_->prepare_retire("nftables");
    ASSERT_TRUE(prepared) << prepared.error().message;
    EXPECT_GE(net::make_conntrack()->flows(Protocol::tcp)->size(), 1u);
    ASSERT_EQ(system("nft 'add table inet t; add chain inet t f { type filter hook forward "
                     "priority 0; }; add rule inet t f ct state invalid drop'"),
              0);
    ASSERT_TRUE(driver_->retire());
  });
  EXPECT_EQ(shutdown(old.get(), SHUT_WR), 0);
  char byte;
  EXPECT_EQ(recv(old.get(), &byte, 1, 0), 0) << "the server has heard it, and ends, too: " << errno;
}

// A child in the cgroup with one connected UDP socket; it says what came of each exchange.
class UdpClient {
 public:
  UdpClient(const net::Netns& netns, const std::string& cgroup, const Dial& to) {
    EXPECT_EQ(pipe(go_), 0);
    EXPECT_EQ(pipe(said_), 0);
    child_ = fork();
    if (child_ != 0) return;
    run_in(netns, cgroup, [&] {
      const net::Fd fd = dialled(netns, to);
      char byte;
      while (read(go_[0], &byte, 1) == 1 && byte == 'g') {
        const char result = exchange(fd)[0];
        [[maybe_unused]] ssize_t n = write(said_[1], &result, 1);
      }
      return std::string();
    });
    _exit(0);
  }
  ~UdpClient() {
    [[maybe_unused]] ssize_t n = write(go_[1], "q", 1);
    waitpid(child_, nullptr, 0);
    for (int fd : {go_[0], go_[1], said_[0], said_[1]}) close(fd);
  }
  UdpClient(const UdpClient&) = delete;
  char ask() {
    char result = '?';
    EXPECT_EQ(write(go_[1], "g", 1), 1);
    EXPECT_EQ(read(said_[0], &result, 1), 1);
    return result;
  }

 private:
  int go_[2], said_[2];
  pid_t child_ = -1;
};

TEST_F(Upkeep, ConnectedUdpSocketsOfAGoneBackendAreClosed) {
  if (!ebpf::can_close_sockets()) GTEST_SKIP() << "NOT TESTED: no SOCK_DESTROY in this kernel";
  apply("a/dns UDP 10.96.0.1:53 -> 10.1.1.2:8001\na/log UDP 10.96.0.2:53 -> 10.1.1.2:8001");
  UdpClient dns(lab_->netns("b"), lab_->cgroup(), {"10.96.0.1", 53, Protocol::udp});
  UdpClient log(lab_->netns("b"), lab_->cgroup(), {"10.96.0.2", 53, Protocol::udp});
  UdpClient direct(lab_->netns("b"), lab_->cgroup(), {"10.1.1.2", 8001, Protocol::udp});
  for (UdpClient* client : {&dns, &log, &direct}) EXPECT_EQ(client->ask(), 'x');
  apply("a/dns UDP 10.96.0.1:53 -> 10.1.1.2:8002\na/log UDP 10.96.0.2:53 -> 10.1.1.2:8001");
  in_node([&] {
    for (int i = 0; i < 40; ++i) lab_->loop().run_once(std::chrono::milliseconds(10));
  });
  EXPECT_NE(dns.ask(), 'x') << "its socket is closed";
  EXPECT_EQ(log.ask(), 'x') << "this one's backend is still there";
  EXPECT_EQ(direct.ask(), 'x') << "this one is none of ours";
  EXPECT_NE(lab_->registry().text().find("fairlead_ebpf_udp_sockets_closed_total 1\n"),
            std::string::npos);
  UdpClient again(lab_->netns("b"), lab_->cgroup(), {"10.96.0.1", 53, Protocol::udp});
  EXPECT_EQ(again.ask(), 'y');
}

}  // namespace
}  // namespace fairlead::dataplane::test

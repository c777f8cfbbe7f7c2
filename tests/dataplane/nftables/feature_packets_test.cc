// Real packets through what is this mode's own: the memory of session affinity, datagram flows
// whose backend left, a retired table, SCTP, invalid segments.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "dataplane/nftables/driver.h"
#include "dataplane/nftables/runner.h"
#include "tests/dataplane/flow_lab.h"

namespace fairlead::dataplane {
namespace {

// A service with its frontends: ClusterIP 10.96.1.N, load balancer 203.0.113.1N, NodePort 3010N.
std::string lb_service(int number, std::string_view more, std::string_view slices) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {namespace: default, name: s", number,
             "}\nspec:\n  type: LoadBalancer\n  clusterIP: 10.96.1.", number,
             "\n  clusterIPs: [10.96.1.", number, ", \"fd96::1:", number, "\"]\n  ", more,
             "\n  ports:\n  - {name: t, port: 80, nodePort: 3010", number,
             "}\n  - {name: u, port: 80, nodePort: 3010", number,
             ", protocol: UDP}\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.1", number,
             "}, {ip: \"2001:db8::1", number, "\"}]}}\n", slices);
}

std::string both_slices(int number) {
  return flow_lab::local_slices(number) + flow_lab::remote_slices(number);
}

class NftFeatures : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<FlowLab>(Mode::nftables);
  }

  static ServiceTable compile_yaml(std::string_view yaml, NodeConfig node) {
    api::SnapshotBuilder builder;
    const auto put = put_yaml(builder, yaml);
    EXPECT_TRUE(put) << put.error().message;
    return compile(*builder.take().snapshot, node);
  }
  static NodeConfig node() { return *parse_node(flow_lab::node_yaml); }

  // A new run of the agent.
  void start(const ServiceTable& table, NftablesOptions options = {}) {
    lab_->net().in("node", [&] {
      driver_ = make_nftables_driver(std::move(options), Log(sink_), registry_);
      ASSERT_TRUE(driver_->start());
      const ApplyReport report = driver_->apply(table, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }
  void apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed) {
    lab_->net().in("node", [&] {
      const ApplyReport report = driver_->apply(table, changed, false);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }

  // The backend that one connection from here is sent to.
  static std::string backend(const Ip& source, std::string_view to, uint16_t port,
                             Protocol protocol = Protocol::tcp) {
    const std::string answer = ask(source, {*Ip::parse(to), port}, protocol, 2000);
    return answer.substr(0, answer.find(' '));
  }

  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<FlowLab> lab_;
  std::unique_ptr<Driver> driver_;
};

constexpr std::string_view affine =
    "sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 3}}";

TEST_F(NftFeatures, AClientKeepsItsBackendThroughEveryFrontend) {
  start(compile_yaml(lb_service(1, affine, both_slices(1)), node()));
  lab_->net().in("pod", [] {
    for (int last = 10; last < 30; ++last) {
      shell(cat("ip address add 10.1.0.", last, "/24 dev eth0; ip address add fd00:1::", last,
                "/64 nodad dev eth0"));
    }
  });
  std::set<std::string> seen;
  lab_->net().in("pod", [&] {
    for (const bool ipv6 : {false, true}) {
      for (int last = 10; last < 30; ++last) {
        const Ip client = *Ip::parse(cat(ipv6 ? "fd00:1::" : "10.1.0.", last));
        for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
          const std::string first = backend(client, ipv6 ? "fd96::1:1" : "10.96.1.1", 80, protocol);
          seen.insert(cat(first, ipv6 ? " 6 " : " 4 ", to_string(protocol)));
          for (int i = 0; i < 3; ++i) {
            ASSERT_EQ(backend(client, ipv6 ? "2001:db8::11" : "203.0.113.11", 80, protocol), first);
            ASSERT_EQ(backend(client, ipv6 ? "fd00:9::1" : "10.9.0.1", 30101, protocol), first);
            ASSERT_EQ(backend(client, ipv6 ? "fd96::1:1" : "10.96.1.1", 80, protocol), first);
          }
        }
      }
    }
  });
  EXPECT_EQ(seen.size(), 8u) << "both backends, both families, both protocols";
}

TEST_F(NftFeatures, AffinityEndsAfterTheTimeoutAndIsRefreshedByUse) {
  start(compile_yaml(lb_service(1,
                                "sessionAffinity: ClientIP\n  sessionAffinityConfig: "
                                "{clientIP: {timeoutSeconds: 1}}",
                                both_slices(1)),
                     node()));
  lab_->net().in("pod", [&] {
    const std::string first = backend({}, "10.96.1.1", 80);
    for (int i = 0; i < 6; ++i) {
      ::usleep(400'000);
      ASSERT_EQ(backend({}, "10.96.1.1", 80), first);
    }
    std::set<std::string> seen;
    for (int i = 0; i < 12 && seen.size() < 2; ++i) {
      seen.insert(backend({}, "10.96.1.1", 80));
      ::usleep(1'100'000);
    }
    EXPECT_EQ(seen.size(), 2u);
  });
}

TEST_F(NftFeatures, AClientWhoseBackendLeftGetsAnotherAndStaysThere) {
  const ServiceTable table =
      compile_yaml(lb_service(1, "sessionAffinity: ClientIP", both_slices(1)), node());
  start(table);
  for (const bool ipv6 : {false, true}) {
    const std::string_view to = ipv6 ? "fd96::1:1" : "10.96.1.1";
    lab_->net().in("pod", [&] {
      const std::string first = backend({}, to, 80), other = first == "local" ? "remote" : "local";
      ServiceTable less = table;
      for (PortRule& rule : less.services.at({"default", "s1"}).ports) {
        std::erase_if(rule.backends, [&](const Backend& one) {
          return one.local == (first == "local") && rule.ipv6 == ipv6;
        });
      }
      apply(less, {{"default", "s1"}});
      EXPECT_EQ(backend({}, to, 80), other);
      apply(table, {{"default", "s1"}});
      for (int i = 0; i < 8; ++i) EXPECT_EQ(backend({}, to, 80), other);
      start(table);  // the memory outlives the agent
      for (int i = 0; i < 8; ++i) EXPECT_EQ(backend({}, to, 80), other);
    });
  }
}

TEST_F(NftFeatures, AffinityToABackendOnTheNodeAndUnderPolicyLocal) {
  std::unique_ptr<Responder> on_node;
  lab_->net().in("node", [&] { on_node = std::make_unique<Responder>("node", 8080); });
  start(compile_yaml(lb_service(1, "sessionAffinity: ClientIP",
                                flow_lab::slice(1, "10.9.0.1", "node-a") +
                                    flow_lab::slice(1, "10.3.0.2", "node-b")) +
                         lb_service(2, "sessionAffinity: ClientIP\n  externalTrafficPolicy: Local",
                                    flow_lab::slice(2, "10.9.0.1", "node-a") +
                                        flow_lab::local_slices(2) + flow_lab::remote_slices(2)),
                     node()));
  for (const std::string name : {"pod", "local", "outside"}) {
    lab_->net().in(name, [&] {
      const std::string first = backend({}, "10.96.1.1", 80);
      for (int i = 0; i < 6; ++i) EXPECT_EQ(backend({}, "10.96.1.1", 80), first) << name;
      const std::string second = backend({}, "203.0.113.12", 80);
      for (int i = 0; i < 6; ++i) EXPECT_EQ(backend({}, "203.0.113.12", 80), second) << name;
      EXPECT_TRUE(name != "outside" || second != "remote");
    });
  }
}

// A client that the node routes for may be the backend even when it is not on this node.
TEST_F(NftFeatures, HairpinOfARemoteBackendWhenPodsCannotBeTold) {
  std::unique_ptr<Responder> outside;
  lab_->net().in("outside", [&] { outside = std::make_unique<Responder>("outside", 8080); });
  NodeConfig config = node();
  config.local_pod_cidrs.clear();
  start(compile_yaml(lb_service(1, "", flow_lab::slice(1, "10.9.0.2", "node-b")), config));
  lab_->net().in("outside", [] {
    EXPECT_EQ(ask({}, {*Ip::parse("10.96.1.1"), 80}, Protocol::tcp, 2000), "outside 10.9.0.1");
  });
}

// Another mode has taken over: what is open goes on, nothing new comes in, and the end is seen.
TEST_F(NftFeatures, ARetiredTableKeepsOpenFlowsOnly) {
  const ServiceTable table = FlowLab::table();
  start(table);
  const SocketAddress to{*Ip::parse("10.96.0.1"), 80};
  lab_->net().in("outside", [&] {
    auto talk = std::make_unique<Conversation>(to);
    EXPECT_EQ(talk->say("one"), "one");
    lab_->net().in("node", [&] { ASSERT_TRUE(driver_->retire()); });
    // What the old rules held in the kernel goes some time after them.
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_EQ(talk->say("two"), "two");
    EXPECT_EQ(ask({}, to, Protocol::tcp, 200).starts_with("local"), false);
    EXPECT_FALSE(driver_->drained());
    lab_->net().in("node", [&] {
      const auto conntrack = net::make_conntrack();
      const auto flows = conntrack->flows(Protocol::tcp);
      ASSERT_TRUE(flows);
      for (const TrackedFlow& flow : *flows) EXPECT_TRUE(conntrack->remove(flow));
    });
    talk.reset();
    EXPECT_TRUE(driver_->drained());
    lab_->net().in("node", [&] {
      ASSERT_TRUE(driver_->cleanup());
      EXPECT_EQ(driver_->dump(), "");
      // And back again.
      ASSERT_TRUE(driver_->apply(table, {}, false).ok());
    });
    EXPECT_NE(ask({}, to, Protocol::tcp, 2000).find(' '), std::string::npos);
  });
}

// The test needs no SCTP in the kernel: an INIT (RFC 9260, 3.3.2) by a raw socket.
std::string sctp_init(uint16_t to_port) {
  std::string packet(32, '\0');
  const auto put16 = [&](size_t at, uint32_t value) {
    packet[at] = static_cast<char>(value >> 8);
    packet[at + 1] = static_cast<char>(value & 0xff);
  };
  put16(0, 40000);
  put16(2, to_port);
  packet[12] = 1;     // INIT
  put16(14, 20);      // chunk length
  put16(18, 0x1234);  // initiate tag
  put16(22, 0x8000);  // window
  put16(24, 1);       // streams out and in
  put16(26, 1);
  uint32_t crc = 0xffffffff;
  for (const char c : packet) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  crc = ~crc;
  std::memcpy(packet.data() + 8, &crc, sizeof crc);
  return packet;
}

// Sends a raw packet from `from` and says what `to` got: "SOURCE port PORT", or "nothing".
std::string raw_exchange(NetnsLab& lab, int protocol, const std::string& from,
                         const std::string& destination, const std::string& to,
                         const std::string& packet) {
  net::Fd listening;
  lab.in(to, [&] { listening = net::Fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, protocol)); });
  const timeval timeout{0, 400'000};
  ::setsockopt(listening.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  lab.in(from, [&] {
    const net::Fd fd(::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, protocol));
    sockaddr_in name{};
    name.sin_family = AF_INET;
    ::inet_pton(AF_INET, destination.c_str(), &name.sin_addr);
    EXPECT_EQ(::sendto(fd.get(), packet.data(), packet.size(), 0,
                       reinterpret_cast<sockaddr*>(&name), sizeof name),
              static_cast<ssize_t>(packet.size()));
  });
  char got[200];
  const ssize_t size = ::recv(listening.get(), got, sizeof got, 0);
  if (size < 24) return "nothing";
  in_addr source;
  std::memcpy(&source, got + 12, sizeof source);
  return cat(inet_ntoa(source), " port ",
             static_cast<uint8_t>(got[22]) << 8 | static_cast<uint8_t>(got[23]));
}

TEST_F(NftFeatures, SctpIsTranslated) {
  const ServiceTable table = compile_yaml(R"(
apiVersion: v1
kind: Service
metadata: {namespace: default, name: s}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  ports: [{name: s, port: 90, nodePort: 30190, protocol: SCTP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: default, name: s-1, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
ports: [{name: s, port: 9090, protocol: SCTP}]
endpoints: [{addresses: ["10.3.0.2"], nodeName: node-b}]
)",
                                          node());
  start(table);
  NetnsLab& lab = lab_->net();
  const auto sent = [&](const std::string& from, const std::string& to, uint16_t port) {
    return raw_exchange(lab, IPPROTO_SCTP, from, to, "remote", sctp_init(port));
  };
  EXPECT_EQ(sent("pod", "10.96.1.1", 90), "10.1.0.2 port 9090");
  EXPECT_EQ(sent("outside", "10.9.0.1", 30190), "10.3.0.1 port 9090");
  EXPECT_EQ(sent("pod", "10.96.1.1", 91), "nothing");
}

// A segment with SYN and FIN is part of no connection.
TEST_F(NftFeatures, InvalidSegmentsAreDroppedOnRequest) {
  std::string segment(20, '\0');
  segment[0] = 40, segment[3] = 80, segment[12] = 5 << 4, segment[13] = 3;
  const ServiceTable table = FlowLab::table();
  start(table);
  const auto sent = [&] {
    return raw_exchange(lab_->net(), IPPROTO_TCP, "pod", "10.3.0.2", "remote", segment);
  };
  EXPECT_EQ(sent(), "10.1.0.2 port 80");
  NftablesOptions options;
  options.drop_invalid = true;
  start(table, options);
  EXPECT_EQ(sent(), "nothing");
  lab_->check_flow(table, "pod", *Ip::parse("10.1.0.2"), {*Ip::parse("10.96.0.1"), 80},
                   Protocol::tcp);
}

}  // namespace
}  // namespace fairlead::dataplane

// The whole server over real sockets on loopback.
#include "dns/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <thread>

#include "base/text.h"
#include "harness.h"
#include "net/fd.h"
#include "net/http_client.h"
#include "net/socket.h"

namespace fairlead::dns::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view cluster = R"(apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
)";

const SocketAddress loopback{*Ip::parse("127.0.0.1"), 0};

// A port that is free for UDP and TCP right now.
uint16_t free_port() {
  for (int i = 0; i < 50; ++i) {
    auto tcp = net::listen_tcp(loopback);
    const uint16_t port = net::local_address(tcp->get())->port;
    if (net::bind_udp({loopback.ip, port})) return port;
  }
  ADD_FAILURE() << "no free port";
  return 0;
}

void set_timeout(int fd, int ms) {
  const timeval wait{.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
}

// An upstream in a thread: answers `*.example.org` over UDP and TCP, as the name says.
class FakeUpstream {
 public:
  FakeUpstream() {
    for (int i = 0; i < 50 && !udp_; ++i) {
      auto tcp = net::listen_tcp(loopback);
      port_ = net::local_address(tcp->get())->port;
      auto udp = net::bind_udp({loopback.ip, port_});
      if (!udp) continue;
      tcp_ = std::move(*tcp);
      udp_ = std::move(*udp);
    }
    set_blocking(udp_.get());
    set_timeout(udp_.get(), 50);
    udp_thread_ = std::thread([this] { serve_udp(); });
    tcp_thread_ = std::thread([this] { serve_tcp(); });
  }
  ~FakeUpstream() {
    stop_ = true;
    udp_thread_.join();
    tcp_thread_.join();
  }
  uint16_t port() const { return port_; }

 private:
  static void set_blocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK); }

  static std::string answer(const std::string& query, bool tcp) {
    Request request;
    parse_request({reinterpret_cast<const uint8_t*>(query.data()), query.size()}, request);
    const std::string name = name_to_text(request.name.from(0));
    if (name.starts_with("silent.")) return {};
    if (name.starts_with("nx.")) return make_reply(query, rcode::nx_domain, {});
    if (name.starts_with("wrong.")) {
      std::string reply = make_reply(query, 0, {name + " 60 A 6.6.6.6"});
      reply[0] = static_cast<char>(reply[0] ^ 0x7f);
      return reply;
    }
    if (name.starts_with("big.") && !tcp) {
      return make_reply(query, 0, {}, 0x8380);  // TC
    }
    std::vector<std::string> records;
    for (int i = 0; i < (name.starts_with("big.") ? 100 : 1); ++i) {
      records.push_back(cat(name, " 60 A 203.0.113.", i + 1));
    }
    return make_reply(query, 0, records);
  }
  void serve_udp() {
    while (!stop_) {
      char buffer[4096];
      sockaddr_storage peer{};
      socklen_t size = sizeof peer;
      const ssize_t got = ::recvfrom(udp_.get(), buffer, sizeof buffer, 0,
                                     reinterpret_cast<sockaddr*>(&peer), &size);
      if (got < 12) continue;
      const std::string reply = answer({buffer, static_cast<size_t>(got)}, false);
      if (reply.empty()) continue;
      ::sendto(udp_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&peer), size);
    }
  }
  void serve_tcp() {
    while (!stop_) {
      net::Fd peer(::accept4(tcp_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        continue;
      }
      set_timeout(peer.get(), 500);
      serve_connection(peer.get());
    }
  }
  // One request after the other, until the other side closes or is quiet for half a second.
  static void serve_connection(int fd) {
    char buffer[4096];
    while (true) {
      const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
      if (got < 14) return;
      const std::string reply = answer({buffer + 2, static_cast<size_t>(got - 2)}, true);
      const std::string framed =
          cat(static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size() & 255), reply);
      ::send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
    }
  }

  net::Fd udp_, tcp_;
  uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread udp_thread_, tcp_thread_;
};

class ServerTest : public ::testing::Test {
 protected:
  void start(const std::string& corefile, unsigned workers = 2, bool publish = true) {
    auto parsed = parse_corefile(corefile, "Corefile");
    ASSERT_TRUE(parsed) << parsed.error().message;
    auto server =
        Server::create(*parsed, {.workers = workers, .bind = {loopback.ip}}, log_, registry_);
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
    const auto started = server_->start();
    ASSERT_TRUE(started) << started.error().message;
    if (publish) publish_cluster();
  }
  void publish_cluster(std::string_view yaml = cluster) {
    put_yaml(builder_, yaml, "cluster.yaml");
    const auto tick = builder_.take();
    server_->publish(tick.snapshot, tick.changes);
  }
  net::Fd connect(int type) const {
    net::Fd fd(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
    const auto raw = net::to_raw({loopback.ip, port_});
    EXPECT_EQ(::connect(fd.get(), raw.get(), raw.size), 0);
    set_timeout(fd.get(), 8000);
    return fd;
  }
  std::string udp(const std::string& query) const {
    const net::Fd fd = connect(SOCK_DGRAM);
    EXPECT_EQ(::send(fd.get(), query.data(), query.size(), 0), static_cast<ssize_t>(query.size()));
    char buffer[65536];
    const ssize_t got = ::recv(fd.get(), buffer, sizeof buffer, 0);
    return got < 0 ? "" : std::string(buffer, static_cast<size_t>(got));
  }
  static std::string framed(const std::string& query) {
    return cat(static_cast<char>(query.size() >> 8), static_cast<char>(query.size() & 255), query);
  }
  static std::string read_framed(int fd) {
    const auto read_all = [fd](size_t size) {
      std::string out;
      while (out.size() < size) {
        char buffer[4096];
        const ssize_t got = ::recv(fd, buffer, std::min(sizeof buffer, size - out.size()), 0);
        if (got <= 0) return std::string();
        out.append(buffer, static_cast<size_t>(got));
      }
      return out;
    };
    const std::string length = read_all(2);
    if (length.empty()) return {};
    return read_all(read16(reinterpret_cast<const uint8_t*>(length.data())));
  }
  net::HttpResponse get(uint16_t port, std::string target) {
    const auto response = net::fetch({.host = "127.0.0.1", .port = port},
                                     {.target = std::move(target)}, std::chrono::seconds(5));
    EXPECT_TRUE(response) << response.error().message;
    return response ? *response : net::HttpResponse{};
  }

  uint16_t port_ = free_port();
  MemoryLogSink sink_;
  Log log_{sink_};
  Registry registry_;
  api::SnapshotBuilder builder_;
  std::unique_ptr<Server> server_;
};

const std::string web_name = "web.default.svc.cluster.local.";

TEST_F(ServerTest, AnswersOverUdpAndTcp) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"));
  const Reply reply = read_reply(udp(ask(web_name, type::a, {.id = 4242})));
  EXPECT_EQ(reply.rcode, "NOERROR");
  ASSERT_EQ(reply.answer.size(), 1u);
  EXPECT_EQ(reply.answer[0], web_name + " 5 A 10.0.0.1");
  const net::Fd fd = connect(SOCK_STREAM);
  const std::string query = framed(ask(web_name, type::a));
  ::send(fd.get(), query.data(), query.size(), 0);
  EXPECT_EQ(read_reply(read_framed(fd.get())).answer.size(), 1u);
  const Status status = server_->status();
  EXPECT_TRUE(status.ready);
  EXPECT_EQ(status.queries, 2u);
  EXPECT_EQ(status.zones, 1u);
  EXPECT_THAT(status.listening, Contains(cat("udp 127.0.0.1:", port_)));
  EXPECT_THAT(status.listening, Contains(cat("tcp 127.0.0.1:", port_)));
}

TEST_F(ServerTest, ManyClientsReachEveryWorker) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 3);
  for (uint16_t id = 0; id < 100; ++id) {
    const std::string wire = udp(ask(web_name, type::a, {.id = id}));
    ASSERT_EQ(read_reply(wire).answer.size(), 1u);
    EXPECT_EQ(read16(reinterpret_cast<const uint8_t*>(wire.data())), id);
  }
  EXPECT_EQ(server_->status().queries, 100u);
}

TEST_F(ServerTest, BurstsAreAnsweredWhole) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 1);
  const net::Fd fd = connect(SOCK_DGRAM);
  std::set<uint16_t> missing;
  for (uint16_t id = 0; id < 100; ++id) {
    const std::string query = ask(web_name, type::a, {.id = id});
    ASSERT_GT(::send(fd.get(), query.data(), query.size(), 0), 0);
    missing.insert(id);
  }
  for (int i = 0; i < 100; ++i) {
    uint8_t buffer[1500];
    ASSERT_GT(::recv(fd.get(), buffer, sizeof buffer, 0), 12);
    missing.erase(read16(buffer));
  }
  EXPECT_TRUE(missing.empty());
}

TEST_F(ServerTest, RepliesComeFromTheAddressThatWasAsked) {
  auto parsed = parse_corefile(cat(".:", port_, " {\n kubernetes cluster.local\n}"), "Corefile");
  auto server = Server::create(*parsed, {.workers = 1}, log_, registry_);  // every address
  ASSERT_TRUE((*server)->start());
  server_ = std::move(*server);
  publish_cluster();
  for (const std::string_view text : {"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"}) {
    const Ip ip = *Ip::parse(text);
    const net::Fd fd(::socket(ip.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto raw = net::to_raw({ip, port_});
    if (!fd || ::connect(fd.get(), raw.get(), raw.size) != 0) continue;  // no IPv6 here
    set_timeout(fd.get(), 3000);
    const std::string query = ask(web_name, type::a);
    ::send(fd.get(), query.data(), query.size(), 0);
    char buffer[1500];
    // A connected socket takes replies from the address that it asked only.
    EXPECT_GT(::recv(fd.get(), buffer, sizeof buffer, 0), 12) << text;
  }
}

TEST_F(ServerTest, TcpRequestsMayBePipelinedAndCutAnywhere) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 1);
  const net::Fd fd = connect(SOCK_STREAM);
  std::string stream;
  for (uint16_t id = 0; id < 20; ++id) stream += framed(ask(web_name, type::a, {.id = id}));
  for (size_t at = 0; at < stream.size(); at += 7) {
    const std::string part = stream.substr(at, 7);
    ASSERT_EQ(::send(fd.get(), part.data(), part.size(), 0), static_cast<ssize_t>(part.size()));
    if (at % 70 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::shutdown(fd.get(), SHUT_WR);
  std::set<uint16_t> ids;
  for (int i = 0; i < 20; ++i) {
    const std::string reply = read_framed(fd.get());
    ASSERT_FALSE(reply.empty());
    ids.insert(read16(reinterpret_cast<const uint8_t*>(reply.data())));
  }
  EXPECT_EQ(ids.size(), 20u);
  EXPECT_EQ(read_framed(fd.get()), "");  // closed after the last reply
}

TEST_F(ServerTest, TcpFramesThatCannotBeRequestsCloseTheConnection) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 1);
  for (const std::string& bytes :
       {std::string("\x00\x00", 2), std::string("\x00\x05hello", 7), std::string("\xff\xff", 2)}) {
    const net::Fd fd = connect(SOCK_STREAM);
    ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    char byte;
    EXPECT_LE(::recv(fd.get(), &byte, 1, 0), 0) << hex(bytes);
  }
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "NOERROR");
}

TEST_F(ServerTest, GarbageIsSurvived) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 1);
  const net::Fd fd = connect(SOCK_DGRAM);
  uint32_t state = 1;
  for (int i = 0; i < 500; ++i) {
    std::string bytes(static_cast<size_t>(i % 90), '\0');
    for (char& c : bytes) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    ::send(fd.get(), bytes.data(), bytes.size(), 0);
  }
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "NOERROR");
}

TEST_F(ServerTest, ChangesShowAtOnceAndBeforeThemNothingIsDenied) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 2, false);
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "SERVFAIL");
  EXPECT_FALSE(server_->status().ready);
  publish_cluster();
  EXPECT_TRUE(server_->status().ready);
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "NOERROR");
  EXPECT_EQ(read_reply(udp(ask("new.default.svc.cluster.local.", type::a))).rcode, "NXDOMAIN");
  publish_cluster(
      "apiVersion: v1\nkind: Service\nmetadata: {name: new, namespace: default}\n"
      "spec: {clusterIP: 10.0.0.9, ports: [{port: 80}]}\n");
  EXPECT_EQ(read_reply(udp(ask("new.default.svc.cluster.local.", type::a))).rcode, "NOERROR");
  builder_.erase(api::Kind::service, {"default", "web"});
  const auto tick = builder_.take();
  server_->publish(tick.snapshot, tick.changes);
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "NXDOMAIN");
}

TEST_F(ServerTest, ForwardsToARealUpstream) {
  const FakeUpstream upstream;
  start(cat(".:", port_, " {\n errors\n kubernetes cluster.local\n forward . 127.0.0.1:",
            upstream.port(), "\n}"),
        1);
  const Reply plain = read_reply(udp(ask("Plain.example.org.", type::a, {.id = 99})));
  EXPECT_EQ(plain.rcode, "NOERROR");
  EXPECT_EQ(plain.question, "Plain.example.org. A");
  ASSERT_EQ(plain.answer.size(), 1u);
  EXPECT_EQ(read_reply(udp(ask("nx.example.org.", type::a))).rcode, "NXDOMAIN");
  // Truncated over UDP: asked again over TCP, and cut for this client in turn.
  const Reply big = read_reply(udp(ask("big.example.org.", type::a)));
  EXPECT_THAT(big.flags, HasSubstr("tc"));
  const net::Fd fd = connect(SOCK_STREAM);
  const std::string query = framed(ask("big.example.org.", type::a));
  ::send(fd.get(), query.data(), query.size(), 0);
  EXPECT_EQ(read_reply(read_framed(fd.get())).answer.size(), 100u);
  // Nobody, and a forger.
  EXPECT_EQ(read_reply(udp(ask("silent.example.org.", type::a))).rcode, "SERVFAIL");
  const Status status = server_->status();
  ASSERT_FALSE(status.errors.empty());
  EXPECT_THAT(status.errors[0], HasSubstr("SERVFAIL silent.example.org. A"));
  EXPECT_EQ(read_reply(udp(ask("wrong.example.org.", type::a))).rcode, "SERVFAIL");
}

TEST_F(ServerTest, StoppingWithQueriesUnderWayIsClean) {
  const FakeUpstream upstream;
  start(cat(".:", port_, " {\n forward . 127.0.0.1:", upstream.port(), "\n}"), 2);
  const net::Fd datagram = connect(SOCK_DGRAM), stream = connect(SOCK_STREAM);
  for (uint16_t id = 0; id < 50; ++id) {
    const std::string query = ask("silent.example.org.", type::a, {.id = id});
    ::send(datagram.get(), query.data(), query.size(), 0);
    const std::string frame = framed(query);
    ::send(stream.get(), frame.data(), frame.size(), MSG_NOSIGNAL);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server_.reset();
  char byte;
  EXPECT_LE(::recv(stream.get(), &byte, 1, 0), 0);
}

TEST_F(ServerTest, PagesOfHealthReadyAndPrometheus) {
  const uint16_t health = free_port(), metrics = free_port();
  start(cat(".:", port_, " {\n health 127.0.0.1:", health, "\n ready 127.0.0.1:", health,
            "\n prometheus 127.0.0.1:", metrics, "\n kubernetes cluster.local\n}"),
        1, false);
  EXPECT_EQ(get(health, "/health").status, 200);
  EXPECT_EQ(get(health, "/health").body, "OK");
  EXPECT_EQ(get(health, "/ready").status, 503);
  EXPECT_EQ(get(health, "/ready").body, "kubernetes");
  publish_cluster();
  EXPECT_EQ(get(health, "/ready").status, 200);
  EXPECT_EQ(get(health, "/other").status, 404);
  udp(ask(web_name, type::a));
  const auto page = get(metrics, "/metrics");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr(cat("coredns_dns_requests_total{server=\"dns://:", port_,
                                       "\",zone=\".\",view=\"\",proto=\"udp\",family=\"1\","
                                       "type=\"A\"} 1\n")));
}

TEST_F(ServerTest, LameduckAnswersWhileNotReady) {
  const uint16_t health = free_port();
  start(cat(".:", port_, " {\n health 127.0.0.1:", health, " {\n  lameduck 500ms\n }\n",
            " ready 127.0.0.1:", health, "\n kubernetes cluster.local\n}"),
        1);
  EXPECT_EQ(get(health, "/ready").status, 200);
  std::thread stopping([this] { server_.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_EQ(get(health, "/ready").status, 503);
  EXPECT_EQ(get(health, "/health").status, 200);
  EXPECT_EQ(read_reply(udp(ask(web_name, type::a))).rcode, "NOERROR");
  stopping.join();
}

TEST_F(ServerTest, ErrorsOfBindingNameLineAndAddress) {
  const auto held = net::bind_udp({loopback.ip, port_});
  ASSERT_TRUE(held);
  auto parsed = parse_corefile(cat("# first\n.:", port_, " {\n errors\n}"), "Corefile");
  auto server = Server::create(*parsed, {.workers = 1, .bind = {loopback.ip}}, log_, registry_);
  const auto started = (*server)->start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, StartsWith(cat("Corefile:2: udp 127.0.0.1:", port_)));

  const auto tcp = net::listen_tcp(loopback);
  const uint16_t taken = net::local_address(tcp->get())->port;
  const uint16_t other = free_port();
  parsed = parse_corefile(cat(".:", other, " {\n\n health 127.0.0.1:", taken, "\n}"), "Corefile");
  server = Server::create(*parsed, {.workers = 1, .bind = {loopback.ip}}, log_, registry_);
  const auto health = (*server)->start();
  ASSERT_FALSE(health);
  EXPECT_THAT(health.error().message, StartsWith(cat("Corefile:3: health: 127.0.0.1:", taken)));
}

TEST_F(ServerTest, ForwardingToItselfIsAnError) {
  const auto parsed =
      parse_corefile(cat(".:", port_, " {\n forward . 127.0.0.1:", port_, "\n}"), "Corefile");
  auto server = Server::create(*parsed, {.workers = 1, .bind = {loopback.ip}}, log_, registry_);
  const auto started = (*server)->start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("Corefile:2: forward: 127.0.0.1:"));
  EXPECT_THAT(started.error().message, HasSubstr("is this server itself"));
}

std::string run_dig(uint16_t port, const std::string& arguments) {
  const std::string command =
      cat("dig @127.0.0.1 -p ", port, " +tries=1 +time=3 ", arguments, " 2>&1");
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return out;
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) out.append(buffer, got);
  ::pclose(pipe);
  return out;
}

TEST_F(ServerTest, DigAgrees) {
  if (std::system("dig -v >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "dig is not installed (package bind9-dnsutils)";
  }
  start(cat(".:", port_, " {\n kubernetes cluster.local in-addr.arpa\n}"), 1);
  struct Case {
    std::string arguments;
    std::vector<std::string_view> expected;
  };
  // The query of RFC 8906 section 8 each, as its examples write them.
  const std::vector<Case> cases = {
      {"+short web.default.svc.cluster.local A", {"10.0.0.1\n"}},
      {"+short +tcp web.default.svc.cluster.local A", {"10.0.0.1\n"}},
      {"+short -x 10.0.0.1", {"web.default.svc.cluster.local.\n"}},
      {"+short _http._tcp.web.default.svc.cluster.local SRV",
       {"0 100 80 web.default.svc.cluster.local.\n"}},
      {"+norec +noedns cluster.local SOA", {"status: NOERROR", "flags: qr aa;", "SOA"}},
      {"+norec +noedns cluster.local TYPE1000", {"status: NOERROR", "ANSWER: 0", "flags: qr aa;"}},
      {"+norec +noedns +header-only", {"status: FORMERR"}},
      {"+norec +opcode=15 +header-only", {"status: NOTIMP", "opcode: RESERVED15"}},
      {"+norec +edns=0 +nocookie cluster.local SOA", {"status: NOERROR", "EDNS: version: 0"}},
      {"+norec +edns=1 +noednsneg +nocookie cluster.local SOA",
       {"status: BADVERS", "EDNS: version: 0"}},
      {"+norec +ednsopt=100 +nocookie cluster.local SOA", {"status: NOERROR", "EDNS: version: 0"}},
      {"+norec +edns=1 +noednsneg +ednsopt=100 +nocookie cluster.local SOA", {"status: BADVERS"}},
      {"+norec +ednsflags=0x40 +nocookie cluster.local SOA", {"status: NOERROR"}},
      {"+norec +dnssec +nocookie cluster.local SOA", {"status: NOERROR", "flags: do"}},
      {"+norec +cookie cluster.local SOA", {"status: NOERROR"}},
      {"+norec +bufsize=512 +nocookie cluster.local SOA", {"status: NOERROR"}},
      {"+norec +tcp +nocookie cluster.local SOA", {"status: NOERROR"}},
      {"+norec cluster.local AXFR", {"Transfer failed"}},
      {"WEB.default.svc.CLUSTER.local A", {"WEB.default.svc.CLUSTER.local. 5 IN"}},
      {"none.default.svc.cluster.local A", {"status: NXDOMAIN", "hostmaster.cluster.local."}},
      {"web.default.svc.cluster.local ANY +notcp", {"RFC8482"}},
      {"-c CH version.bind TXT", {"status: REFUSED"}},
  };
  for (const auto& c : cases) {
    std::string out = run_dig(port_, c.arguments);
    std::replace(out.begin(), out.end(), '\t', ' ');
    for (const auto expected : c.expected) {
      EXPECT_THAT(out, HasSubstr(expected)) << "dig " << c.arguments;
    }
  }
}

}  // namespace
}  // namespace fairlead::dns::testing

// The whole server over real sockets on loopback.
#include "dns/server.h"

#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "server_rig.h"
namespace fairlead::dns::testing {
namespace {
using ::testing::Contains;
using ::testing::HasSubstr;
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
    const char* ci = std::getenv("CI");
    ASSERT_FALSE(ci != nullptr && std::string_view(ci) == "true") << "dig is not installed";
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

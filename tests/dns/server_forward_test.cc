// The server and an upstream, over real sockets.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "server_rig.h"
namespace fairlead::dns::testing {
namespace {
using ::testing::HasSubstr;
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
class ServerForwardTest : public ServerTest {};

TEST_F(ServerForwardTest, ForwardsToARealUpstream) {
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

TEST_F(ServerForwardTest, StoppingWithQueriesUnderWayIsClean) {
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

TEST_F(ServerForwardTest, ForwardingToItselfIsAnError) {
  const auto parsed =
      parse_corefile(cat(".:", port_, " {\n forward . 127.0.0.1:", port_, "\n}"), "Corefile");
  auto server = Server::create(*parsed, {.workers = 1, .bind = {loopback.ip}}, log_, registry_);
  const auto started = (*server)->start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().message, HasSubstr("Corefile:2: forward: 127.0.0.1:"));
  EXPECT_THAT(started.error().message, HasSubstr("is this server itself"));
}

}  // namespace
}  // namespace fairlead::dns::testing

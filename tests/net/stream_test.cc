#include "net/stream.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <functional>

#include "net/event_loop.h"
#include "net/socket.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

using std::chrono::milliseconds;

// Writes down what a stream calls back, and does what the test says.
struct Recorder : Stream::Handler {
  void on_open() override { note("open"); }
  void on_input() override {
    if (keep_input) {
      note("input");
      return;
    }
    got += stream->input();
    stream->consume(stream->input().size());
    note("input");
  }
  void on_sent() override { note("sent"); }
  void on_eof() override { note("eof"); }
  void on_failed(const Error& error) override {
    failure = error.message;
    note("failed");
  }
  void note(const std::string& what) {
    if (log.empty() || log.back() != what) log.push_back(what);
    if (action) action(what);
  }
  bool saw(const std::string& what) const { return std::ranges::find(log, what) != log.end(); }

  std::unique_ptr<Stream> stream;
  std::function<void(const std::string&)> action;
  std::vector<std::string> log;
  std::string got, failure;
  bool keep_input = false;
};

// Two streams that are each other's peer.
struct StreamRig {
  explicit StreamRig(bool tls) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client.stream = std::make_unique<Stream>(loop, Fd(fds[0]), Stream::Role::client,
                                             tls ? client_tls() : nullptr, client, "localhost");
    server.stream = std::make_unique<Stream>(loop, Fd(fds[1]), Stream::Role::server,
                                             tls ? server_tls() : nullptr, server);
  }
  bool run_until(const std::function<bool()>& done) {
    for (int i = 0; i < 2'000 && !done(); ++i) loop.run_once(milliseconds(2));
    return done();
  }
  void settle() {
    for (int i = 0; i < 20; ++i) loop.run_once(milliseconds(1));
  }

  EventLoop loop;
  Recorder client, server;
};

class StreamOver : public testing::TestWithParam<bool> {};

TEST_P(StreamOver, BytesGoBothWaysAndEndInOrder) {
  StreamRig rig(GetParam());
  rig.client.stream->write("written before it is open");
  EXPECT_TRUE(rig.client.log.empty()) << "callbacks come from the loop";
  ASSERT_TRUE(rig.run_until([&] { return rig.server.got == "written before it is open"; }));
  rig.server.stream->write("answer");
  ASSERT_TRUE(rig.run_until([&] { return rig.client.got == "answer"; }));
  rig.client.stream->write("last words");
  rig.client.stream->shutdown_write();
  rig.client.stream->write("not sent any more");
  ASSERT_TRUE(rig.run_until([&] { return rig.server.saw("eof"); }));
  EXPECT_EQ(rig.server.got, "written before it is openlast words");
  rig.server.stream->write("still heard");
  rig.server.stream->shutdown_write();
  ASSERT_TRUE(rig.run_until([&] { return rig.client.saw("eof"); }));
  EXPECT_EQ(rig.client.got, "answerstill heard");
  EXPECT_EQ(rig.client.log.front(), "open");
  EXPECT_EQ(rig.server.log.front(), "open");
}

TEST_P(StreamOver, LargeAmountsArriveWholeBothWaysAtOnce) {
  StreamRig rig(GetParam());
  std::string up, down;
  for (int i = 0; i < 3'000'000; ++i) up += static_cast<char>('a' + i % 23);
  for (int i = 0; i < 5'000'000; ++i) down += static_cast<char>('A' + i % 19);
  rig.client.stream->write(up);
  rig.server.stream->write(down);
  ASSERT_TRUE(rig.run_until(
      [&] { return rig.server.got.size() == up.size() && rig.client.got.size() == down.size(); }));
  EXPECT_TRUE(rig.server.got == up);
  EXPECT_TRUE(rig.client.got == down);
  EXPECT_EQ(rig.client.stream->unsent_bytes(), 0u);
  EXPECT_TRUE(rig.run_until([&] { return rig.client.saw("sent") && rig.server.saw("sent"); }));
  EXPECT_GE(rig.client.stream->moved_bytes(), up.size() + down.size());
}

TEST_P(StreamOver, ReadingPausesUntilInputIsConsumed) {
  StreamRig rig(GetParam());
  rig.server.keep_input = true;
  const std::string bytes(4'000'000, 'z');
  rig.client.stream->write(bytes);
  rig.settle();
  const size_t held = rig.server.stream->input().size();
  EXPECT_GE(held, Stream::max_input_bytes);
  EXPECT_LT(held, 2 * Stream::max_input_bytes);
  EXPECT_GT(rig.client.stream->unsent_bytes(), 1'000'000u);
  rig.settle();
  EXPECT_EQ(rig.server.stream->input().size(), held);
  rig.server.keep_input = false;
  rig.server.got = rig.server.stream->input();
  rig.server.stream->consume(held);
  EXPECT_TRUE(rig.run_until([&] { return rig.server.got.size() == bytes.size(); }));
}

TEST_P(StreamOver, ConsumedInPiecesLeavesTheRest) {
  StreamRig rig(GetParam());
  rig.server.keep_input = true;
  rig.client.stream->write("abcdef");
  ASSERT_TRUE(rig.run_until([&] { return rig.server.stream->input() == "abcdef"; }));
  rig.server.stream->consume(2);
  EXPECT_EQ(rig.server.stream->input(), "cdef");
  rig.client.stream->write("ghi");
  ASSERT_TRUE(rig.run_until([&] { return rig.server.stream->input() == "cdefghi"; }));
  rig.server.stream->consume(7);
  EXPECT_EQ(rig.server.stream->input(), "");
}

TEST_P(StreamOver, DestroyedInEachCallback) {
  for (const std::string place : {"open", "input", "sent", "eof", "failed"}) {
    SCOPED_TRACE(place);
    StreamRig rig(GetParam());
    size_t calls_after = 0;
    rig.client.action = [&](const std::string& what) {
      if (rig.client.stream == nullptr) ++calls_after;
      if (what == place) rig.client.stream.reset();
      if (what == "open" && rig.client.stream) rig.client.stream->write("hello");
    };
    rig.server.action = [&](const std::string& what) {
      if (what != "input") return;
      rig.server.stream->write("hi");
      if (place != "failed") return rig.server.stream->shutdown_write();
      rig.server.stream->abort_on_close();
      rig.server.stream.reset();
    };
    if (place == "failed") {
      rig.run_until([&] { return rig.server.stream == nullptr; });
      for (int i = 0; i < 50 && rig.client.stream; ++i) {
        rig.client.stream->write("into the void");
        rig.settle();
      }
    }
    EXPECT_TRUE(rig.run_until([&] { return rig.client.stream == nullptr; }));
    rig.settle();
    EXPECT_EQ(calls_after, 0u);
  }
}

TEST_P(StreamOver, PeerThatVanishesIsAFailureOrAnEnd) {
  StreamRig rig(GetParam());
  ASSERT_TRUE(rig.run_until([&] { return rig.client.saw("open") && rig.server.saw("open"); }));
  rig.server.stream.reset();
  EXPECT_TRUE(rig.run_until([&] { return rig.client.saw("failed"); }));
  EXPECT_FALSE(rig.client.failure.empty());
  rig.client.stream->write("to nobody");
  rig.settle();
  EXPECT_EQ(rig.client.log.back(), "failed") << "the last callback";
}

INSTANTIATE_TEST_SUITE_P(Tls, StreamOver, testing::Bool(),
                         [](const auto& row) { return row.param ? "yes" : "no"; });

TEST(StreamTls, EndWithoutCloseNotifyIsAFailureNotAnEnd) {
  StreamRig rig(true);
  ASSERT_TRUE(rig.run_until([&] { return rig.client.saw("open") && rig.server.saw("open"); }));
  rig.server.stream.reset();
  EXPECT_TRUE(rig.run_until([&] { return rig.client.saw("failed"); }));
  EXPECT_FALSE(rig.client.saw("eof")) << "a cut answer must not look whole";
}

TEST(StreamTls, NameThatCannotBeVerifiedIsAFailure) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  const Fd other(fds[1]);
  EventLoop loop;
  Recorder client;
  client.stream =
      std::make_unique<Stream>(loop, Fd(fds[0]), Stream::Role::client, client_tls(), client);
  for (int i = 0; i < 100 && !client.saw("failed"); ++i) loop.run_once(milliseconds(1));
  EXPECT_EQ(client.failure, "TLS: no server name to verify the certificate against");
}

TEST(SocketAddresses, RawFormAndBack) {
  for (const std::string_view text : {"10.1.2.3:80", "[fd00::1]:443", "[::]:0", "0.0.0.0:65535"}) {
    const SocketAddress address = *SocketAddress::parse(text);
    const RawAddress raw = to_raw(address);
    EXPECT_EQ(raw.storage.ss_family, address.ip.is_v4() ? AF_INET : AF_INET6) << text;
    EXPECT_EQ(from_raw(raw.storage), address) << text;
  }
  EXPECT_EQ(from_raw({}).to_string(), "0.0.0.0:0");
}

TEST(Sockets, ShareAPortOnlyWhenAsked) {
  const SocketAddress any = *SocketAddress::parse("127.0.0.1:0");
  const auto udp = bind_udp(any, true);
  ASSERT_TRUE(udp.has_value());
  const SocketAddress taken = local_address(udp->get()).value();
  EXPECT_NE(taken.port, 0);
  EXPECT_TRUE(bind_udp(taken, true).has_value());
  EXPECT_FALSE(bind_udp(taken, false).has_value());
  const auto tcp = listen_tcp(any, true);
  const SocketAddress tcp_taken = local_address(tcp->get()).value();
  EXPECT_TRUE(listen_tcp(tcp_taken, true).has_value());
  EXPECT_FALSE(listen_tcp(tcp_taken, false).has_value());
}

}  // namespace
}  // namespace fairlead::net

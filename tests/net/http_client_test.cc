// The client against a server of bytes: what no well-behaved server would answer.
#include "net/http_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/text.h"
#include "net/socket.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

using std::chrono::milliseconds;

// Answers the n-th request head that arrives (over all connections) with the n-th script line;
// the last one stays for all that follow. "" closes at once; a trailing '!' closes after it.
class ByteServer {
 public:
  ByteServer(EventLoop& loop, std::vector<std::string> script)
      : loop_(loop), script_(std::move(script)) {
    listener_ = listen_tcp(*SocketAddress::parse("127.0.0.1:0")).value();
    address = local_address(listener_.get()).value();
    watch_ = loop.watch(listener_.get(), EPOLLIN, [this](uint32_t) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      ++accepted;
      connections_.push_back(std::make_unique<Connection>());
      Connection* connection = connections_.back().get();
      connection->fd = std::move(fd);
      connection->watch = loop_.watch(connection->fd.get(), EPOLLIN,
                                      [this, connection](uint32_t) { on_readable(*connection); });
    });
  }
  HttpTarget target() const { return {.host = "127.0.0.1", .port = address.port}; }
  void close_all() {
    for (auto& connection : connections_) connection->end();
  }

  SocketAddress address;
  int accepted = 0;
  int requests = 0;
  std::string received;

 private:
  struct Connection {
    void end() {
      watch.reset();
      fd.reset();
    }
    Fd fd;
    Watch watch;
    std::string input;
  };

  void on_readable(Connection& connection) {
    char buffer[65536];
    const ssize_t n = ::recv(connection.fd.get(), buffer, sizeof buffer, 0);
    if (n <= 0) return connection.end();
    connection.input.append(buffer, static_cast<size_t>(n));
    received.append(buffer, static_cast<size_t>(n));
    const size_t end = connection.input.find("\r\n\r\n");
    if (end == std::string::npos) return;
    connection.input.erase(0, end + 4);
    const size_t index = std::min<size_t>(static_cast<size_t>(requests++), script_.size() - 1);
    std::string answer = script_[index];
    if (answer.empty()) return connection.end();
    const bool close = answer.ends_with('!');
    if (close) answer.pop_back();
    ::send(connection.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    if (close) connection.end();
  }

  EventLoop& loop_;
  std::vector<std::string> script_;
  Fd listener_;
  Watch watch_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

struct Rig {
  explicit Rig(std::vector<std::string> script, HttpClient::Options options = {})
      : server(loop, std::move(script)),
        client(std::make_unique<HttpClient>(loop, server.target(), options)) {}

  bool run_until(const std::function<bool()>& done) {
    for (int i = 0; i < 1'000 && !done(); ++i) loop.run_once(milliseconds(5));
    return done();
  }
  Outcome run(HttpRequest request = {}) {
    Outcome outcome;
    const auto call = client->call(std::move(request), outcome.callbacks());
    EXPECT_TRUE(run_until([&] { return outcome.dones > 0; }));
    EXPECT_EQ(outcome.dones, 1);
    return outcome;
  }

  EventLoop loop;
  ByteServer server;
  std::unique_ptr<HttpClient> client;
};

const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Row {
  std::string name, answer;
  int status;            // 0: fails
  std::string expected;  // body, or a part of the error
};

TEST(HttpClientAnswers, AreTakenOrRefused) {
  const Row table[] = {
      {"length", ok, 200, "ok"},
      {"chunks",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200,
       "ok"},
      {"until close", "HTTP/1.1 200 OK\r\n\r\nok!", 200, "ok"},
      {"1.0", "HTTP/1.0 200 OK\r\n\r\nok!", 200, "ok"},
      {"interim answers",
       "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, 200, "ok"},
      {"no content", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""},
      {"error with body", "HTTP/1.1 503 Nope\r\nContent-Length: 4\r\n\r\nbusy", 503, "busy"},
      {"bytes behind the answer", ok + "HTTP/1.1 200 OK\r\n", 200, "ok"},
      {"nothing", "", 0, "without an answer"},
      {"garbage", "SSH-2.0-x\r\n", 0, "malformed answer: the first line is no status line"},
      {"half a head", "HTTP/1.1 200 OK\r\nCont!", 0, "the connection ended inside the head"},
      {"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf!", 0, "after 4 bytes of 9"},
      {"half the chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n!", 0,
       "the connection ended inside the body"},
      {"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 0,
       "the chunked coding of the body is malformed"},
      {"two framings", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       0, "malformed answer"},
      {"only interim", "HTTP/1.1 100 Continue\r\n\r\n!", 0, "without an answer"},
      {"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", 0, "101 without"},
      {"head too large", "HTTP/1.1 200 OK\r\nX: " + std::string(3'000, 'x') + "\r\n\r\n", 0,
       "the head is larger than 2000 bytes"},
  };
  for (const Row& row : table) {
    SCOPED_TRACE(row.name);
    Rig rig({row.answer}, {.max_head_bytes = 2'000});
    const Outcome got = rig.run({.target = "/path"});
    EXPECT_EQ(got.head.status, row.status == 0 ? got.head.status : row.status);
    if (row.status != 0) {
      EXPECT_TRUE(got.result.has_value()) << got.result.error().message;
      EXPECT_EQ(got.body, row.expected);
      EXPECT_EQ(got.heads, 1);
    } else {
      ASSERT_FALSE(got.result.has_value());
      EXPECT_NE(got.result.error().message.find(row.expected), std::string::npos)
          << got.result.error().message;
      EXPECT_TRUE(got.result.error().message.starts_with(
          cat("GET 127.0.0.1:", rig.server.address.port, "/path: ")))
          << got.result.error().message;
    }
  }
}

TEST(HttpClientRequests, AreOnTheWireAsTheyShouldBe) {
  struct Wire {
    HttpRequest request;
    std::string head;
  };
  Wire table[] = {
      {{}, "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"},
      {{.method = "POST", .target = "/x?y"},
       "POST /x?y HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"},
      {{.method = "DELETE", .body = "ab"},
       "DELETE / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nab"},
      {{}, "GET / HTTP/1.1\r\nHost: other\r\nAccept: x\r\n\r\n"},
  };
  table[3].request.headers.add("Host", "other");
  table[3].request.headers.add("Accept", "x");
  for (Wire& row : table) {
    Rig rig({ok});
    std::string expected = row.head;
    if (const size_t at = expected.find("HOST"); at != std::string::npos) {
      expected.replace(at, 4, rig.server.address.to_string());
    }
    EXPECT_TRUE(rig.run(std::move(row.request)).result.has_value());
    EXPECT_EQ(rig.server.received, expected);
  }
}

TEST(HttpClientReuse, OneConnectionServesOneCallAfterTheOther) {
  Rig rig({ok});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(rig.run().body, "ok");
  EXPECT_EQ(rig.server.accepted, 1);
}

TEST(HttpClientReuse, NotAfterCloseOrLeftoverBytes) {
  for (const std::string& answer :
       {std::string("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        ok + "extra"}) {
    Rig rig({answer});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(rig.run().body, "ok");
    EXPECT_EQ(rig.server.accepted, 3);
  }
}

TEST(HttpClientReuse, ClosedWhileIdleIsNotNoticedByTheNextCall) {
  Rig rig({ok});
  EXPECT_EQ(rig.run().body, "ok");
  rig.server.close_all();  // the client finds out at the same time as it sends
  EXPECT_EQ(rig.run().body, "ok");
  EXPECT_EQ(rig.server.accepted, 2);
}

TEST(HttpClientReuse, RequestOnAReusedConnectionIsSentOnceMore) {
  Rig rig({ok, "", ok});
  EXPECT_EQ(rig.run().body, "ok");
  const Outcome second = rig.run({.method = "POST", .body = "data"});
  EXPECT_TRUE(second.result.has_value()) << second.result.error().message;
  EXPECT_EQ(second.body, "ok");
  EXPECT_EQ(rig.server.accepted, 2);
  EXPECT_EQ(rig.server.requests, 3);
}

TEST(HttpClientReuse, ButOnlyOnce) {
  Rig rig({ok, "", ""});
  EXPECT_EQ(rig.run().body, "ok");
  EXPECT_FALSE(rig.run().result.has_value());
  EXPECT_EQ(rig.server.requests, 3);
}

TEST(HttpClientReuse, NotOnceAnAnswerHasBegun) {
  Rig rig({ok, "HTTP/1.1 2!"});
  EXPECT_EQ(rig.run().body, "ok");
  EXPECT_FALSE(rig.run().result.has_value());
  EXPECT_EQ(rig.server.requests, 2);
}

TEST(HttpClientReuse, NotOnAFreshConnection) {
  Rig rig({"", ok});
  EXPECT_FALSE(rig.run().result.has_value());
  EXPECT_EQ(rig.server.requests, 1);
}

TEST(HttpClientReuse, IdleConnectionsAreLimited) {
  Rig rig({ok}, {.max_idle_connections = 2});
  for (int round = 0; round < 2; ++round) {
    std::vector<Outcome> outcomes(6);
    std::vector<std::unique_ptr<HttpCall>> calls;
    for (Outcome& outcome : outcomes) calls.push_back(rig.client->call({}, outcome.callbacks()));
    EXPECT_TRUE(rig.run_until(
        [&] { return std::ranges::all_of(outcomes, [](auto& o) { return o.dones == 1; }); }));
  }
  EXPECT_EQ(rig.server.accepted, 10);
}

TEST(HttpClientTimeouts, NoAnswer) {
  Rig rig({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal"}, {.idle_timeout = milliseconds(40)});
  const Outcome got = rig.run();
  ASSERT_FALSE(got.result.has_value());
  EXPECT_NE(got.result.error().message.find("no byte came for 40 ms"), std::string::npos);
  EXPECT_EQ(got.body, "hal");
}

TEST(HttpClientTimeouts, OneCallMayHaveItsOwn) {
  Rig rig({"HTTP/1.1 200 OK\r\n"}, {.idle_timeout = std::chrono::seconds(60)});
  Outcome outcome;
  const auto call = rig.client->call({}, outcome.callbacks(), milliseconds(30));
  EXPECT_TRUE(rig.run_until([&] { return outcome.dones > 0; }));
  EXPECT_NE(outcome.result.error().message.find("no byte came for 30 ms"), std::string::npos);
}

TEST(HttpClientTimeouts, ConnectCoversTheTlsHandshake) {
  EventLoop loop;
  ByteServer silent(loop, {ok});
  HttpTarget target = silent.target();
  target.tls = client_tls();
  HttpClient client(loop, target, {.connect_timeout = milliseconds(50)});
  Outcome outcome;
  const auto call = client.call({}, outcome.callbacks());
  for (int i = 0; i < 500 && outcome.dones == 0; ++i) loop.run_once(milliseconds(5));
  ASSERT_FALSE(outcome.result.has_value());
  EXPECT_NE(outcome.result.error().message.find("no connection within 50 ms"), std::string::npos);
}

TEST(HttpClientErrors, NobodyListens) {
  EventLoop loop;
  const Fd fd = listen_tcp(*SocketAddress::parse("127.0.0.1:0")).value();
  const SocketAddress address = local_address(fd.get()).value();
  ::shutdown(fd.get(), SHUT_RDWR);
  const std::pair<HttpTarget, std::string> table[] = {
      {{.host = "127.0.0.1", .port = address.port}, "Connection refused"},
      {{.unix_path = "/nonexistent/socket"}, "No such file or directory"},
      {{.unix_path = std::string(200, 'x')}, "1 to 107 bytes"},
      {{.host = "no such host", .port = 80}, "cannot resolve \"no such host\""},
  };
  for (const auto& [target, error] : table) {
    HttpClient client(loop, target);
    Outcome outcome;
    const auto call = client.call({}, outcome.callbacks());
    EXPECT_EQ(outcome.dones, 0) << "never inside call()";
    for (int i = 0; i < 1'000 && outcome.dones == 0; ++i) loop.run_once(milliseconds(5));
    ASSERT_FALSE(outcome.result.has_value());
    EXPECT_NE(outcome.result.error().message.find(error), std::string::npos)
        << outcome.result.error().message;
  }
}

TEST(HttpClientCancel, InEveryPlace) {
  enum Place { at_once, on_head, on_data, on_done };
  for (const Place place : {at_once, on_head, on_data, on_done}) {
    for (const bool client_too : {false, true}) {
      SCOPED_TRACE(cat(static_cast<int>(place), client_too ? " with its client" : ""));
      Rig rig(
          {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"});
      std::unique_ptr<HttpCall> call;
      std::vector<Place> seen;
      const auto at = [&](Place here, const std::string& captured) {
        seen.push_back(here);
        if (here != place) return;
        call.reset();
        if (client_too) rig.client.reset();
        EXPECT_EQ(captured, std::string(100, 'c')) << "captures live until the callback returns";
      };
      HttpCallbacks callbacks;
      const std::string text(100, 'c');
      callbacks.on_head = [&at, text](const HttpHead&) { at(on_head, text); };
      callbacks.on_data = [&at, text](std::string_view) { at(on_data, text); };
      callbacks.on_done = [&at, text](Result<void>) { at(on_done, text); };
      call = rig.client->call({}, std::move(callbacks));
      if (place == at_once) at(at_once, text);
      for (int i = 0; i < 20; ++i) rig.loop.run_once(milliseconds(2));
      ASSERT_FALSE(seen.empty());
      EXPECT_EQ(seen.back(), place);
      EXPECT_EQ(std::ranges::count(seen, place), 1);
    }
  }
}

TEST(HttpClientCancel, WhileResolvingOrConnecting) {
  EventLoop loop;
  HttpClient client(loop, {.host = "localhost", .port = 9});
  Outcome outcome;
  {
    const auto call = client.call({}, outcome.callbacks());
  }
  {
    const auto call = client.call({}, outcome.callbacks());
  }
  for (int i = 0; i < 10; ++i) loop.run_once(milliseconds(2));
  EXPECT_EQ(outcome.dones, 0);
}

TEST(HttpClientCancel, NextCallMayStartInOnDone) {
  Rig rig({ok});
  Outcome second;
  std::unique_ptr<HttpCall> next;
  HttpCallbacks callbacks;
  callbacks.on_done = [&](Result<void>) { next = rig.client->call({}, second.callbacks()); };
  const auto call = rig.client->call({}, std::move(callbacks));
  EXPECT_TRUE(rig.run_until([&] { return second.dones == 1; }));
  EXPECT_EQ(second.body, "ok");
  EXPECT_EQ(rig.server.accepted, 1);
}

TEST(HttpClientNames, LocalhostIsResolved) {
  HttpRig rig(Transport::tls, [](HttpRequest request, std::unique_ptr<Responder> responder) {
    responder->send(HttpResponse::text(200, std::string(request.headers.get("Host"))));
  });
  rig.target.host = "localhost";
  HttpClient client(rig.loop, rig.target);
  const Outcome got = rig.run(client, {});
  EXPECT_TRUE(got.result.has_value()) << got.result.error().message;
  EXPECT_EQ(got.body, cat("localhost:", rig.target.port));
}

}  // namespace
}  // namespace fairlead::net

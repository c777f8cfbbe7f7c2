// The server seen from a raw socket: what no well-behaved client would send.
#include "net/http_server.h"

#include <sys/socket.h>

#include <cerrno>
#include <fstream>

#include "base/text.h"
#include "net/socket.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

using std::chrono::milliseconds;

// Bytes in, bytes out, on the rig's loop.
class RawClient {
 public:
  explicit RawClient(HttpRig& rig) : rig_(rig) {
    auto fd = rig.target.unix_path.empty() ? start_connect(rig.address)
                                           : start_connect_unix(rig.target.unix_path);
    EXPECT_TRUE(fd.has_value());
    fd_ = std::move(*fd);
  }
  void send(std::string_view bytes) {
    size_t sent = 0;
    EXPECT_TRUE(rig_.run_until([&] {
      const ssize_t n = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n > 0) sent += static_cast<size_t>(n);
      return sent == bytes.size() || (n < 0 && errno != EAGAIN);
    }));
  }
  void finish_sending() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }

  void read_some() {
    char buffer[65536];
    for (;;) {
      const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
      if (n > 0) {
        got.append(buffer, static_cast<size_t>(n));
        continue;
      }
      closed = n == 0 || errno != EAGAIN;
      reset = n < 0 && errno == ECONNRESET;
      return;
    }
  }
  bool wait_for(std::string_view part) {
    return rig_.run_until(
               [&] {
                 read_some();
                 return got.find(part) != std::string::npos || closed;
               },
               std::chrono::seconds(5)) &&
           got.find(part) != std::string::npos;
  }
  bool wait_closed() {
    return rig_.run_until([&] { return read_some(), closed; }, std::chrono::seconds(5));
  }

  std::string got;
  bool closed = false;
  bool reset = false;

 private:
  HttpRig& rig_;
  Fd fd_;
};

void echo(HttpRequest request, std::unique_ptr<Responder> responder) {
  responder->send(HttpResponse::text(
      200, cat("<", request.method, " ", request.target, " ", request.body, ">")));
}

// Headers that change from run to run or do not matter, taken out.
std::string without_date(std::string text) {
  for (size_t at; (at = text.find("Date: ")) != std::string::npos;) {
    text.erase(at, text.find("\r\n", at) + 2 - at);
  }
  return text;
}

const std::string get_close = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

size_t occurrences(std::string_view text, std::string_view part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; ++at) ++count;
  return count;
}

struct Row {
  std::string name, sent;
  std::vector<std::string> parts;  // in this order
  size_t answers = 1;
};

const std::vector<Row> answers_and_closes = {
    {"one", get_close, {"HTTP/1.1 200 OK\r\n", "Connection: close\r\n", "<GET /last >"}},
    {"pipelined",
     "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: "
     "3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a\r\n\r\n" +
         get_close,
     {"<GET /1 >", "<PUT /2 abc>", "<GET /3 >", "<GET /last >"},
     4},
    {"1.0", "GET /x HTTP/1.0\r\n\r\n", {"HTTP/1.1 200 OK", "Connection: close", "<GET /x >"}},
    {"1.0 keep-alive",
     "GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + get_close,
     {"Connection: keep-alive\r\n", "<GET /x >", "Connection: close\r\n", "<GET /last >"},
     2},
    {"chunked body",
     "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
         get_close,
     {"<PUT /x abc>", "<GET /last >"},
     2},
    {"continue without waiting",
     "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" +
         get_close,
     {"HTTP/1.1 200 OK", "<PUT /x abc>", "<GET /last >"},
     2},
    {"malformed",
     "GET / HTTP/1.1\r\nBad Header\r\n\r\n",
     {"HTTP/1.1 400 Bad Request\r\n", "Connection: close", "line 2 of the head"}},
    {"good, then malformed",
     "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n",
     {"<GET /1 >", "HTTP/1.1 400 Bad Request\r\n"},
     2},
    {"smuggled request is not read",
     "PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
     {"HTTP/1.1 400 Bad Request\r\n"}},
    {"version", "GET / HTTP/3.0\r\n\r\n", {"HTTP/1.1 505 HTTP Version Not Supported\r\n"}},
    {"coding",
     "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
     {"HTTP/1.1 501 Not Implemented\r\n"}},
    {"expectation",
     "GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n",
     {"HTTP/1.1 417 Expectation Failed\r\n"}},
    {"too large by length",
     "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'b'),
     {"HTTP/1.1 413 Content Too Large\r\n"}},
    {"too large by chunks",
     "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
         std::string(1001, 'b'),
     {"HTTP/1.1 413 Content Too Large\r\n"}},
    {"head too large",
     "GET / HTTP/1.1\r\nX: " + std::string(9'000, 'x'),
     {"HTTP/1.1 431 Request Header Fields Too Large\r\n"}},
    {"target too long", "GET /" + std::string(9'000, 'x'), {"HTTP/1.1 414 URI Too Long\r\n"}},
};

TEST(HttpServerRaw, AnswersAndCloses) {
  for (const Row& row : answers_and_closes) {
    SCOPED_TRACE(row.name);
    HttpRig rig(Transport::tcp, echo, {.max_head_bytes = 8'000, .max_body_bytes = 1'000});
    RawClient client(rig);
    client.send(row.sent);
    EXPECT_TRUE(client.wait_closed());
    EXPECT_FALSE(client.reset) << "the peer would lose the answer";
    size_t at = 0;
    for (const std::string& part : row.parts) {
      const size_t found = client.got.find(part, at);
      EXPECT_NE(found, std::string::npos) << part << " in\n" << client.got;
      if (found != std::string::npos) at = found + part.size();
    }
    EXPECT_EQ(occurrences(client.got, "\r\nDate: "), row.answers) << client.got;
    client.close();
    EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() == 0; }));
  }
}

TEST(HttpServerRaw, AsksForTheBodyWhenTheClientWaits) {
  HttpRig rig(Transport::tcp, echo);
  RawClient client(rig);
  client.send("PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  ASSERT_TRUE(client.wait_for("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("abc");
  ASSERT_TRUE(client.wait_for("<PUT /x abc>"));
  EXPECT_EQ(without_date(client.got),
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
            "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 12\r\n\r\n<PUT /x abc>");
}

TEST(HttpServerRaw, DoesNotAskForABodyThatItRefuses) {
  HttpRig rig(Transport::tcp, echo);
  RawClient client(rig);
  client.send(
      "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 99000000\r\n\r\n");
  EXPECT_TRUE(client.wait_for("HTTP/1.1 413"));
  EXPECT_EQ(client.got.find("100 Continue"), std::string::npos);
}

TEST(HttpServerRaw, StreamsToOldClientsUntilClose) {
  HttpRig rig(Transport::tcp, [](HttpRequest, std::unique_ptr<Responder> responder) {
    responder->start({});
    responder->write("one ");
    responder->write("two");
    responder->finish();
  });
  RawClient client(rig);
  client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(without_date(client.got), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none two");
}

TEST(HttpServerRaw, ChunksAreOnTheWireAsTheyAreWritten) {
  HttpRig rig(Transport::tcp, [](HttpRequest, std::unique_ptr<Responder> responder) {
    responder->start({});
    responder->write("hello, ");
    responder->write("");
    responder->write("sixteen bytes...");
    responder->finish();
  });
  RawClient client(rig);
  client.send(get_close);
  EXPECT_TRUE(client.wait_closed());
  EXPECT_EQ(without_date(client.got),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            "7\r\nhello, \r\n10\r\nsixteen bytes...\r\n0\r\n\r\n");
}

TEST(HttpServerRaw, ClientThatStopsSendingStillGetsItsAnswer) {
  for (const bool late : {false, true}) {
    SCOPED_TRACE(late);
    std::unique_ptr<Responder> held;
    HttpRig rig(Transport::tcp, [&](HttpRequest, std::unique_ptr<Responder> responder) {
      if (!late) return responder->send(HttpResponse::text(200, std::string(2'000'000, 'x')));
      held = std::move(responder);
    });
    RawClient client(rig);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.finish_sending();
    if (late) {
      ASSERT_TRUE(rig.run_until([&] { return held != nullptr; }));
      for (int i = 0; i < 5; ++i) rig.loop.run_once(milliseconds(2));
      held->send(HttpResponse::text(200, std::string(2'000'000, 'x')));
    }
    EXPECT_TRUE(client.wait_closed());
    EXPECT_GT(client.got.size(), 2'000'000u);
  }
}

struct Timeout {
  std::string name, sent;
  std::string expected;  // "" = closed without a word
};

TEST(HttpServerRaw, SlowClientsAreCutOff) {
  const Timeout table[] = {
      {"nothing sent", "", ""},
      {"head unfinished", "GET / HTTP/1.1\r\nHo", "HTTP/1.1 408 Request Timeout\r\n"},
      {"body unfinished", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
       "HTTP/1.1 408 Request Timeout\r\n"},
      {"nothing after an answer", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
  };
  for (const Timeout& row : table) {
    SCOPED_TRACE(row.name);
    HttpRig rig(Transport::tcp, echo,
                {.head_timeout = milliseconds(40), .idle_timeout = milliseconds(60)});
    RawClient client(rig);
    client.send(row.sent);
    EXPECT_TRUE(client.wait_closed());
    EXPECT_TRUE(row.expected.empty() ? client.got.empty() : client.got.starts_with(row.expected))
        << client.got;
  }
}

TEST(HttpServerRaw, DrippingAHeadDoesNotExtendItsTime) {
  HttpRig rig(Transport::tcp, echo,
              {.head_timeout = milliseconds(60), .idle_timeout = std::chrono::seconds(20)});
  RawClient client(rig);
  client.send("GET / HTTP/1.1\r\nX: ");
  const auto start = std::chrono::steady_clock::now();
  while (!client.closed && std::chrono::steady_clock::now() - start < std::chrono::seconds(5)) {
    client.send("y");
    rig.loop.run_once(milliseconds(5));
    client.read_some();
    if (client.got.find(" 408 ") != std::string::npos) break;
  }
  EXPECT_NE(client.got.find("HTTP/1.1 408"), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(HttpServerRaw, SlowBodyThatMovesIsTaken) {
  HttpRig rig(Transport::tcp, echo,
              {.head_timeout = milliseconds(300), .idle_timeout = milliseconds(500)});
  RawClient client(rig);
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
  for (int i = 0; i < 6; ++i) {
    const auto end = std::chrono::steady_clock::now() + milliseconds(120);
    while (std::chrono::steady_clock::now() < end) rig.loop.run_once(milliseconds(5));
    client.send("b");
  }
  EXPECT_TRUE(client.wait_for("<PUT / bbbbbb>")) << client.got;
}

TEST(HttpServerRaw, HandlerMayTakeLongerThanTheTimeouts) {
  std::unique_ptr<Responder> held;
  HttpRig rig(
      Transport::tcp,
      [&](HttpRequest, std::unique_ptr<Responder> responder) { held = std::move(responder); },
      {.head_timeout = milliseconds(10), .idle_timeout = milliseconds(20)});
  RawClient client(rig);
  client.send(get_close);
  rig.run_until([] { return false; }, milliseconds(120));
  client.read_some();
  EXPECT_FALSE(client.closed);
  held->send(HttpResponse::text(200, "patience"));
  EXPECT_TRUE(client.wait_for("patience"));
}

TEST(HttpServerRaw, ReaderThatStallsIsCutOffAndTheHandlerHearsOfIt) {
  int gone = 0;
  std::unique_ptr<Responder> held;
  HttpRig rig(Transport::tcp,
              [&](HttpRequest, std::unique_ptr<Responder> responder) {
                responder->start({});
                responder->write(std::string(16'000'000, 's'));
                EXPECT_GT(responder->unsent_bytes(), 1'000'000u);
                responder->on_gone([&] {
                  ++gone;
                  held.reset();  // may destroy the responder
                });
                held = std::move(responder);
              },
              {.idle_timeout = milliseconds(50)});
  RawClient client(rig);
  client.send(get_close);
  EXPECT_TRUE(rig.run_until([&] { return gone == 1; }));
  EXPECT_EQ(held, nullptr);
  EXPECT_EQ(rig.server.connections(), 0u);
}

TEST(HttpServerRaw, HandlerHearsOfAPeerThatLeavesAStream) {
  for (const Transport transport : {Transport::tcp, Transport::unix_socket}) {
    SCOPED_TRACE(transport_name(transport));
    int gone = 0;
    std::unique_ptr<Responder> held;
    HttpRig rig(transport, [&](HttpRequest, std::unique_ptr<Responder> responder) {
      responder->start({});
      responder->write("first");
      responder->on_gone([&] { ++gone; });
      held = std::move(responder);
    });
    RawClient client(rig);
    client.send(get_close);
    ASSERT_TRUE(client.wait_for("first"));
    client.close();
    EXPECT_TRUE(rig.run_until([&] { return gone == 1; }));
    held->write("to nobody");  // does nothing
    held->finish();
    EXPECT_EQ(held->unsent_bytes(), 0u);
    held.reset();
    EXPECT_EQ(gone, 1);
  }
}

TEST(HttpServerRaw, StreamThatIsDroppedEndsWithoutAFinalChunk) {
  std::unique_ptr<Responder> held;
  HttpRig rig(Transport::tcp, [&](HttpRequest, std::unique_ptr<Responder> responder) {
    responder->start({});
    responder->write("part");
    held = std::move(responder);
  });
  RawClient client(rig);
  client.send(get_close);
  ASSERT_TRUE(client.wait_for("part"));
  held.reset();
  EXPECT_TRUE(client.wait_closed());
  EXPECT_TRUE(client.reset);
  EXPECT_EQ(client.got.find("\r\n0\r\n"), std::string::npos);
}

TEST(HttpServerRaw, ResponderMayOutliveTheServer) {
  std::unique_ptr<Responder> held;
  int gone = 0;
  {
    HttpRig rig(Transport::tcp, [&](HttpRequest, std::unique_ptr<Responder> responder) {
      responder->on_gone([&] { ++gone; });
      held = std::move(responder);
    });
    RawClient client(rig);
    client.send(get_close);
    ASSERT_TRUE(rig.run_until([&] { return held != nullptr; }));
  }
  held->send(HttpResponse::text(200, "too late"));
  held.reset();
  EXPECT_EQ(gone, 0) << "it was the server that went";
}

TEST(HttpServerRaw, ConnectionsAboveTheLimitAreTurnedAway) {
  HttpRig rig(Transport::tcp, echo, {.max_connections = 2});
  RawClient one(rig), two(rig);
  ASSERT_TRUE(rig.run_until([&] { return rig.server.connections() == 2; }));
  RawClient three(rig);
  EXPECT_TRUE(three.wait_closed());
  EXPECT_TRUE(three.got.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_NE(rig.sink.text().find("turning connections away"), std::string::npos);
  one.close();
  ASSERT_TRUE(rig.run_until([&] { return rig.server.connections() == 1; }));
  RawClient four(rig);
  four.send(get_close);
  EXPECT_TRUE(four.wait_for("<GET /last >"));
}

TEST(HttpServerListen, ReportsWhatIsWrong) {
  EventLoop loop;
  MemoryLogSink sink;
  TempDir dir;
  HttpServer one(loop, Log(sink), echo), two(loop, Log(sink), echo);
  const auto bound = one.listen(*SocketAddress::parse("127.0.0.1:0"));
  ASSERT_TRUE(bound.has_value());
  const auto again = two.listen(*bound);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().message,
            cat("cannot bind ", bound->to_string(), ": Address already in use"));
  EXPECT_FALSE(two.listen(*SocketAddress::parse("192.0.2.1:80")).has_value());

  const std::string path = dir.file("socket");
  ASSERT_TRUE(one.listen_unix(path, 0640).has_value());
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
  EXPECT_EQ(two.listen_unix(path).error().message,
            cat("cannot listen on ", path, ": the socket is in use"));
  EXPECT_FALSE(two.listen_unix("/nonexistent/folder/socket").has_value());
  EXPECT_FALSE(two.listen_unix("").has_value());
  EXPECT_NE(two.listen_unix("/" + std::string(200, 'p')).error().message.find("1 to 107 bytes"),
            std::string::npos);
  std::ofstream(dir.file("file")) << "x";
  EXPECT_EQ(two.listen_unix(dir.file("file")).error().message,
            cat("cannot listen on ", dir.file("file"), ": a file that is no socket is there"));
  ::unlink(dir.file("file").c_str());
}

TEST(HttpServerListen, ReplacesAStaleSocketAndRemovesItsOwn) {
  EventLoop loop;
  MemoryLogSink sink;
  TempDir dir;
  const std::string path = dir.file("socket");
  {
    const Fd stale = listen_unix(path, 0600).value();
  }
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  {
    HttpServer server(loop, Log(sink), echo);
    EXPECT_TRUE(server.listen_unix(path).has_value());
  }
  EXPECT_NE(::stat(path.c_str(), &info), 0);
}

TEST(HttpServerListen, ServesBothFamiliesOnTheWildcard) {
  EventLoop loop;
  MemoryLogSink sink;
  HttpServer server(loop, Log(sink), echo);
  const auto bound = server.listen(*SocketAddress::parse(":0"));
  ASSERT_TRUE(bound.has_value());
  std::vector<Fd> clients;
  for (const std::string_view host : {"127.0.0.1", "::1"}) {
    auto fd = start_connect({*Ip::parse(host), bound->port});
    if (!fd && host == "::1") continue;  // no IPv6 here
    ASSERT_TRUE(fd.has_value()) << fd.error().message;
    clients.push_back(std::move(*fd));
    for (int i = 0; i < 100 && server.connections() < clients.size(); ++i) {
      loop.run_once(milliseconds(5));
    }
    EXPECT_EQ(server.connections(), clients.size());
  }
}

}  // namespace
}  // namespace fairlead::net

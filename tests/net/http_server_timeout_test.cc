// How long the server waits for each side, and what happens after that.
#include "tests/net/raw_client.h"
namespace fairlead::net {
namespace {
using std::chrono::milliseconds;
struct Timeout {
  std::string name, sent;
  std::string expected;  // "" = closed without a word
};

TEST(HttpServerTimeout, SlowClientsAreCutOff) {
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

TEST(HttpServerTimeout, DrippingAHeadDoesNotExtendItsTime) {
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

TEST(HttpServerTimeout, SlowBodyThatMovesIsTaken) {
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

TEST(HttpServerTimeout, HandlerMayTakeLongerThanTheTimeouts) {
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

TEST(HttpServerTimeout, ReaderThatStallsIsCutOffAndTheHandlerHearsOfIt) {
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

}  // namespace
}  // namespace fairlead::net

// The server seen from a raw socket: what it answers, byte by byte.
#include "net/http_server.h"

#include "tests/net/raw_client.h"
namespace fairlead::net {
namespace {
using std::chrono::milliseconds;
// Headers that change from run to run or do not matter, taken out.
std::string without_date(std::string text) {
  for (size_t at; (at = text.find("Date: ")) != std::string::npos;) {
    text.erase(at, text.find("\r\n", at) + 2 - at);
  }
  return text;
}
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

}  // namespace
}  // namespace fairlead::net

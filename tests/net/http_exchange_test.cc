// One table of exchanges drives client and server together, over TCP, TLS and unix sockets.
#include <algorithm>

#include "base/text.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

// What a request came to, seen from the server, or an answer of a given shape:
// /echo, /status/N, /stream/CHUNKS/BYTES, /big/BYTES, /peer, /header, /late, /never
class Demo {
 public:
  explicit Demo(EventLoop& loop) : loop_(loop) {}

  void handle(HttpRequest request, std::unique_ptr<Responder> responder) {
    const std::string path(request.path());
    const auto parts = split(path, '/');
    const std::string_view kind = parts.size() > 1 ? parts[1] : "";
    const auto number = [&](size_t i) {
      return static_cast<size_t>(parts.size() > i ? parse_int(parts[i]).value_or(0) : 0);
    };
    if (kind == "echo") {
      responder->send(
          HttpResponse::text(200, cat(request.method, " ", request.target, " ",
                                      request.headers.get("X-Test"), " ", request.body)));
    } else if (kind == "status") {
      responder->send(HttpResponse::text(static_cast<int>(number(2)), "some text"));
    } else if (kind == "stream") {
      responder->start(HttpResponse{});
      for (size_t i = 0; i < number(2); ++i) {
        responder->write(std::string(number(3), static_cast<char>('a' + i % 26)));
      }
      responder->finish();
    } else if (kind == "big") {
      responder->send(HttpResponse::text(200, std::string(number(2), 'x')));
    } else if (kind == "peer") {
      responder->send(HttpResponse::text(
          200,
          cat(request.peer.address.substr(0, request.peer.address.find(':')), " ",
              request.peer.uid ? cat(*request.peer.uid) : "-", " ", request.peer.certificate_user,
              " ", join(request.peer.certificate_groups, ","))));
    } else if (kind == "header") {
      HttpResponse response = HttpResponse::text(200, "");
      response.headers.add("X-Bad", "one\r\nInjected: yes");
      response.headers.add("Bad name", "x");
      response.headers.add("Content-Length", "7777");
      response.headers.add("Transfer-Encoding", "gzip");
      responder->send(std::move(response));
    } else if (kind == "late") {
      held_ = std::move(responder);
      timer_ = loop_.after(std::chrono::milliseconds(20), [this] {
        held_->send(HttpResponse::text(200, "late"));
        held_.reset();
      });
    } else if (kind == "broken") {
      responder->start(HttpResponse{});
      responder->write("part");
    }
    // "never": the responder goes away unanswered
  }

 private:
  EventLoop& loop_;
  std::unique_ptr<Responder> held_;
  Timer timer_;
};

struct Case {
  std::string name;
  std::string method, target;
  Pairs headers;
  std::string body;
  int status;            // 0: the call must fail
  std::string expected;  // the body, or a part of the error
  Pairs answer_headers = {};
};

const std::string kilobyte(1000, 'k');

const std::vector<Case>& cases() {
  static const std::vector<Case> table = {
      {"get", "GET", "/echo", {}, "", 200, "GET /echo  "},
      {"query", "GET", "/echo?a=%20b&c", {}, "", 200, "GET /echo?a=%20b&c  "},
      {"header", "GET", "/echo", {{"X-Test", "v  w"}}, "", 200, "GET /echo v  w "},
      {"post", "POST", "/echo", {}, "hello", 200, "POST /echo  hello"},
      {"empty post", "POST", "/echo", {}, "", 200, "POST /echo  "},
      {"patch", "PATCH", "/echo", {}, "{}", 200, "PATCH /echo  {}"},
      {"delete with body", "DELETE", "/echo", {}, "{}", 200, "DELETE /echo  {}"},
      {"own method", "BREW", "/echo", {}, "", 200, "BREW /echo  "},
      {"body of a kilobyte", "PUT", "/echo", {}, kilobyte, 200, "PUT /echo  " + kilobyte},
      {"body of two megabytes",
       "PUT",
       "/echo",
       {},
       std::string(2'000'000, 'm'),
       200,
       "PUT /echo  " + std::string(2'000'000, 'm')},
      {"expect", "PUT", "/echo", {{"Expect", "100-continue"}}, "x", 200, "PUT /echo  x"},
      {"head", "HEAD", "/big/1234", {}, "", 200, "", {{"Content-Length", "1234"}}},
      {"head of a stream", "HEAD", "/stream/3/10", {}, "", 200, ""},
      {"created", "GET", "/status/201", {}, "", 201, "some text"},
      {"no content", "GET", "/status/204", {}, "", 204, "", {{"Content-Length", ""}}},
      {"not modified", "GET", "/status/304", {}, "", 304, ""},
      {"not found", "GET", "/status/404", {}, "", 404, "some text", {{"Content-Length", "9"}}},
      {"odd status", "GET", "/status/599", {}, "", 599, "some text"},
      {"stream", "GET", "/stream/3/2", {}, "", 200, "aabbcc", {{"Transfer-Encoding", "chunked"}}},
      {"empty stream", "GET", "/stream/0/0", {}, "", 200, ""},
      {"empty writes end nothing", "GET", "/stream/3/0", {}, "", 200, ""},
      {"large stream", "GET", "/stream/26/40000", {}, "", 200, ""},
      {"large answer", "GET", "/big/3000000", {}, "", 200, std::string(3'000'000, 'x')},
      {"late answer", "GET", "/late", {}, "", 200, "late"},
      {"unanswered", "GET", "/never", {}, "", 500, "the request was not answered\n"},
      {"stream that breaks off", "GET", "/broken", {}, "", 0, ""},
      {"no header injection",
       "GET",
       "/header",
       {},
       "",
       200,
       "",
       {{"X-Bad", "one  Injected: yes"},
        {"Injected", ""},
        {"Content-Length", "0"},
        {"Transfer-Encoding", ""}}},
      {"body too large", "PUT", "/echo", {}, std::string(3'200'000, 'm'), 413, ""},
      {"odd expectation", "PUT", "/echo", {{"Expect", "tea"}}, "x", 417, ""},
      {"head too large", "GET", "/echo", {{"X-Long", std::string(70'000, 'h')}}, "", 431, ""},
      {"uri too long", "GET", "/" + std::string(70'000, 'u'), {}, "", 414, ""},
      {"bad method", "GE T", "/", {}, "", 0, "request method \"GE T\" is no token"},
      {"bad target", "GET", "/a b", {}, "", 0, "request target: expected a path"},
      {"bad header value", "GET", "/", {{"X", "a\nb"}}, "", 0, "request header X: the value has"},
      {"bad header name", "GET", "/", {{"X Y", "a"}}, "", 0, "header name \"X Y\" is no token"},
  };
  return table;
}

class HttpExchange : public testing::TestWithParam<Transport> {};

void check(const Case& row, const Outcome& got) {
  EXPECT_EQ(got.dones, 1);
  if (row.status == 0) {
    ASSERT_FALSE(got.result.has_value());
    EXPECT_NE(got.result.error().message.find(row.expected), std::string::npos)
        << got.result.error().message;
    return;
  }
  ASSERT_TRUE(got.result.has_value()) << got.result.error().message;
  EXPECT_EQ(got.heads, 1);
  EXPECT_EQ(got.head.status, row.status);
  if (!row.expected.empty() || row.status == 204) {
    EXPECT_EQ(got.body.size(), row.expected.size());
    EXPECT_TRUE(got.body == row.expected) << got.body.substr(0, 200);
  }
  for (const auto& [name, value] : row.answer_headers) {
    EXPECT_EQ(got.head.headers.get(name), value) << name;
  }
  EXPECT_TRUE(got.head.headers.has("Date"));
}

HttpRequest request_of(const Case& row) {
  HttpRequest request{.method = row.method, .target = row.target, .body = row.body};
  for (const auto& [name, value] : row.headers) request.headers.add(name, value);
  return request;
}

TEST_P(HttpExchange, TableOnOneClientThatReusesItsConnections) {
  std::unique_ptr<Demo> demo;
  HttpRig rig(GetParam(), [&](HttpRequest request, std::unique_ptr<Responder> responder) {
    demo->handle(std::move(request), std::move(responder));
  });
  demo = std::make_unique<Demo>(rig.loop);
  HttpClient client(rig.loop, rig.target);
  for (const Case& row : cases()) {
    SCOPED_TRACE(row.name);
    check(row, rig.run(client, request_of(row)));
  }
}

TEST_P(HttpExchange, TableWithAConnectionForEachRequest) {
  std::unique_ptr<Demo> demo;
  HttpRig rig(GetParam(), [&](HttpRequest request, std::unique_ptr<Responder> responder) {
    demo->handle(std::move(request), std::move(responder));
  });
  demo = std::make_unique<Demo>(rig.loop);
  for (const Case& row : cases()) {
    SCOPED_TRACE(row.name);
    HttpClient client(rig.loop, rig.target);
    check(row, rig.run(client, request_of(row)));
  }
  EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() == 0; }));
}

TEST_P(HttpExchange, ManyCallsAtOnceAllEndOnce) {
  std::unique_ptr<Demo> demo;
  HttpRig rig(GetParam(), [&](HttpRequest request, std::unique_ptr<Responder> responder) {
    demo->handle(std::move(request), std::move(responder));
  });
  demo = std::make_unique<Demo>(rig.loop);
  HttpClient client(rig.loop, rig.target);
  for (int round = 0; round < 3; ++round) {
    std::vector<Outcome> outcomes(50);
    std::vector<std::unique_ptr<HttpCall>> calls;
    for (Outcome& outcome : outcomes) {
      calls.push_back(client.call({.target = "/stream/5/30000"}, outcome.callbacks()));
    }
    ASSERT_TRUE(rig.run_until(
        [&] { return std::ranges::all_of(outcomes, [](auto& o) { return o.dones == 1; }); }));
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.result.has_value());
      EXPECT_EQ(outcome.body.size(), 150'000u);
    }
  }
  EXPECT_TRUE(rig.run_until([&] { return rig.server.connections() <= 8; }));
}

TEST_P(HttpExchange, ServerKnowsItsPeer) {
  std::unique_ptr<Demo> demo;
  HttpRig rig(GetParam(), [&](HttpRequest request, std::unique_ptr<Responder> responder) {
    demo->handle(std::move(request), std::move(responder));
  });
  demo = std::make_unique<Demo>(rig.loop);
  HttpClient client(rig.loop, rig.target);
  const std::string body = rig.run(client, {.target = "/peer"}).body;
  switch (GetParam()) {
    case Transport::tcp:
      EXPECT_EQ(body, "127.0.0.1 -  ");
      break;
    case Transport::tls:
      EXPECT_EQ(body, "127.0.0.1 - alice system:masters,dev");
      break;
    case Transport::unix_socket:
      EXPECT_EQ(body, cat("unix ", ::getuid(), "  "));
      break;
  }
}

INSTANTIATE_TEST_SUITE_P(Over, HttpExchange,
                         testing::Values(Transport::tcp, Transport::tls, Transport::unix_socket),
                         [](const auto& row) { return transport_name(row.param); });

}  // namespace
}  // namespace fairlead::net

// Where a request goes, and one request from a thread without a loop.
#include <atomic>
#include <thread>

#include "base/text.h"
#include "tests/net/http_rig.h"

namespace fairlead::net {
namespace {

using std::chrono::milliseconds;

class ThreadedServer {
 public:
  explicit ThreadedServer(HttpServer::Handler handler) {
    thread_ = std::thread([this, handler] {
      EventLoop loop;
      MemoryLogSink sink;
      HttpServer server(loop, Log(sink), handler);
      target.host = "127.0.0.1";
      target.port = server.listen(*SocketAddress::parse("127.0.0.1:0")).value().port;
      loop_ = &loop;
      loop.run();
    });
    while (loop_ == nullptr) std::this_thread::yield();
  }
  ~ThreadedServer() {
    loop_.load()->stop();
    thread_.join();
  }
  HttpTarget target;

 private:
  std::atomic<EventLoop*> loop_ = nullptr;
  std::thread thread_;
};

TEST(Fetch, GivesTheWholeAnswerOrAnError) {
  ThreadedServer server([](HttpRequest request, std::unique_ptr<Responder> responder) {
    if (request.target == "/slow") {
      // Held by nobody answers 500; held for ever never answers.
      static std::vector<std::unique_ptr<Responder>> kept;
      kept.push_back(std::move(responder));
      return;
    }
    responder->send(HttpResponse::text(202, std::string(10'000, 'f')));
  });
  const auto got = fetch(server.target, {});
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(got->status, 202);
  EXPECT_EQ(got->body.size(), 10'000u);
  EXPECT_EQ(got->headers.get("content-type"), "text/plain; charset=utf-8");
  const auto large = fetch(server.target, {}, std::chrono::seconds(5), 9'999);
  ASSERT_FALSE(large.has_value());
  EXPECT_NE(large.error().message.find("more than 9999 bytes"), std::string::npos);
  const auto slow = fetch(server.target, {.target = "/slow"}, milliseconds(50));
  ASSERT_FALSE(slow.has_value());
  EXPECT_NE(slow.error().message.find("/slow: no "), std::string::npos) << slow.error().message;
}

TEST(HttpTargetParse, Urls) {
  const auto tls = client_tls();
  struct Url {
    std::string text;
    std::string expected;  // "unix path" or "host port scheme", or a part of the error
    bool good = true;
  };
  const Url table[] = {
      {"http://a", "a 80 http"},
      {"HTTP://a:8080/", "a 8080 http"},
      {"https://a.example", "a.example 443 https"},
      {"https://10.0.0.1:6443", "10.0.0.1 6443 https"},
      {"https://[fd00::1]:6443", "fd00::1 6443 https"},
      {"http://[::1]", "::1 80 http"},
      {"unix:///run/x.sock", "/run/x.sock"},
      {"unix:/run/x.sock", "/run/x.sock"},
      {"", "expected http://host[:port]", false},
      {"a:80", "expected http://host[:port]", false},
      {"ftp://a", "expected http://host[:port]", false},
      {"http://", "the host is missing", false},
      {"http://:80", "the host is missing", false},
      {"http://a:0", "the port is no number", false},
      {"http://a:65536", "the port is no number", false},
      {"http://a:x", "the port is no number", false},
      {"http://a/path", "expected host and port only", false},
      {"http://u@a", "expected host and port only", false},
      {"http://::1", "IPv6 address without brackets", false},
      {"http://[::1", "no IPv6 address", false},
      {"http://[a]", "no IPv6 address", false},
      {"http://[::1]x", "expected [address]:port", false},
      {"unix:run/x", "expected unix:///absolute/path", false},
  };
  for (const Url& row : table) {
    SCOPED_TRACE(row.text);
    const auto got = HttpTarget::parse(row.text, tls);
    ASSERT_EQ(got.has_value(), row.good) << (got ? got->host : got.error().message);
    if (!row.good) {
      EXPECT_NE(got.error().message.find(row.expected), std::string::npos) << got.error().message;
    } else if (!got->unix_path.empty()) {
      EXPECT_EQ(got->unix_path, row.expected);
    } else {
      EXPECT_EQ(cat(got->host, " ", got->port, got->tls ? " https" : " http"), row.expected);
    }
  }
  EXPECT_FALSE(HttpTarget::parse("https://a", nullptr).has_value());
}

}  // namespace
}  // namespace fairlead::net

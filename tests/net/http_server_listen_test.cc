// Sockets that the server listens on, and how many connections it takes.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/net/raw_client.h"
namespace fairlead::net {
namespace {
using std::chrono::milliseconds;
TEST(HttpServerListen, ConnectionsAboveTheLimitAreTurnedAway) {
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

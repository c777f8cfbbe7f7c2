// Upgraded connections: bytes both ways, each with its own end, whatever happens to the routes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "base/text.h"
#include "tests/ingress/testing.h"
namespace fairlead::ingress::testing {
namespace {
using std::chrono::milliseconds;
using ::testing::HasSubstr;
// Answers 101 and sends back every byte; says "bye" when the client has sent its last.
void tunnel(int fd, int) {
  std::string buffer;
  const std::string head = read_head(fd, buffer);
  if (field_of(head, "upgrade").empty()) return;
  write_all(fd, cat("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ",
                    field_of(head, "upgrade"), "\r\nSec-WebSocket-Accept: x\r\n\r\nhello"));
  write_all(fd, buffer);
  char bytes[4096];
  for (ssize_t got = 0; (got = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) {
    write_all(fd, {bytes, static_cast<size_t>(got)});
  }
  write_all(fd, "bye");
}

const std::string upgrade_request =
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

std::string read_until(Client& client, std::string_view end) {
  std::string got;
  while (!got.ends_with(end)) {
    const std::string more = client.read_some();
    if (more.empty()) break;
    got += more;
  }
  return got;
}

TEST(Tunnel, an_upgrade_becomes_a_tunnel_with_half_close) {
  TestUpstream upstream(tunnel);
  Ingress ingress;
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(upgrade_request + "early");
  const std::string start = read_until(client, "early");
  EXPECT_EQ(status_of(start), 101);
  EXPECT_EQ(field_of(start, "Upgrade"), "websocket");
  EXPECT_EQ(field_of(start, "Connection"), "upgrade");
  EXPECT_EQ(body_of(start), "helloearly");
  client.send("ping");
  EXPECT_EQ(read_until(client, "ping"), "ping");
  client.shutdown_write();
  EXPECT_EQ(client.read_all(), "bye");
  EXPECT_THAT(ingress.log_text(), HasSubstr("\"status\":101"));
}

TEST(Tunnel, a_tunnel_and_a_long_request_survive_route_changes) {
  TestUpstream chat(tunnel);
  std::atomic<bool> finish{false};
  TestUpstream slow([&](int fd, int) {
    std::string buffer;
    read_head(fd, buffer);
    write_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
    while (!finish) std::this_thread::sleep_for(milliseconds(1));
    write_all(fd, "half");
  });
  Ingress ingress;
  ingress.cluster.service("chat", {chat.address()});
  ingress.cluster.service("slow", {slow.address()});
  ingress.cluster.ingress("chat", "chat.test", "chat");
  ingress.cluster.ingress("slow", "slow.test", "slow");
  ingress.publish_and_wait();
  Client socket(ingress.http()), request(ingress.http());
  socket.send("GET / HTTP/1.1\r\nHost: chat.test\r\n" + upgrade_request.substr(29));
  read_until(socket, "hello");
  request.send(get("slow.test"));
  read_until(request, "half");

  ingress.cluster.erase(api::Kind::ingress, "chat");
  ingress.cluster.erase(api::Kind::ingress, "slow");
  ingress.cluster.erase(api::Kind::service, "slow");
  ingress.publish_and_wait();
  Client fresh(ingress.http());
  fresh.send(get("slow.test"));
  EXPECT_EQ(status_of(fresh.read_response()), 404);

  finish = true;
  EXPECT_EQ(read_until(request, "half"), "half");
  request.send(get("slow.test"));
  EXPECT_EQ(status_of(request.read_response()), 404);
  socket.send("still here");
  EXPECT_EQ(read_until(socket, "still here"), "still here");
}
TEST(Tunnel, ends_when_it_is_idle) {
  TestUpstream upstream(tunnel);
  Ingress ingress(quick_limits());
  serve(ingress, {upstream.address()});
  Client client(ingress.http());
  client.send(upgrade_request);
  read_until(client, "hello");
  EXPECT_TRUE(client.closed(2000));
}

}  // namespace
}  // namespace fairlead::ingress::testing

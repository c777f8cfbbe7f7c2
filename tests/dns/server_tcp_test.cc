// Replies over TCP that are more than a connection takes at once.
#include "message_text.h"
#include "server_rig.h"

namespace fairlead::dns::testing {
namespace {

constexpr int requests = 300;  // in one read of the server's, and 1 MB of replies

// A headless Service with 200 endpoints.
std::string many_endpoints() {
  std::string yaml = R"(apiVersion: v1
kind: Service
metadata: {name: many, namespace: default}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: many-1, namespace: default, labels: {kubernetes.io/service-name: many}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints:
)";
  for (int i = 1; i <= 200; ++i) yaml += cat("- addresses: [10.1.0.", i, "]\n");
  return yaml;
}

class ServerTcpTest : public ServerTest {
 protected:
  net::Fd ask_much() {
    start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 1, false);
    publish_cluster(many_endpoints());
    std::string stream;
    for (uint16_t id = 0; id < requests; ++id) {
      stream += framed(ask("many.default.svc.cluster.local.", type::a, {.id = id}));
    }
    net::Fd fd = connect(SOCK_STREAM);
    EXPECT_EQ(::send(fd.get(), stream.data(), stream.size(), 0),
              static_cast<ssize_t>(stream.size()));
    return fd;
  }
  static void expect_replies(int fd) {
    for (uint16_t id = 0; id < requests; ++id) {
      const std::string reply = read_framed(fd);
      ASSERT_GT(reply.size(), 3200u) << id;
      ASSERT_EQ(read16(reinterpret_cast<const uint8_t*>(reply.data())), id);
    }
  }
};

TEST_F(ServerTcpTest, AllThatWasAskedIsAnsweredThoughNothingMoreComes) {
  const net::Fd fd = ask_much();
  expect_replies(fd.get());
}

TEST_F(ServerTcpTest, WhoeverHasAskedItAllStillGetsItAll) {
  const net::Fd fd = ask_much();
  ::shutdown(fd.get(), SHUT_WR);
  expect_replies(fd.get());
  EXPECT_EQ(read_framed(fd.get()), "") << "closed after the last reply";
}

TEST_F(ServerTcpTest, RepliesBeforeWhatIsNoRequestAreSent) {
  start(cat(".:", port_, " {\n kubernetes cluster.local\n}"), 1);
  const net::Fd fd = connect(SOCK_STREAM);
  const std::string stream =
      framed(ask(web_name, type::a, {.id = 7})) + std::string("\x00\x05hello", 7);
  ASSERT_EQ(::send(fd.get(), stream.data(), stream.size(), 0), static_cast<ssize_t>(stream.size()));
  EXPECT_EQ(read_reply(read_framed(fd.get())).rcode, "NOERROR");
  EXPECT_EQ(read_framed(fd.get()), "");
}

}  // namespace
}  // namespace fairlead::dns::testing

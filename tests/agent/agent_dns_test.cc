// A whole agent that serves cluster DNS, asked over UDP as a pod would.
#include <netinet/in.h>
#include <sys/socket.h>

#include "net/fd.h"
#include "tests/agent/whole_agent.h"

namespace fairlead::agent {
namespace {

using namespace std::string_literals;

sockaddr_in local(uint16_t port) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

// A UDP port that was free a moment ago.
uint16_t free_port() {
  const net::Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = local(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

// The whole answer to a query for the A records of "web.default.svc.cluster.local".
std::string ask_for_web(uint16_t port) {
  const std::string query(
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
      "\x03web\x07"
      "default\x03svc\x07"
      "cluster\x05local\x00\x00\x01\x00\x01",
      12 + 31 + 4);
  const net::Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const timeval patience{5, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const sockaddr_in to = local(port);
  sendto(fd.get(), query.data(), query.size(), 0, reinterpret_cast<const sockaddr*>(&to),
         sizeof to);
  char answer[512];
  const ssize_t got = recv(fd.get(), answer, sizeof answer, 0);
  return {answer, static_cast<size_t>(std::max<ssize_t>(got, 0))};
}

class AgentWithDns : public WholeAgent {
 protected:
  void SetUp() override {
    WholeAgent::SetUp();
    config_.ingress = false;
    config_.dns_workers = 1;
    config_.dns_bind = {Ip::v4(0x7f000001)};
    config_.corefile = folder_ + "/Corefile";
  }
  Result<void> start(const std::string& corefile) {
    write("Corefile", corefile);
    return WholeAgent::start();
  }
};

TEST_F(AgentWithDns, AnswersForItsServicesAndSaysSo) {
  const uint16_t port = free_port();
  const auto started = start(cat("cluster.local:", port, " {\n  kubernetes cluster.local\n}\n"));
  ASSERT_TRUE(started) << started.error().message;
  ASSERT_TRUE(eventually([&] { return get("/readyz").status == 200; })) << get("/readyz").body;
  EXPECT_NE(get("/readyz").body.find("[+]dns ok"), std::string::npos);
  const std::string answer = ask_for_web(port);
  EXPECT_TRUE(answer.find("\x0a\x60\x00\x14"s) != std::string::npos) << answer.size() << " bytes";
  const auto report = from_json(*parse_json(get("/status").body));
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->errors.empty());
  const auto dns = std::ranges::find(report->components, "dns", &ComponentStatus::name);
  ASSERT_NE(dns, report->components.end());
  EXPECT_EQ(dns->state, ComponentState::ok);
  EXPECT_EQ(dns->detail, "1 zones, 1 queries");
  EXPECT_EQ(report->listening,
            (std::vector<std::string>{cat("udp 127.0.0.1:", port), cat("tcp 127.0.0.1:", port)}));
}

TEST_F(AgentWithDns, ACorefileThatIsWrongIsNamedWithItsLine) {
  const auto started = start(".:53 {\n  kubernets\n}\n");
  ASSERT_FALSE(started);
  EXPECT_TRUE(started.error().message.starts_with(cat(config_.corefile, ":2: ")))
      << started.error().message;
}

}  // namespace
}  // namespace fairlead::agent

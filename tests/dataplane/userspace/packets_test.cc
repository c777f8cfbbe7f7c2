// Real packets through the userspace driver.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "dataplane/userspace/driver.h"
#include "net/netlink.h"
#include "net/socket.h"
#include "tests/dataplane/packet_contract.h"
#include "tests/dataplane/userspace/loopback_peers.h"

namespace fairlead::dataplane {
namespace {

using userspace::eventually;

const PacketCase in_userspace{"Userspace", Mode::userspace,
                              [](net::EventLoop&, const Log& log, Registry& registry) {
                                return make_userspace_driver({}, log, registry);
                              }};
INSTANTIATE_TEST_SUITE_P(Userspace, PacketContract, testing::Values(in_userspace),
                         packet_case_name);

// What is this mode's alone.
class UserspacePackets : public PacketContract {
 protected:
  std::string from(const std::string& where, const SocketAddress& to, Protocol protocol,
                   int timeout_ms = 3000) {
    std::string answer;
    lab_->net().in(where, [&] { answer = ask({}, to, protocol, timeout_ms); });
    return answer;
  }

  UserspaceOptions options_;  // of the drivers that are not the contract's
};
INSTANTIATE_TEST_SUITE_P(Userspace, UserspacePackets, testing::Values(in_userspace),
                         packet_case_name);

SocketAddress at(std::string_view ip, uint16_t port) { return {*Ip::parse(ip), port}; }

TEST_P(UserspacePackets, NodePortsAnswerOnLocalhostForTheNodeItself) {
  start(table_);
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    const std::string answer = from("node", at("127.0.0.1", 30081), protocol);
    EXPECT_TRUE(answer.starts_with("local ") || answer.starts_with("remote ")) << answer;
    EXPECT_EQ(from("node", at("127.0.0.1", 30099), protocol), "refused");
  }
}

TEST_P(UserspacePackets, NoProcessOfTheNodeIsReachedThroughAVip) {
  start(table_);
  std::unique_ptr<Responder> process;
  lab_->net().in("node", [&] { process = std::make_unique<Responder>("node", 8888); });
  EXPECT_EQ(from("pod", at("10.9.0.1", 8888), Protocol::tcp), "node 10.1.0.2");
  for (const std::string_view vip : {"10.96.0.1", "203.0.113.1", "fd96::1", "2001:db8::5"}) {
    for (const char* where : {"pod", "node", "outside"}) {
      EXPECT_EQ(from(where, at(vip, 8888), Protocol::tcp), "refused") << where << " " << vip;
      EXPECT_EQ(from(where, at(vip, 8888), Protocol::udp), "refused") << where << " " << vip;
    }
  }
}

TEST_P(UserspacePackets, ConnectionsDoNotKeepOthersFromTheirPort) {
  start(table_);
  lab_->net().in("pod", [&] {
    Conversation talk(at("10.96.0.1", 80));
    ASSERT_NE(talk.greeting().find(' '), std::string::npos);
    for (const Ip& any : {Ip{}, Ip::v4(0)}) {
      lab_->net().in("node", [&] {
        const auto server = net::listen_tcp({any, 80});
        EXPECT_TRUE(server) << server.error().message;
      });
    }
    EXPECT_EQ(talk.say("one"), "one");
  });
}

TEST_P(UserspacePackets, AFullMapIsNamedAndTheRestIsServed) {
  options_.max_captured = 40;
  lab_->net().in("node", [&] {
    driver_ = make_userspace_driver(options_, Log(sink_), registry_);
    ASSERT_TRUE(driver_->start());
    const ApplyReport report = driver_->apply(table_, {}, true);
    ASSERT_FALSE(report.ok());
    EXPECT_NE(report.errors[0].find("the captured map is full (40 entries)"), std::string::npos)
        << report.errors[0];
    EXPECT_FALSE(driver_->retry().ok());
    // Less is asked for: everything fits.
    ServiceTable fewer = table_;
    fewer.services = {*table_.services.begin()};
    ASSERT_TRUE(driver_->apply(fewer, {}, true).ok());
    EXPECT_TRUE(driver_->verify(false)->empty());
  });
  EXPECT_NE(from("pod", at("10.96.0.1", 80), Protocol::tcp).find(' '), std::string::npos);
}

TEST_P(UserspacePackets, AffinityHoldsForTcpAndUdpApart) {
  for (PortRule& rule : table_.services.at({"default", "s1"}).ports) rule.affinity_timeout_s = 60;
  start(table_);
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
    const std::string first = from("pod", at("10.96.0.1", 80), protocol);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(from("pod", at("10.9.0.1", 30081), protocol), first);
  }
}

TEST_P(UserspacePackets, AnAddressStaysLocalWhileConnectionsUseIt) {
  start(table_);
  const auto is_local = [&] {
    return driver_->dump().find("local 10.96.0.3 ") != std::string::npos;
  };
  lab_->net().in("pod", [&] {
    auto talk = std::make_unique<Conversation>(at("10.96.0.3", 80));
    ASSERT_EQ(talk->greeting().substr(0, 6), "local ");
    ServiceTable next = table_;
    next.services.erase({"default", "s3"});
    apply(next, {{"default", "s3"}});
    EXPECT_FALSE(driver_->drained());
    EXPECT_TRUE(is_local());
    EXPECT_EQ(ask({}, at("10.96.0.3", 80), Protocol::tcp, 1000), "refused");
    EXPECT_EQ(driver_->verify(false)->size(), 0u);
    EXPECT_EQ(talk->say("one"), "one");
    talk.reset();
    EXPECT_TRUE(eventually([&] { return driver_->drained(); }));
    lab_->net().in("node", [&] { EXPECT_EQ(driver_->verify(true)->size(), 0u); });
    EXPECT_FALSE(is_local());
  });
}

TEST_P(UserspacePackets, ItsEndWaitsForConnectionsAndNewOnesWaitForTheNextRun) {
  start(table_);
  std::string answer;
  bool refused = false;
  lab_->net().in("pod", [&] {
    auto talk = std::make_unique<Conversation>(at("10.96.0.1", 80));
    ASSERT_NE(talk->greeting().find(' '), std::string::npos);
    std::thread next([&] {
      std::thread later;
      lab_->net().in("pod", [&] {
        later = std::thread([&] {
          std::this_thread::sleep_for(std::chrono::milliseconds(300));
          EXPECT_EQ(talk->say("meanwhile"), "meanwhile");
          talk.reset();
        });
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        answer = ask({}, at("10.96.0.1", 80), Protocol::tcp, 5000);
        refused = answer == "refused";
      });
      later.join();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto begin = std::chrono::steady_clock::now();
    driver_.reset();
    const auto took = std::chrono::steady_clock::now() - begin;
    EXPECT_GT(took, std::chrono::milliseconds(200));
    EXPECT_LT(took, std::chrono::milliseconds(1500)) << "not longer than the connection";
    start(table_);
    next.join();
  });
  EXPECT_FALSE(refused);
  EXPECT_NE(answer.find(' '), std::string::npos) << answer;
}

TEST_P(UserspacePackets, ARetiredDriverCarriesItsConnectionsToTheirEnd) {
  start(table_);
  lab_->net().in("pod", [&] {
    auto talk = std::make_unique<Conversation>(at("fd96::1", 80));
    EXPECT_NE(talk->greeting().find(' '), std::string::npos) << talk->greeting();
    lab_->net().in("node", [&] { EXPECT_TRUE(driver_->retire()); });
    EXPECT_EQ(talk->say("one"), "one");
    EXPECT_FALSE(driver_->drained());
    EXPECT_EQ(ask({}, at("10.96.0.1", 80), Protocol::tcp, 1000), "refused");
    EXPECT_EQ(talk->say("two"), "two");
    talk.reset();
    EXPECT_TRUE(eventually([&] { return driver_->drained(); }));
    lab_->net().in("node", [&] { EXPECT_TRUE(driver_->cleanup()); });
    EXPECT_EQ(driver_->dump(), "");
  });
}

// What the unit file has systemd run when the agent has ended, however it did.
std::vector<std::string> commands_after_the_end() {
  constexpr std::string_view key = "ExecStopPost=-";
  std::vector<std::string> out;
  std::ifstream unit(FAIRLEAD_SOURCE_DIR "/deploy/fairlead-agent.service");
  for (std::string line; std::getline(unit, line);) {
    if (line.starts_with(key)) out.push_back(line.substr(key.size()));
  }
  return out;
}

TEST_P(UserspacePackets, AKilledRunLeavesNothingThatTheNextOneDoesNotPutRight) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    start(table_);
    const char ok = driver_ && driver_->dump().find("local 10.96.0.1") != std::string::npos;
    [[maybe_unused]] const ssize_t written = ::write(ready[1], &ok, 1);
    ::pause();
    ::_exit(0);
  }
  char ok = 0;
  ASSERT_EQ(::read(ready[0], &ok, 1), 1);
  EXPECT_EQ(ok, 1);
  const auto served = [](const std::string& answer) {
    return answer.starts_with("local ") || answer.starts_with("remote ");
  };
  EXPECT_TRUE(served(from("pod", at("10.96.0.1", 80), Protocol::tcp)));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  // The capture ended with the process, the addresses did not.
  EXPECT_EQ(from("pod", at("10.96.0.1", 80), Protocol::tcp), "refused");
  lab_->net().in("node", [&] {
    auto netlink = net::Netlink::open();
    EXPECT_FALSE(netlink->locals(userspace::route_protocol)->empty());
    // A server of the node can be reached through them, if nobody takes them away.
    const auto commands = commands_after_the_end();
    EXPECT_EQ(commands.size(), 2u);
    const Responder server("node", 8888);
    for (const std::string_view vip : {"10.96.0.1", "fd96::1"}) {
      EXPECT_TRUE(from("pod", at(vip, 8888), Protocol::tcp).starts_with("node "));
    }
    for (const std::string& command : commands) shell(command);
    EXPECT_TRUE(netlink->locals(userspace::route_protocol)->empty());
    for (const std::string_view vip : {"10.96.0.1", "fd96::1"}) {
      EXPECT_EQ(from("pod", at(vip, 8888), Protocol::tcp, 300), "timeout");
    }
    for (const std::string& command : commands) shell(command);  // removes nothing, and says so
  });
  start(table_);
  EXPECT_TRUE(served(from("pod", at("10.96.0.1", 80), Protocol::tcp)));
  EXPECT_TRUE(served(from("pod", at("fd96::1", 80), Protocol::udp)));
}

}  // namespace
}  // namespace fairlead::dataplane

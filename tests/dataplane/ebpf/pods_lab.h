// A node with a client outside and two pods, which tc sees, and the socket programs when they are
// in the cgroup. In pod a servers x and y answer on 10.1.1.2:8001 and :8002.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/dataplane/ebpf/lab.h"

namespace fairlead::dataplane::test {

class PodsTest : public testing::Test {
 protected:
  void SetUp() override {
    REQUIRE_BPF();
    lab_ = std::make_unique<Lab>();
    lab_->link("node", "eth0", {"192.0.2.1/24"}, "client", "eth0", {"192.0.2.9/24"});
    lab_->link("node", "veth-a", {"10.1.1.1/24"}, "a", "eth0", {"10.1.1.2/24"});
    lab_->link("node", "veth-b", {"10.1.2.1/24"}, "b", "eth0", {"10.1.2.2/24"});
    lab_->route("a", "0.0.0.0/0", "10.1.1.1");
    lab_->route("b", "0.0.0.0/0", "10.1.2.1");
    lab_->route("client", "0.0.0.0/0", "192.0.2.1");
    lab_->sysctl("node", "net/ipv4/ip_forward", "1");
    add_server("x", 8001);
    add_server("y", 8002);
    start();
  }
  void TearDown() override {
    if (driver_) in_node([&] { EXPECT_TRUE(driver_->cleanup()); });
  }

  void add_server(const std::string& name, uint16_t port) {
    servers_.push_back(std::make_unique<Server>(lab_->netns("a"), name, "10.1.1.2", port));
  }
  // A driver that takes over what one before it has left.
  void start() {
    in_node([&] {
      driver_.reset();
      driver_ = lab_->driver();
      ASSERT_TRUE(driver_->start());
    });
  }
  template <class Body>
  void in_node(Body body) {
    auto scope = net::NetnsScope::enter(lab_->netns("node"));
    body();
  }
  void apply(const std::string& more) {
    in_node([&] {
      const ApplyReport report =
          driver_->apply(table_of("node 192.0.2.1\npods 10.1.0.0/16\n" + more), {}, true);
      EXPECT_TRUE(report.ok()) << report.errors[0];
    });
  }
  // Packets only, or through the socket programs.
  std::string packets(const char* where, const Dial& request) {
    return run_in(lab_->netns(where), "", [&] { return dial(request); });
  }
  std::string sockets(const char* where, const Dial& request) {
    return run_in(lab_->netns(where), lab_->cgroup(), [&] { return dial(request); });
  }
  static std::set<std::string> servers_in(const std::string& seen) {
    std::set<std::string> names;
    for (std::string_view line : split(seen, '\n')) {
      names.emplace(line.substr(0, line.find(' ')));
    }
    return names;
  }

  std::unique_ptr<Lab> lab_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::unique_ptr<Driver> driver_;
};

}  // namespace fairlead::dataplane::test

// Links that come, change and go, as they are reported.

#include <algorithm>

#include "net/netlink.h"
#include "tests/net/loop_turns.h"
#include "tests/net/netns_rig.h"

namespace fairlead::net {
namespace {

class MonitorRig {
 public:
  void open() {
    auto opened = LinkMonitor::open(loop, [this](LinkMonitor::Event event, const LinkInfo& link) {
      const char* word = event == LinkMonitor::Event::added     ? "+"
                         : event == LinkMonitor::Event::changed ? "~"
                                                                : "-";
      log.push_back(cat(word, link.name, link.up ? " up" : ""));
      if (on_event) on_event();
    });
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    monitor = std::move(*opened);
  }
  bool wait_for(const std::string& line) {
    for (int i = 0; i < 300; ++i) {
      if (std::ranges::find(log, line) != log.end()) return true;
      loop.run_once(std::chrono::milliseconds(10));
    }
    return false;
  }

  EventLoop loop;
  std::unique_ptr<LinkMonitor> monitor;
  std::vector<std::string> log;
  std::function<void()> on_event;
};

TEST(LinkMonitor, ReportsWhatIsThereAndWhatChanges) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("before"));
  MonitorRig rig;
  rig.open();
  EXPECT_TRUE(rig.log.empty()) << "callbacks come from the loop";
  EXPECT_TRUE(rig.wait_for("+lo up"));
  EXPECT_TRUE(rig.wait_for("+before"));
  ASSERT_OK(netlink.add_bridge("after"));
  EXPECT_TRUE(rig.wait_for("+after"));
  ASSERT_OK(netlink.set_up("after"));
  EXPECT_TRUE(rig.wait_for("~after up"));
  ASSERT_OK(netlink.delete_link("after"));
  EXPECT_TRUE(rig.wait_for("-after") || rig.wait_for("-after up"));
  EXPECT_EQ(std::ranges::count(rig.log, "+after"), 1);
}

TEST(LinkMonitor, SeesBridgePortsAsChangesNotAsRemovals) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("br0"));
  ASSERT_OK(netlink.add_veth("port", "far"));
  MonitorRig rig;
  rig.open();
  ASSERT_TRUE(rig.wait_for("+port"));
  ASSERT_OK(netlink.set_master("port", "br0"));
  ASSERT_TRUE(rig.wait_for("~port"));
  ASSERT_OK(netlink.set_master("port", ""));
  ASSERT_OK(netlink.add_bridge("last"));
  ASSERT_TRUE(rig.wait_for("+last"));
  EXPECT_EQ(std::ranges::count(rig.log, "-port"), 0);
  EXPECT_EQ(std::ranges::count(rig.log, "+port"), 1);
}

TEST(LinkMonitor, CatchesUpAfterLostNotifications) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("gone"));
  MonitorRig rig;
  rig.open();
  ASSERT_TRUE(rig.wait_for("+gone"));
  // Far more notifications than the socket's buffer holds, while nobody reads.
  for (uint32_t i = 0; i < 600; ++i) ASSERT_OK(netlink.set_mtu("lo", 30'000 + i));
  ASSERT_OK(netlink.delete_link("gone"));
  ASSERT_OK(netlink.add_bridge("final"));
  EXPECT_TRUE(rig.wait_for("+final"));
  EXPECT_TRUE(rig.wait_for("-gone"));
  EXPECT_LT(rig.log.size(), 600u);
  EXPECT_EQ(std::ranges::count(rig.log, "-gone"), 1);
}

// What was queued before the loss is older than the list that is made because of it.
TEST(LinkMonitor, NoLinkIsReportedThatWentWhileNotificationsWereLost) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  MonitorRig rig;
  rig.open();
  ASSERT_TRUE(rig.wait_for("+lo up"));
  ASSERT_OK(netlink.add_bridge("ghost"));
  for (uint32_t i = 0; i < 600; ++i) ASSERT_OK(netlink.set_mtu("lo", 30'000 + i));
  ASSERT_OK(netlink.delete_link("ghost"));
  turn(rig.loop, 20);
  ASSERT_OK(netlink.add_bridge("final"));
  ASSERT_TRUE(rig.wait_for("+final"));
  EXPECT_EQ(std::ranges::count(rig.log, "+ghost"), std::ranges::count(rig.log, "-ghost"));
}

TEST(LinkMonitor, MayBeDestroyedInItsCallback) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  auto netlink = Netlink::open().value();
  ASSERT_OK(netlink.add_bridge("one"));
  MonitorRig rig;
  rig.open();
  rig.on_event = [&] { rig.monitor.reset(); };
  for (int i = 0; i < 10; ++i) rig.loop.run_once(std::chrono::milliseconds(1));
  EXPECT_EQ(rig.log.size(), 1u);
}

}  // namespace
}  // namespace fairlead::net

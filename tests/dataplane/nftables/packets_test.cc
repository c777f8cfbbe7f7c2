// Real packets through the nftables driver: what happens to each is what resolve() says.
#include <gtest/gtest.h>

#include "base/text.h"
#include "dataplane/nftables/driver.h"
#include "tests/dataplane/flow_lab.h"

namespace fairlead::dataplane {
namespace {

class NftPackets : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_NAMESPACES();
    lab_ = std::make_unique<FlowLab>();
    table_ = FlowLab::table();
  }

  // A driver in the node's namespace, as a run of the agent would have.
  void apply(const ServiceTable& table) {
    lab_->net().in("node", [&] {
      driver_ = make_nftables_driver({}, Log(sink_), registry_);
      ASSERT_TRUE(driver_->start());
      const ApplyReport report = driver_->apply(table, {}, true);
      ASSERT_TRUE(report.ok()) << join(report.errors, "\n");
    });
  }

  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<FlowLab> lab_;
  std::unique_ptr<Driver> driver_;
  ServiceTable table_;
};

TEST_F(NftPackets, EveryPolicyProtocolFamilyAndSourceIsAsResolved) {
  apply(table_);
  lab_->check_matrix(table_);
}

TEST_F(NftPackets, ANodeThatKnowsNoLocalPodsIsAsResolved) {
  table_.node.local_pod_cidrs.clear();
  apply(table_);
  lab_->check_matrix(table_);
}

TEST_F(NftPackets, OtherTrafficPasses) {
  apply(table_);
  lab_->net().in("pod", [] {
    EXPECT_EQ(ask({}, {*Ip::parse("10.3.0.2"), 8080}, Protocol::tcp, 3000), "remote 10.1.0.2");
    EXPECT_EQ(ask({}, {*Ip::parse("fd00:2::2"), 8080}, Protocol::udp, 3000), "local fd00:1::2");
    EXPECT_EQ(ask({}, {*Ip::parse("10.9.0.1"), 8080}, Protocol::tcp, 3000), "refused");
  });
}

TEST_F(NftPackets, OpenConnectionsOutliveEveryKindOfChange) {
  apply(table_);
  const SocketAddress cluster_ip{*Ip::parse("10.96.0.3"), 80};  // local backends only
  lab_->net().in("pod", [&] {
    Conversation talk(cluster_ip);
    ASSERT_EQ(talk.greeting(), "local 10.1.0.2");
    ServiceTable next = table_;
    // The endpoint leaves: new connections see it, this one does not.
    next.services.at({"default", "s3"}).ports[0].backends.clear();
    lab_->net().in("node", [&] { driver_->apply(next, {{"default", "s3"}}, false); });
    EXPECT_EQ(ask({}, cluster_ip, Protocol::tcp, 200), "timeout");
    EXPECT_EQ(talk.say("one"), "one");
    // A new run with other settings replaces the table.
    next.node.local_pod_cidrs.clear();
    apply(next);
    EXPECT_EQ(talk.say("two"), "two");
  });
}

TEST_F(NftPackets, NoNewConnectionFailsWhileTheTableChanges) {
  apply(table_);
  std::atomic<bool> stop = false;
  std::atomic<int> good = 0;
  std::string bad;
  std::thread client([&] {
    lab_->net().in("pod", [&] {
      while (!stop) {
        const std::string answer = ask({}, {*Ip::parse("10.96.0.1"), 80}, Protocol::tcp, 3000);
        if (answer.starts_with("local") || answer.starts_with("remote")) {
          ++good;
        } else {
          bad = answer;
        }
      }
    });
  });
  ServiceTable other = table_;
  auto& backends = other.services.at({"default", "s1"}).ports[0].backends;
  backends.erase(backends.begin());
  for (int i = 0; i < 60; ++i) {
    const ServiceTable& next = i % 2 == 0 ? other : table_;
    lab_->net().in("node", [&] {
      if (i % 20 == 19) {  // a whole new table, in one transaction
        ServiceTable renamed = next;
        renamed.node.local_pod_cidrs.push_back(*Cidr::parse(cat("10.77.", i, ".0/24")));
        ASSERT_TRUE(driver_->apply(renamed, {}, true).ok());
      }
      ASSERT_TRUE(driver_->apply(next, {{"default", "s1"}}, false).ok());
    });
  }
  stop = true;
  client.join();
  EXPECT_EQ(bad, "");
  EXPECT_GT(good, 20);
}

}  // namespace
}  // namespace fairlead::dataplane

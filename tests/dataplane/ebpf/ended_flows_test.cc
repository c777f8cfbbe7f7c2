// Connections that another translator has ended do not meet those that we translate.
#include "dataplane/ebpf/ended_flows.h"

#include <unistd.h>

#include "base/text.h"
#include "tests/dataplane/ebpf/driver_lab.h"

namespace fairlead::dataplane::test {
namespace {

using ebpf::EndedFlows;
using ebpf::forget_ended;
using ebpf::ForgottenFlows;

SocketAddress at(const char* text) { return *SocketAddress::parse(text); }

TrackedFlow flow(const char* client, const char* dialled, const char* backend, bool ended = true) {
  return {Protocol::tcp,
          at(client),
          at(dialled),
          at(backend),
          at(client),
          0,
          ended ? FlowStage::ended : FlowStage::open};
}

TEST(EndedFlows, OnlyTranslatedAndEndedOnesToOurServicesAreForgotten) {
  const std::set<SocketAddress> ours = {at("10.96.0.1:80"), at("[fd96::1]:80")};
  TrackedFlow udp = flow("10.1.0.2:4000", "10.96.0.1:80", "10.1.0.3:8080");
  udp.protocol = Protocol::udp;
  struct Case {
    const char* what;
    TrackedFlow flow;
    ForgottenFlows seen;
  };
  const Case cases[] = {
      {"ended", flow("10.1.0.2:4000", "10.96.0.1:80", "10.1.0.3:8080"), {1, 0}},
      {"IPv6", flow("[fd01::2]:4000", "[fd96::1]:80", "[fd01::3]:8080"), {1, 0}},
      {"open", flow("10.1.0.2:4001", "10.96.0.1:80", "10.1.0.3:8080", false), {0, 1}},
      {"another port", flow("10.1.0.2:4000", "10.96.0.1:81", "10.1.0.3:8080"), {0, 0}},
      {"nobody's service", flow("10.1.0.2:4000", "172.17.0.1:80", "172.17.0.2:80"), {0, 0}},
      {"not translated", flow("10.1.0.2:4000", "10.96.0.1:80", "10.96.0.1:80"), {0, 0}},
      {"UDP", udp, {0, 0}},
  };
  net::FakeConntrack all;
  for (const Case& c : cases) {
    net::FakeConntrack tracker;
    tracker.add(c.flow);
    all.add(c.flow);
    const auto seen = forget_ended(tracker, ours);
    ASSERT_TRUE(seen) << c.what;
    EXPECT_EQ(*seen, c.seen) << c.what;
    EXPECT_EQ(tracker.all().size(), 1 - c.seen.forgotten) << c.what;
  }
  EXPECT_EQ(*forget_ended(all, ours), (ForgottenFlows{2, 1}));
  all.fail_with("no");
  EXPECT_FALSE(forget_ended(all, ours));
}

// A client that takes the port of an ended connection while the agent reads on.
class BusyTracker final : public net::Conntrack {
 public:
  explicit BusyTracker(net::FakeConntrack& base) : base_(base) {}
  Result<std::vector<TrackedFlow>> flows(Protocol protocol) override {
    auto flows = base_.flows(protocol);
    for (TrackedFlow one : base_.all()) {
      base_.remove(one);
      if (one.source.port == gone) continue;
      one.stage = FlowStage::open;
      base_.add(one);
    }
    return flows;
  }
  Result<std::optional<TrackedFlow>> find(const TrackedFlow& flow) override {
    return base_.find(flow);
  }
  Result<bool> remove(const TrackedFlow& flow) override { return base_.remove(flow); }
  Result<bool> adopt(const SocketAddress& client, const SocketAddress& server) override {
    return base_.adopt(client, server);
  }

  static constexpr uint16_t gone = 2;

 private:
  net::FakeConntrack& base_;
};

TEST(EndedFlows, AConnectionThatBeginsMeanwhileIsNotForgotten) {
  net::FakeConntrack tracker;
  for (const char* client : {"10.1.0.2:1", "10.1.0.2:2", "10.1.0.2:3"}) {
    tracker.add(flow(client, "10.96.0.1:80", "10.1.0.3:8080"));
  }
  BusyTracker busy(tracker);
  EXPECT_EQ(*forget_ended(busy, {at("10.96.0.1:80")}), (ForgottenFlows{0, 3}));
  EXPECT_EQ(tracker.all().size(), 2u);
}

class Watched : public testing::Test {
 protected:
  void begin() {
    flows_.begin(
        table_of("node 192.0.2.1\n"
                 "a/web TCP 10.96.0.1:80,node:30080 -> 10.1.0.3:8080\n"
                 "a/dns UDP 10.96.0.2:53 -> 10.1.0.3:53\n"));
  }
  void run(Duration time) {
    const net::Timer end = loop_.after(time, [this] { loop_.stop(); });
    loop_.run();
  }
  size_t tracked() const { return tracker_.all().size(); }

  net::FakeConntrack tracker_;
  net::EventLoop loop_;
  MemoryLogSink sink_;
  EndedFlows flows_{tracker_, loop_, Log(sink_)};
};

TEST_F(Watched, WhatEndsLaterIsForgottenToo) {
  const TrackedFlow open = flow("10.1.0.2:1", "10.96.0.1:80", "10.1.0.3:8080", false);
  tracker_.add(flow("10.1.0.2:2", "10.96.0.1:80", "10.1.0.3:8080"));
  tracker_.add(flow("192.0.2.9:3", "192.0.2.1:30080", "10.1.0.3:8080"));
  tracker_.add(open);
  begin();
  EXPECT_EQ(tracked(), 3u) << "the table is not in place yet";
  run(std::chrono::milliseconds(50));
  EXPECT_EQ(tracker_.all(), std::set{open});
  EXPECT_NE(sink_.text().find("connections=2 open=1"), std::string::npos) << sink_.text();
  tracker_.remove(open);
  tracker_.add(flow("10.1.0.2:1", "10.96.0.1:80", "10.1.0.3:8080"));
  run(std::chrono::milliseconds(600));
  EXPECT_EQ(tracked(), 0u) << "it ended meanwhile";
  const size_t reads = tracker_.reads();
  run(std::chrono::milliseconds(1200));
  EXPECT_EQ(tracker_.reads(), reads) << "none is left to wait for";
}

TEST_F(Watched, LooksLessAndLessOftenWhileOneGoesOn) {
  tracker_.add(flow("10.1.0.2:1", "10.96.0.1:80", "10.1.0.3:8080", false));
  begin();
  run(std::chrono::milliseconds(1800));  // after 0, 0.5 and 1.5 s
  EXPECT_EQ(tracker_.reads(), 3u);
  EXPECT_EQ(tracked(), 1u);
  flows_.stop();
  run(std::chrono::milliseconds(2200));  // not after 3.5
  EXPECT_EQ(tracker_.reads(), 3u);
}

TEST_F(Watched, ATrackerThatCannotBeAskedIsNotAskedForEver) {
  tracker_.fail_with("no such subsystem");
  begin();
  run(std::chrono::milliseconds(800));
  EXPECT_EQ(tracker_.reads(), 1u);
  EXPECT_NE(sink_.text().find("stay tracked: no such subsystem"), std::string::npos);
}

// netfilter has translated connections to the ClusterIP before the driver does.
TEST_F(EbpfDriverTest, ForgetsWhatOthersTranslatedAndEnded) {
  const Server server(lab_->netns("pod"), "web", "10.1.0.2", 8080);
  lab_->route("other", "0.0.0.0/0", "10.2.0.1");
  lab_->route("pod", "0.0.0.0/0", "10.1.0.1");
  lab_->sysctl("node", "net/ipv4/ip_forward", "1");
  const auto translated = [&] {
    auto scope = net::NetnsScope::enter(node());
    const auto flows = net::make_conntrack()->flows(Protocol::tcp);
    std::string text;
    for (const TrackedFlow& one : *flows) {
      if (one.destination != at("10.96.0.10:80")) continue;
      append(text, cat(one.source.port, one.stage == FlowStage::ended ? " ended\n" : " open\n"));
    }
    return text;
  };
  {
    auto scope = net::NetnsScope::enter(node());
    ASSERT_EQ(system("nft 'add table ip t; add chain ip t p { type nat hook prerouting priority 0; "
                     "}; add rule ip t p ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.0.2:8080'"),
              0);
  }
  const auto ask_from = [&](uint16_t port) {
    return run_in(lab_->netns("other"), "",
                  [port] { return dial({.ip = "10.96.0.10", .port = 80, .source_port = port}); });
  };
  EXPECT_EQ(ask_from(4001), "web 10.2.0.2 from 10.96.0.10:80");
  for (int i = 0; i < 100 && translated() != "4001 ended\n"; ++i)
    usleep(10000);  // the server's end
  ASSERT_EQ(translated(), "4001 ended\n");
  const auto started = start();
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_EQ(translated(), "4001 ended\n") << "nothing is ours yet";
  EXPECT_TRUE(apply("node 10.2.0.1\ndefault/web TCP 10.96.0.10:80 -> 10.1.0.2:8080").ok());
  const net::Timer end =
      lab_->loop().after(std::chrono::milliseconds(50), [&] { lab_->loop().stop(); });
  lab_->loop().run();
  EXPECT_EQ(translated(), "");
}

}  // namespace
}  // namespace fairlead::dataplane::test

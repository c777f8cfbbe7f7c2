// A host without ip6tables: IPv4 is served for its whole life, IPv6 is missed when it is needed.
#include <gtest/gtest.h>

#include "base/text.h"
#include "tests/dataplane/iptables/kernels.h"

namespace fairlead::dataplane {
namespace {

// Refuses IPv6 until ip6tables is installed.
class Ipv4Iptables final : public IptablesRunner {
 public:
  Result<std::string> version() override { return kernel.version(); }
  size_t writes_at_once() override { return SIZE_MAX; }
  Result<void> restore(bool ipv6, const std::string& input) override {
    FL_TRY_VOID(check(ipv6));
    return kernel.restore(ipv6, input);
  }
  Result<void> save(bool ipv6, const std::function<void(std::string_view)>& line) override {
    FL_TRY_VOID(check(ipv6));
    return kernel.save(ipv6, line);
  }
  Result<std::optional<std::string>> list_chain(bool ipv6, ipt::Table table,
                                                const std::string& chain) override {
    FL_TRY_VOID(check(ipv6));
    return kernel.list_chain(ipv6, table, chain);
  }
  Result<std::string> set_sysctl(const std::string& name, const std::string& value) override {
    return kernel.set_sysctl(name, value);
  }

  FakeIptables kernel;
  bool has_ip6tables = false;
  size_t refusals = 0;

 private:
  Result<void> check(bool ipv6) {
    if (!ipv6 || has_ip6tables) return {};
    ++refusals;
    return fail("ip6tables-nft-save cannot be started: No such file or directory");
  }
};

class Ipv4Only : public testing::Test {
 protected:
  Ipv4Only() {
    IptablesOptions options;
    options.canary_interval = std::chrono::milliseconds(1);
    auto owned = std::make_unique<Ipv4Iptables>();
    host_ = owned.get();
    driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_, std::move(owned));
    EXPECT_TRUE(driver_->start());
  }
  static ServiceTable ipv4_table() {
    ServiceTable out = every_kind_table();
    for (auto& [key, entry] : out.services) {
      std::erase_if(entry.ports, [](const PortRule& rule) { return rule.ipv6; });
    }
    return out;
  }
  std::string saved(bool ipv6) {
    std::string out;
    EXPECT_TRUE(
        host_->kernel.save(ipv6, [&](std::string_view line) { append(out, cat(line, "\n")); }));
    return out;
  }

  MemoryLogSink sink_;
  Registry registry_;
  net::EventLoop loop_;
  Ipv4Iptables* host_ = nullptr;
  std::unique_ptr<Driver> driver_;
  const std::set<api::ObjectKey> web_{{"default", "web"}};
};

TEST_F(Ipv4Only, IsServedAllItsLife) {
  ServiceTable table = ipv4_table();
  ASSERT_TRUE(driver_->apply(table, {}, true).ok());
  EXPECT_NE(sink_.text().find("no IPv6 rules on this host"), std::string::npos);
  table.services.at({"default", "web"}).ports[0].backends.pop_back();
  const size_t refusals = host_->refusals;
  ASSERT_TRUE(driver_->apply(table, web_, false).ok());
  EXPECT_EQ(host_->refusals, refusals) << "nobody asks for IPv6 when none of it changes";
  ASSERT_TRUE(driver_->apply(table, {}, true).ok());
  EXPECT_EQ(driver_->verify(true).value(), std::vector<Drift>());
  EXPECT_NE(driver_->dump().find("10.96.0.1/32"), std::string::npos);
  EXPECT_FALSE(driver_->kernel_entries({"default", "web"}).empty());
  const std::string said = sink_.text();
  EXPECT_EQ(said.find("no IPv6 rules"), said.rfind("no IPv6 rules")) << "once is enough";
  ASSERT_TRUE(driver_->retire());
  ASSERT_TRUE(driver_->cleanup());
  EXPECT_EQ(saved(false).find("KUBE-"), std::string::npos);
}

TEST_F(Ipv4Only, AFlushIsRepaired) {
  ASSERT_TRUE(driver_->apply(ipv4_table(), {}, true).ok());
  const std::string good = saved(false);
  Counter& flushes = registry_.counter("fairlead_iptables_flushes_total", "");
  for (int i = 0; i < 2; ++i) {
    host_->kernel.flush();
    for (int turn = 0; turn < 500 && flushes.value() == static_cast<uint64_t>(i); ++turn) {
      loop_.run_once(std::chrono::milliseconds(20));
    }
    EXPECT_EQ(saved(false), good);
  }
  EXPECT_EQ(sink_.text().find("cannot look for a flush"), std::string::npos);
}

TEST_F(Ipv4Only, AServiceOfIPv6IsMissedUntilItIsServedOrGone) {
  const ServiceTable both = every_kind_table(), plain = ipv4_table();
  ASSERT_TRUE(driver_->apply(plain, {}, true).ok());
  for (const bool installed : {false, true}) {
    const ApplyReport report = driver_->apply(both, web_, false);
    ASSERT_EQ(report.errors.size(), 1u);
    EXPECT_EQ(report.errors[0],
              "iptables: IPv6: ip6tables-nft-save cannot be started: No such file or directory");
    EXPECT_EQ(driver_->retry().errors, report.errors);
    EXPECT_FALSE(driver_->verify(false));
    host_->has_ip6tables = installed;
    if (!installed) {
      ASSERT_TRUE(driver_->apply(plain, web_, false).ok());
    }
  }
  ASSERT_TRUE(driver_->retry().ok());
  EXPECT_NE(saved(true).find("fd96::1/128"), std::string::npos);
  EXPECT_EQ(driver_->verify(false).value(), std::vector<Drift>());
}

}  // namespace
}  // namespace fairlead::dataplane

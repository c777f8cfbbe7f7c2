// The kernels that the driver's tests run on: in memory, and real ones of both variants.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/iptables/driver.h"
#include "dataplane/iptables/fake_runner.h"
#include "tests/dataplane/cluster.h"
#include "tests/dataplane/netns_lab.h"

namespace fairlead::dataplane {

enum class KernelKind { fake, nft, legacy };

// Lends one runner to several drivers, one after the other, as runs of the agent share a kernel.
// Counts, and fails when it is told to.
class BorrowedIptables final : public IptablesRunner {
 public:
  struct Counts {
    size_t restores = 0, saves = 0, bytes = 0;
    size_t fail_restores = 0;  // so many of the next ones
  };
  BorrowedIptables(IptablesRunner& runner, Counts& counts) : runner_(runner), counts_(counts) {}

  Result<std::string> version() override { return runner_.version(); }
  size_t chains_at_once() override { return runner_.chains_at_once(); }
  Result<void> restore(bool ipv6, const std::string& input) override {
    ++counts_.restores;
    counts_.bytes += input.size();
    if (counts_.fail_restores > 0) {
      --counts_.fail_restores;
      return runner_.restore(ipv6, input + "*nat\n-A NOWHERE -j ACCEPT\nCOMMIT\n");
    }
    return runner_.restore(ipv6, input);
  }
  Result<void> save(bool ipv6, const std::function<void(std::string_view)>& line) override {
    ++counts_.saves;
    return runner_.save(ipv6, line);
  }
  Result<std::optional<std::string>> list_chain(bool ipv6, ipt::Table table,
                                                const std::string& chain) override {
    return runner_.list_chain(ipv6, table, chain);
  }
  Result<std::string> set_sysctl(const std::string& name, const std::string& value) override {
    return runner_.set_sysctl(name, value);
  }

 private:
  IptablesRunner& runner_;
  Counts& counts_;
};

// A test on one of the kernels, in a namespace of its own.
class OnKernel : public testing::TestWithParam<KernelKind> {
 protected:
  void SetUp() override {
    if (GetParam() == KernelKind::fake) {
      runner_ = std::make_unique<FakeIptables>();
      return;
    }
    SKIP_WITHOUT_NAMESPACES();
    netns_ = std::make_unique<FreshNetns>();
    runner_ = make_iptables_runner(
        GetParam() == KernelKind::nft ? IptablesVariant::nft : IptablesVariant::legacy, {});
    const auto version = runner_->version();
    ASSERT_TRUE(version) << version.error().message;
  }

  std::unique_ptr<Driver> make_driver(IptablesOptions options = {}) {
    return make_iptables_driver(options, loop_, Log(sink_), registry_,
                                std::make_unique<BorrowedIptables>(*runner_, counts_));
  }

  // What another program does.
  void tamper(const std::string& input) {
    const auto done = GetParam() == KernelKind::fake
                          ? static_cast<FakeIptables&>(*runner_).tamper(false, input)
                          : runner_->restore(false, input);
    ASSERT_TRUE(done) << done.error().message << "\n" << input;
  }

  // What a driver that starts from nothing makes of the table.
  static std::string expected(const ServiceTable& table) {
    MemoryLogSink sink;
    Registry registry;
    net::EventLoop loop;
    const auto driver =
        make_iptables_driver({}, loop, Log(sink), registry, std::make_unique<FakeIptables>());
    const ApplyReport report = driver->apply(table, {}, true);
    EXPECT_TRUE(report.ok()) << join(report.errors, "\n");
    return driver->dump();
  }

  static ServiceTable table_of(uint32_t services, uint32_t endpoints) {
    api::SnapshotBuilder builder;
    return compile(*big_cluster(builder, services, endpoints).snapshot, random_node());
  }

  // Everything that is there, foreign rules too.
  std::string saved(bool ipv6 = false) {
    std::string out;
    EXPECT_TRUE(runner_->save(ipv6, [&](std::string_view line) {
      if (!line.starts_with('#')) append(out, cat(line, "\n"));
    }));
    return out;
  }

  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  BorrowedIptables::Counts counts_;
  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<IptablesRunner> runner_;
};

inline std::string kernel_name(const testing::TestParamInfo<KernelKind>& info) {
  constexpr const char* names[] = {"Fake", "Nft", "Legacy"};
  return names[static_cast<size_t>(info.param)];
}

inline auto all_kernels() {
  return testing::Values(KernelKind::fake, KernelKind::nft, KernelKind::legacy);
}

}  // namespace fairlead::dataplane

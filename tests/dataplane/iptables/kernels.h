// The kernels that the driver's tests run on: in memory, and real ones of both variants.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/iptables/driver.h"
#include "dataplane/iptables/fake_runner.h"
#include "tests/dataplane/contract_kernel.h"

namespace fairlead::dataplane {

enum class KernelKind { fake, nft, legacy };

// Lends one runner to several drivers, one after the other, as runs of the agent share a kernel.
// Counts, and fails when it is told to.
class BorrowedIptables final : public IptablesRunner {
 public:
  struct Counts : FailsOnce {
    using FailsOnce::maybe_fail;
    size_t restores = 0, saves = 0, bytes = 0;
    size_t fail_restores = 0;  // so many of the next ones
    bool fail_lists = false;
    bool must_be_accepted = false;  // what is refused for another reason fails the test
  };
  BorrowedIptables(IptablesRunner& runner, Counts& counts) : runner_(runner), counts_(counts) {}

  Result<std::string> version() override { return runner_.version(); }
  size_t writes_at_once() override { return runner_.writes_at_once(); }
  Result<void> restore(bool ipv6, const std::string& input) override {
    ++counts_.restores;
    counts_.bytes += input.size();
    FL_TRY_VOID(counts_.maybe_fail("restore was to fail"));
    if (counts_.fail_restores > 0) {
      --counts_.fail_restores;
      return runner_.restore(ipv6, input + "*nat\n-A NOWHERE -j ACCEPT\nCOMMIT\n");
    }
    auto done = runner_.restore(ipv6, input);
    if (!done && counts_.must_be_accepted) {
      ADD_FAILURE() << "refused: " << done.error().message << "\n" << input;
    }
    return done;
  }
  Result<void> save(bool ipv6, const std::function<void(std::string_view)>& line) override {
    ++counts_.saves;
    FL_TRY_VOID(counts_.maybe_fail("save was to fail"));
    return runner_.save(ipv6, line);
  }
  Result<std::optional<std::string>> list_chain(bool ipv6, ipt::Table table,
                                                const std::string& chain) override {
    if (counts_.fail_lists) return fail("list was to fail");
    return runner_.list_chain(ipv6, table, chain);
  }
  Result<std::string> set_sysctl(const std::string& name, const std::string& value) override {
    FL_TRY_VOID(counts_.maybe_fail("sysctl was to fail"));
    return runner_.set_sysctl(name, value);
  }

 private:
  IptablesRunner& runner_;
  Counts& counts_;
};

// In memory, or one of the variants in a namespace of its own.
class IptablesKernel final : public ContractKernel {
 public:
  explicit IptablesKernel(KernelKind kind, IptablesOptions options = {}) : options_(options) {
    counts_.must_be_accepted = true;
    if (kind == KernelKind::fake) {
      auto fake = std::make_unique<FakeIptables>();
      fake_ = fake.get();
      runner_ = std::move(fake);
      return;
    }
    variant_ = kind == KernelKind::nft ? IptablesVariant::nft : IptablesVariant::legacy;
    netns_ = std::make_unique<FreshNetns>();
    runner_ = make_iptables_runner(variant_, {});
    const auto version = runner_->version();
    EXPECT_TRUE(version) << version.error().message;
  }

  std::unique_ptr<Driver> make_driver() override { return make_driver(options_); }
  std::unique_ptr<Driver> make_driver(IptablesOptions options) {
    return make_iptables_driver(options, loop_, Log(sink_), registry_,
                                std::make_unique<BorrowedIptables>(*runner_, counts_));
  }
  std::vector<Damage> damages() override;
  std::vector<FailsOnce*> doors() override {
    if (fake_ == nullptr) return {};
    return {&counts_};
  }

  // What another program does.
  Result<void> tamper(const std::string& input) {
    return fake_ == nullptr ? runner_->restore(false, input) : fake_->tamper(false, input);
  }
  void flush() {
    if (fake_ != nullptr) return fake_->flush();
    shell(cat("iptables-", to_string(variant_), " -w 5 -t nat -F"));  // the chains stay
  }

  // Everything that is there, foreign rules too.
  std::string saved(bool ipv6 = false) {
    std::string out;
    EXPECT_TRUE(runner_->save(ipv6, [&](std::string_view line) {
      if (!line.starts_with('#')) append(out, cat(line, "\n"));
    }));
    return out;
  }

  // What the drivers have asked for since the last call.
  BorrowedIptables::Counts take_counts() {
    const BorrowedIptables::Counts out = counts_;
    counts_ = {};
    counts_.must_be_accepted = out.must_be_accepted;
    return out;
  }
  void allow_refusals() { counts_.must_be_accepted = false; }
  void fail_lists(bool yes) { counts_.fail_lists = yes; }
  void fail_restores(size_t count) { counts_.fail_restores = count; }
  IptablesRunner& runner() { return *runner_; }
  Registry& registry() { return registry_; }
  net::EventLoop& loop() { return loop_; }

 private:
  const IptablesOptions options_;
  BorrowedIptables::Counts counts_;
  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<IptablesRunner> runner_;
  IptablesVariant variant_ = IptablesVariant::automatic;
  FakeIptables* fake_ = nullptr;  // null when the kernel is real
};

inline std::vector<ContractKernel::Damage> IptablesKernel::damages() {
  const std::pair<std::string, std::string> inputs[] = {
      {"*nat\n-D PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n"
       "COMMIT\n",
       "IPv4 nat PREROUTING does not lead to our chains as it should..."},
      {"*nat\n-I KUBE-SERVICES -d 10.96.0.9/32 -j ACCEPT\nCOMMIT\n",
       "IPv4 nat KUBE-SERVICES has a rule too many: -d 10.96.0.9/32 -j ACCEPT..."},
      {"*nat\n-A KUBE-SERVICES -j ACCEPT\nCOMMIT\n", "IPv4 nat KUBE-SERVICES..."},
      {"*filter\n:KUBE-FORWARD - [0:0]\nCOMMIT\n", "IPv4 filter KUBE-FORWARD holds other rules..."},
      {"*filter\n:KUBE-CLUSTER-IPS - [0:0]\nCOMMIT\n", "IPv4 filter KUBE-CLUSTER-IPS lacks: ..."},
      {"*nat\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\nCOMMIT\n",
       "IPv4 nat KUBE-SVC-AAAAAAAAAAAAAAAA belongs to no Service..."},
      {"*nat\n-A KUBE-MARK-MASQ -j RETURN\nCOMMIT\n",
       "IPv4 nat KUBE-MARK-MASQ holds other rules..."},
  };
  std::vector<Damage> out;
  for (const auto& [input, said] : inputs) {
    out.push_back({[this, bytes = input] { return tamper(bytes); }, said});
  }
  return out;
}

}  // namespace fairlead::dataplane

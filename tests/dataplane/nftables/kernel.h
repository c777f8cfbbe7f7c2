// Kernels for tests of the nftables driver: in memory, and the one below in a namespace of its own.
#pragma once

#include <memory>
#include <string>

#include "dataplane/nftables/driver.h"
#include "dataplane/nftables/fake_runner.h"
#include "tests/dataplane/lent_runner.h"
#include "tests/dataplane/nft_table_kernel.h"

namespace fairlead::dataplane {

class NftKernel final : public NftTableKernel {
 public:
  // On the calling thread's namespace, which is a new one when `real`.
  explicit NftKernel(bool real) {
    if (real) {
      netns_ = std::make_unique<FreshNetns>();
      runner_ = make_nft_runner();
    } else {
      auto fake = std::make_unique<FakeNft>();
      fake_ = fake.get();
      runner_ = std::move(fake);
    }
  }

  std::unique_ptr<Driver> make_driver() override { return make_driver({}); }
  std::unique_ptr<Driver> make_driver(NftablesOptions options,
                                      std::unique_ptr<net::Conntrack> conntrack = nullptr) {
    return make_nftables_driver(std::move(options), Log(sink_), registry_,
                                std::make_unique<LentRunner>(*runner_, &transactions_),
                                std::move(conntrack));
  }
  std::vector<Damage> damages() override;
  std::vector<FailsOnce*> doors() override {
    return fake_ ? std::vector<FailsOnce*>{fake_} : std::vector<FailsOnce*>();
  }

  NftRunner& rules() override { return *runner_; }
  std::string_view table_name() const override { return "fairlead"; }

  NftRunner& runner() { return *runner_; }
  Registry& registry() { return registry_; }
  NftTable table() { return **runner_->read_table("fairlead"); }
  // How many were sent since the last call.
  size_t take_transactions() { return std::exchange(transactions_, 0); }

 private:
  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<NftRunner> runner_;
  FakeNft* fake_ = nullptr;
  size_t transactions_ = 0;
};

inline std::vector<ContractKernel::Damage> NftKernel::damages() {
  const auto commands = [this](std::string text) {
    return [this, text = std::move(text)] { return runner_->run(text); };
  };
  return {
      {commands("delete table inet fairlead\n"), "table inet fairlead is missing"},
      {commands("add rule inet fairlead prerouting drop\n"),
       "chain prerouting has 7 rules instead of 6"},
      {commands("add chain inet fairlead stranger\n"), "chain stranger is foreign"},
      {commands("add set inet fairlead strangers { type ipv4_addr; }\n"),
       "set strangers is foreign"},
      {commands("delete element inet fairlead services4 { 10.96.0.1 . 6 . 80 }\n"),
       "set services4: 10.96.0.1 . 6 . 80 : goto internal-tcp4-2 is missing"},
      {commands("delete element inet fairlead tcp-backends4 { 10.96.0.1 . 80 . 0 }\n"),
       "set tcp-backends4: 10.96.0.1 . 80 . 0 : 10.128.0.64 . 8080 is missing"},
      {commands("delete element inet fairlead tcp-backends4 { 10.96.0.2 . 80 . 1 }\n"
                "add element inet fairlead tcp-backends4 { 10.96.0.2 . 80 . 1 : 1.2.3.4 . 5 }\n"),
       "set tcp-backends4: 10.96.0.2 . 80 . 1 is 1.2.3.4 . 5 instead of 10.128.0.129 . 8080"},
      {commands("add element inet fairlead hairpin4 { 9.9.9.9 . 9.9.9.9 }\n"),
       "set hairpin4: 9.9.9.9 . 9.9.9.9 is foreign"},
      {commands("add element inet fairlead local_pods4 { 10.77.0.0-10.77.0.255 }\n"),
       "set local_pods4: 10.77.0.0-10.77.0.255 is foreign"},
      {commands("delete element inet fairlead cluster-ips4 { 10.96.0.2 }\n"),
       "set cluster-ips4: 10.96.0.2 is missing"},
      {commands("add element inet fairlead ranges4 { 10.96.0.2 . 6 . 80 . 10.0.0.0/8 }\n"),
       "set ranges4: 10.96.0.2 . 6 . 80 . 10.0.0.0/8 is foreign"},
  };
}

}  // namespace fairlead::dataplane

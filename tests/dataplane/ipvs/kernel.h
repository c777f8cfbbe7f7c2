// A kernel for tests of the IPVS driver: a fake one, or the one below in a namespace of its own.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "dataplane/ipvs/driver.h"
#include "dataplane/ipvs/fake_host.h"
#include "dataplane/ipvs/fake_table.h"
#include "dataplane/nftables/fake_runner.h"
#include "tests/dataplane/lent_runner.h"
#include "tests/dataplane/nft_table_kernel.h"

namespace fairlead::dataplane::ipvs {

// Why the kernel's IPVS cannot be used here; "" when it can.
inline std::string why_no_ipvs() {
  std::string why = why_no_namespaces();
  if (!why.empty()) return why;
  std::thread([&] {
    const FreshNetns fresh;
    if (const auto opened = make_kernel_table()->open(); !opened) why = opened.error().message;
  }).join();
  return why;
}

// tests/vm runs these with FAIRLEAD_NEED_IPVS=1 under a kernel that has it.
inline const Missing missing_ipvs = {&why_no_ipvs, "FAIRLEAD_NEED_IPVS=1"};

// Hears of every write, after it was taken or refused.
using Witness = std::function<void(const std::string& write)>;

// Lend one door to several drivers, one after the other, as runs of the agent share a kernel.
class LentTable final : public Table {
 public:
  LentTable(Table& table, const Witness& witness) : table_(table), witness_(witness) {}
  Result<void> open() override { return table_.open(); }
  Result<Services> list() override { return table_.list(); }
  Result<Destinations> destinations(const ServiceKey& key) override {
    return table_.destinations(key);
  }
  Result<void> write(const TableWrite& write) override {
    auto done = table_.write(write);
    if (witness_) witness_(to_text(write));
    return done;
  }
  Result<void> set_timeouts(const Timeouts& timeouts) override {
    return table_.set_timeouts(timeouts);
  }

 private:
  Table& table_;
  const Witness& witness_;
};

class LentHost final : public Host {
 public:
  LentHost(Host& host, const Witness& witness) : host_(host), witness_(witness) {}
  Result<void> open(const std::string& device) override { return host_.open(device); }
  Result<HostAddresses> addresses() override { return host_.addresses(); }
  Result<void> make_device() override { return seen("make the device", host_.make_device()); }
  Result<void> add(const Ip& ip) override {
    return seen(cat("add address ", ip.to_string()), host_.add(ip));
  }
  Result<void> remove(const Ip& ip) override {
    return seen(cat("remove address ", ip.to_string()), host_.remove(ip));
  }
  Result<void> remove_device() override { return seen("remove the device", host_.remove_device()); }
  Result<void> write_sysctl(std::string_view key, std::string_view value) override {
    return host_.write_sysctl(key, value);
  }

 private:
  Result<void> seen(const std::string& write, Result<void> done) {
    if (witness_) witness_(write);
    return done;
  }

  Host& host_;
  const Witness& witness_;
};

class WitnessedRunner final : public NftRunner {
 public:
  WitnessedRunner(NftRunner& runner, const Witness& witness) : lent_(runner), witness_(witness) {}
  Result<void> run(const std::string& commands) override {
    auto done = lent_.run(commands);
    if (witness_) witness_(commands);
    return done;
  }
  Result<std::optional<NftTable>> read_table(const std::string& name) override {
    return lent_.read_table(name);
  }
  Result<NftSet> read_set(const std::string& table, const std::string& set) override {
    return lent_.read_set(table, set);
  }
  Result<std::vector<std::string>> other_tables(const std::string& name) override {
    return lent_.other_tables(name);
  }

 private:
  LentRunner lent_;
  const Witness& witness_;
};

// In memory, or the one below.
class IpvsKernel final : public NftTableKernel {
 public:
  explicit IpvsKernel(bool real) {
    if (real) {
      netns_ = std::make_unique<FreshNetns>();
      table_ = make_kernel_table();
      host_ = make_kernel_host();
      rules_ = make_nft_runner();
      return;
    }
    auto table = std::make_unique<FakeTable>();
    auto host = std::make_unique<FakeHost>();
    auto rules = std::make_unique<FakeNft>();
    fakes_ = {table.get(), host.get(), rules.get()};
    table_ = std::move(table);
    host_ = std::move(host);
    rules_ = std::move(rules);
  }

  std::unique_ptr<Driver> make_driver() override { return make_driver({}); }
  std::unique_ptr<Driver> make_driver(IpvsOptions options,
                                      std::unique_ptr<net::Conntrack> conntrack = nullptr) {
    return make_ipvs_driver(
        std::move(options), loop_, Log(sink_), registry_,
        {std::make_unique<LentTable>(*table_, witness_),
         std::make_unique<LentHost>(*host_, witness_),
         std::make_unique<WitnessedRunner>(*rules_, witness_), std::move(conntrack)});
  }
  std::vector<Damage> damages() override;
  std::vector<FailsOnce*> doors() override {
    if (fakes_.table == nullptr) return {};
    return {fakes_.table, fakes_.host, fakes_.rules};
  }

  // Not null when the kernel is in memory.
  struct Fakes {
    FakeTable* table = nullptr;
    FakeHost* host = nullptr;
    FakeNft* rules = nullptr;
  };
  const Fakes& fakes() const { return fakes_; }
  void watch(Witness witness) { witness_ = std::move(witness); }
  Table& table() { return *table_; }
  NftRunner& rules() override { return *rules_; }
  std::string_view table_name() const override { return "fairlead-ipvs"; }
  Registry& registry() { return registry_; }
  net::EventLoop& loop() { return loop_; }

 private:
  std::unique_ptr<FreshNetns> netns_;
  std::unique_ptr<Table> table_;
  std::unique_ptr<Host> host_;
  std::unique_ptr<NftRunner> rules_;
  Fakes fakes_;
  Witness witness_;
};

inline std::vector<ContractKernel::Damage> IpvsKernel::damages() {
  const ServiceKey key{Ip::v4(0x0a600001), Protocol::tcp, 80};
  const SocketAddress first{Ip::v4(0x0a800040), 8080}, stranger{Ip::v4(0x01020304), 5};
  const auto write = [this](TableWrite change) {
    return [this, change = std::move(change)] { return table_->write(change); };
  };
  const auto commands = [this](std::string text) {
    return [this, text = std::move(text)] { return rules_->run(text); };
  };
  return {
      {write({.verb = Verb::delete_service, .key = key}),
       "IPVS service 10.96.0.1:80/TCP is missing"},
      {write({.verb = Verb::edit_service, .key = key, .settings = {"wlc", 0, 0}}),
       "IPVS service 10.96.0.1:80/TCP has other settings"},
      {write({.verb = Verb::delete_destination, .key = key, .address = first}),
       "destination 10.128.0.64:8080 of 10.96.0.1:80/TCP is missing"},
      {write({.verb = Verb::edit_destination,
              .key = key,
              .address = first,
              .destination = {.weight = 7}}),
       "destination 10.128.0.64:8080 of 10.96.0.1:80/TCP is changed"},
      {write({.verb = Verb::add_destination, .key = key, .address = stranger}),
       "destination 1.2.3.4:5 of 10.96.0.1:80/TCP is not in the table"},
      {[this, key] { return host_->remove(key.ip); }, "address 10.96.0.1 is not on kube-ipvs0"},
      {[this, stranger] { return host_->add(stranger.ip); },
       "address 1.2.3.4 on kube-ipvs0 belongs to no service"},
      {commands("delete table inet fairlead-ipvs\n"), "table inet fairlead-ipvs is missing"},
      {commands("add rule inet fairlead-ipvs guard drop\n"),
       "chain guard has 4 rules instead of 3"},
      {commands("add chain inet fairlead-ipvs stranger\n"), "chain stranger is foreign"},
      {commands("delete element inet fairlead-ipvs filter4 { 10.96.0.1 . 6 . 80 }\n"),
       "set filter4: 10.96.0.1 . 6 . 80 : goto open is missing"},
      {commands("add element inet fairlead-ipvs vips4 { 1.2.3.4 }\n"),
       "set vips4: 1.2.3.4 is foreign"},
  };
}

}  // namespace fairlead::dataplane::ipvs

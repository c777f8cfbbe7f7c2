// A kernel for tests of the IPVS driver: a fake one, or the one below in a namespace of its own.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>
#include <thread>

#include "dataplane/ipvs/driver.h"
#include "dataplane/ipvs/fake_host.h"
#include "dataplane/ipvs/fake_table.h"
#include "dataplane/nftables/fake_runner.h"
#include "tests/dataplane/netns_lab.h"

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
#define SKIP_WITHOUT_IPVS()                                                               \
  if (const std::string why = ::fairlead::dataplane::ipvs::why_no_ipvs(); !why.empty()) { \
    if (std::getenv("FAIRLEAD_NEED_IPVS") != nullptr) FAIL() << why;                      \
    GTEST_SKIP() << "NOT RUN: " << why << "; `ctest -R vm.ipvs` runs this in a guest";    \
  }

// Lend one door to several drivers, one after the other, as runs of the agent share a kernel.
class LentTable final : public Table {
 public:
  explicit LentTable(Table& table) : table_(table) {}
  Result<void> open() override { return table_.open(); }
  Result<Services> list() override { return table_.list(); }
  Result<Destinations> destinations(const ServiceKey& key) override {
    return table_.destinations(key);
  }
  Result<void> write(const TableWrite& write) override { return table_.write(write); }

 private:
  Table& table_;
};

class LentHost final : public Host {
 public:
  explicit LentHost(Host& host) : host_(host) {}
  Result<void> open(const std::string& device) override { return host_.open(device); }
  Result<HostAddresses> addresses() override { return host_.addresses(); }
  Result<void> add(const Ip& ip) override { return host_.add(ip); }
  Result<void> remove(const Ip& ip) override { return host_.remove(ip); }
  Result<void> remove_device(const std::string& device) override {
    return host_.remove_device(device);
  }
  Result<void> write_sysctl(std::string_view key, std::string_view value) override {
    return host_.write_sysctl(key, value);
  }

 private:
  Host& host_;
};

class LentRunner final : public NftRunner {
 public:
  explicit LentRunner(NftRunner& runner) : runner_(runner) {}
  Result<void> run(const std::string& commands) override { return runner_.run(commands); }
  Result<std::optional<std::string>> list_table(const std::string& name) override {
    return runner_.list_table(name);
  }
  Result<std::optional<NftTable>> read_table(const std::string& name) override {
    return runner_.read_table(name);
  }
  Result<NftSet> read_set(const std::string& table, const std::string& set) override {
    return runner_.read_set(table, set);
  }
  Result<std::vector<std::string>> other_tables(const std::string& name) override {
    return runner_.other_tables(name);
  }

 private:
  NftRunner& runner_;
};

struct FakeKernel {
  FakeTable table;
  FakeHost host;
  FakeNft rules;

  IpvsDoors doors() {
    return {std::make_unique<LentTable>(table), std::make_unique<LentHost>(host),
            std::make_unique<LentRunner>(rules)};
  }
};

// What one driver needs around it.
struct Around {
  MemoryLogSink sink;
  Registry registry;
  net::EventLoop loop;

  std::unique_ptr<Driver> driver(IpvsDoors doors, IpvsOptions options = {}) {
    return make_ipvs_driver(std::move(options), loop, Log(sink), registry, std::move(doors));
  }
};

}  // namespace fairlead::dataplane::ipvs

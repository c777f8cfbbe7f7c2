// From the table to the kernel by iptables, both variants (root, in a namespace of its own): all of
// it into an empty kernel, and one endpoint more or less. `bytes` is what iptables-restore reads.
#include <benchmark/benchmark.h>

#include <sched.h>
#include <unistd.h>

#include <memory>

#include "base/check.h"
#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/iptables/driver.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::dataplane {
namespace {

constexpr uint32_t endpoints = 10;

NodeConfig node() { return {"node-0", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.128.0.0/24")}}; }

// One kernel with one driver; the namespace goes with the next one.
class Kernel {
 public:
  explicit Kernel(IptablesVariant variant) {
    CHECK(::unshare(CLONE_NEWNET) == 0);
    IptablesOptions options;
    options.variant = variant;
    driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_);
    CHECK(driver_->start());
  }
  void apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full) {
    const ApplyReport report = driver_->apply(table, changed, full);
    CHECK(report.ok());
  }
  uint64_t bytes() {
    return registry_.counter("fairlead_iptables_restore_bytes_total", "").value();
  }

 private:
  net::EventLoop loop_;
  MemoryLogSink sink_;
  Registry registry_;
  std::unique_ptr<Driver> driver_;
};

ServiceTable table_of(api::SnapshotBuilder& builder, benchmark::State& state) {
  return compile(*big_cluster(builder, static_cast<uint32_t>(state.range(0)), endpoints).snapshot,
                 node());
}

bool cannot_run(benchmark::State& state) {
  if (::geteuid() == 0) return false;
  state.SkipWithError("needs root");
  return true;
}

void full_sync(benchmark::State& state, IptablesVariant variant) {
  if (cannot_run(state)) return;
  api::SnapshotBuilder builder;
  const ServiceTable table = table_of(builder, state);
  uint64_t bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    {
      Kernel kernel(variant);
      state.ResumeTiming();
      kernel.apply(table, {}, true);
      state.PauseTiming();
      bytes = kernel.bytes();
    }
    state.ResumeTiming();
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}
void BM_IptablesNft_FullSync(benchmark::State& state) { full_sync(state, IptablesVariant::nft); }
void BM_IptablesLegacy_FullSync(benchmark::State& state) {
  full_sync(state, IptablesVariant::legacy);
}

void one_endpoint(benchmark::State& state, IptablesVariant variant) {
  if (cannot_run(state)) return;
  api::SnapshotBuilder builder;
  ServiceTable table = table_of(builder, state);
  Kernel kernel(variant);
  kernel.apply(table, {}, true);
  const auto service = static_cast<uint32_t>(state.range(0) / 2);
  const uint64_t before = kernel.bytes();
  bool more = false;
  for (auto _ : state) {
    state.PauseTiming();
    more = !more;
    builder.put(
        std::make_shared<const api::EndpointSlice>(big_slice(service, endpoints + (more ? 1 : 0))));
    const auto tick = builder.take();
    const auto changed = update(table, *tick.snapshot, tick.changes);
    state.ResumeTiming();
    kernel.apply(table, changed, false);
  }
  state.counters["bytes"] =
      static_cast<double>(kernel.bytes() - before) / static_cast<double>(state.iterations());
}
void BM_IptablesNft_OneEndpoint(benchmark::State& state) {
  one_endpoint(state, IptablesVariant::nft);
}
void BM_IptablesLegacy_OneEndpoint(benchmark::State& state) {
  one_endpoint(state, IptablesVariant::legacy);
}

BENCHMARK(BM_IptablesNft_FullSync)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_IptablesNft_OneEndpoint)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_IptablesLegacy_FullSync)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_IptablesLegacy_OneEndpoint)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fairlead::dataplane

// From a snapshot to the ServiceTable: whole, and after one endpoint came. bench_sync goes on from
// there to the kernel.
#include <benchmark/benchmark.h>

#include "dataplane/compile.h"
#include "dataplane/maglev.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::dataplane {
namespace {

constexpr uint32_t endpoints = 10;

NodeConfig node() { return {"node-0", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.128.0.0/24")}}; }

void BM_Compile_Whole(benchmark::State& state) {
  api::SnapshotBuilder builder;
  const auto tick = big_cluster(builder, static_cast<uint32_t>(state.range(0)), endpoints);
  for (auto _ : state) benchmark::DoNotOptimize(compile(*tick.snapshot, node()));
}
BENCHMARK(BM_Compile_Whole)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

// One service in the middle has one endpoint more, and in the next step one less again.
class Changing {
 public:
  explicit Changing(uint32_t services) : service_(services / 2) {
    table_ = compile(*big_cluster(builder_, services, endpoints).snapshot, node());
  }
  api::SnapshotBuilder::Tick next_tick() {
    more_ = !more_;
    builder_.put(std::make_shared<const api::EndpointSlice>(
        big_slice(service_, endpoints + (more_ ? 1 : 0))));
    return builder_.take();
  }
  ServiceTable& table() { return table_; }

 private:
  api::SnapshotBuilder builder_;
  ServiceTable table_;
  uint32_t service_;
  bool more_ = false;
};

void BM_Compile_OneEndpoint(benchmark::State& state) {
  Changing changing(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    state.PauseTiming();
    const auto tick = changing.next_tick();
    state.ResumeTiming();
    benchmark::DoNotOptimize(update(changing.table(), *tick.snapshot, tick.changes));
  }
}
BENCHMARK(BM_Compile_OneEndpoint)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

// The object's way from the store to the table, the snapshot included.
void BM_SnapshotAndCompile_OneEndpoint(benchmark::State& state) {
  Changing changing(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) {
    const auto tick = changing.next_tick();
    benchmark::DoNotOptimize(update(changing.table(), *tick.snapshot, tick.changes));
  }
}
BENCHMARK(BM_SnapshotAndCompile_OneEndpoint)
    ->Arg(1'000)
    ->Arg(10'000)
    ->Unit(benchmark::kMicrosecond);

// What a change of its endpoints costs a Service with Maglev beside the rest.
void BM_MaglevTable_ByBackends(benchmark::State& state) {
  std::vector<SocketAddress> backends;
  for (uint32_t i = 0; i < state.range(0); ++i) backends.push_back({Ip::v4(0x0a010001 + i), 8080});
  for (auto _ : state) benchmark::DoNotOptimize(maglev_table(backends, 2011));
}
BENCHMARK(BM_MaglevTable_ByBackends)->Arg(2)->Arg(20)->Arg(1'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace fairlead::dataplane

// From a snapshot to the ServiceTable, and from the table to the kernel by nftables (root, in a
// namespace of its own): whole, and after one endpoint came.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <optional>

#include "base/check.h"
#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/nftables/driver.h"
#include "net/netns.h"
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

// A driver in a namespace that lives as long as this.
class NftPlace {
 public:
  NftPlace() : name_(cat("flb", ::getpid())) {
    auto made = net::Netns::create(name_);
    CHECK(made.has_value());
    netns_.emplace(*std::move(made));
    auto scope = net::NetnsScope::enter(*netns_);
    CHECK(scope.has_value());
    scope_.emplace(*std::move(scope));
    driver_ = make_driver();
  }
  ~NftPlace() {
    scope_.reset();
    CHECK(net::Netns::remove(name_).has_value());
  }
  NftPlace(const NftPlace&) = delete;
  NftPlace& operator=(const NftPlace&) = delete;

  std::unique_ptr<Driver> make_driver() {
    return make_nftables_driver({}, Log(sink_, LogLevel::error), registry_);
  }
  Driver& driver() { return *driver_; }

 private:
  FdLogSink sink_{2};
  Registry registry_;
  const std::string name_;
  std::optional<net::Netns> netns_;
  std::optional<net::NetnsScope> scope_;
  std::unique_ptr<Driver> driver_;
};

void apply(Driver& driver, const ServiceTable& table, const std::set<api::ObjectKey>& changed,
           bool full) {
  CHECK(driver.apply(table, changed, full).ok());
}

void BM_Nftables_Whole(benchmark::State& state) {
  if (::geteuid() != 0) return state.SkipWithError("needs root");
  api::SnapshotBuilder builder;
  const ServiceTable table = compile(
      *big_cluster(builder, static_cast<uint32_t>(state.range(0)), endpoints).snapshot, node());
  NftPlace place;
  for (auto _ : state) {
    state.PauseTiming();
    CHECK(place.driver().cleanup().has_value());
    state.ResumeTiming();
    apply(place.driver(), table, {}, true);
  }
}
BENCHMARK(BM_Nftables_Whole)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

void BM_Nftables_TakeOver(benchmark::State& state) {
  if (::geteuid() != 0) return state.SkipWithError("needs root");
  api::SnapshotBuilder builder;
  const ServiceTable table = compile(
      *big_cluster(builder, static_cast<uint32_t>(state.range(0)), endpoints).snapshot, node());
  NftPlace place;
  apply(place.driver(), table, {}, true);
  for (auto _ : state) {
    const auto driver = place.make_driver();
    CHECK(driver->start().has_value());
    apply(*driver, table, {}, true);
  }
}
BENCHMARK(BM_Nftables_TakeOver)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

void BM_Nftables_OneEndpoint(benchmark::State& state) {
  if (::geteuid() != 0) return state.SkipWithError("needs root");
  Changing changing(static_cast<uint32_t>(state.range(0)));
  NftPlace place;
  apply(place.driver(), changing.table(), {}, true);
  for (auto _ : state) {
    const auto tick = changing.next_tick();
    const auto changed = update(changing.table(), *tick.snapshot, tick.changes);
    apply(place.driver(), changing.table(), changed, false);
  }
}
BENCHMARK(BM_Nftables_OneEndpoint)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace fairlead::dataplane

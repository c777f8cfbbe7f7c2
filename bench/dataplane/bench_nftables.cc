// The nftables driver against a kernel of its own (root, in a namespace): a full sync, one endpoint
// more or less, taking over what an earlier run left, reading all back to verify it; at 10 backends
// a service. `commands_kB` and `writes` are of one apply; `peak_MB` is how much the process grew.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include <optional>

#include "base/check.h"
#include "base/text.h"
#include "dataplane/compile.h"
#include "dataplane/nftables/driver.h"
#include "dataplane/nftables/runner.h"
#include "net/netns.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::dataplane {
namespace {

constexpr uint32_t endpoints = 10;

NodeConfig node() { return {"node-0", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.128.0.0/24")}}; }

double peak_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// A namespace and a table; both end with this.
class Place {
 public:
  explicit Place(benchmark::State& state)
      : name_(cat("flbn", ::getpid())), services_(static_cast<uint32_t>(state.range(0))) {
    auto made = net::Netns::create(name_);
    CHECK(made.has_value());
    netns_.emplace(*std::move(made));
    auto scope = net::NetnsScope::enter(*netns_);
    CHECK(scope.has_value());
    scope_.emplace(*std::move(scope));
    table_ = compile(*big_cluster(builder_, services_, endpoints).snapshot, node());
    start_mb_ = peak_mb();
  }
  ~Place() {
    scope_.reset();
    CHECK(net::Netns::remove(name_).has_value());
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::unique_ptr<Driver> make_driver() {
    return make_nftables_driver({}, Log(sink_, LogLevel::error), registry_);
  }
  void apply(Driver& driver, const std::set<api::ObjectKey>& changed, bool full) {
    const ApplyReport report = driver.apply(table_, changed, full);
    CHECK(report.ok());
    writes_ += report.writes;
  }
  // The middle service has one endpoint more, and in the next step one less again.
  std::set<api::ObjectKey> change() {
    more_ = !more_;
    builder_.put(std::make_shared<const api::EndpointSlice>(
        big_slice(services_ / 2, endpoints + (more_ ? 1 : 0))));
    const auto tick = builder_.take();
    return update(table_, *tick.snapshot, tick.changes);
  }
  void forget_counts() {
    writes_ = 0;
    bytes_before_ = bytes();
  }
  void report(benchmark::State& state) {
    const double runs = static_cast<double>(state.iterations());
    state.counters["writes"] = static_cast<double>(writes_) / runs;
    state.counters["commands_kB"] = static_cast<double>(bytes() - bytes_before_) / runs / 1000;
    state.counters["peak_MB"] = peak_mb() - start_mb_;
  }

 private:
  uint64_t bytes() {
    return registry_.counter("fairlead_nftables_command_bytes_total", "").value();
  }

  FdLogSink sink_{2};
  Registry registry_;
  const std::string name_;
  const uint32_t services_;
  std::optional<net::Netns> netns_;
  std::optional<net::NetnsScope> scope_;
  api::SnapshotBuilder builder_;
  ServiceTable table_;
  bool more_ = false;
  size_t writes_ = 0;
  uint64_t bytes_before_ = 0;
  double start_mb_ = 0;
};

bool can_run(benchmark::State& state) {
  if (::geteuid() != 0) state.SkipWithError("needs root");
  return ::geteuid() == 0;
}

void BM_NftablesFullSync(benchmark::State& state) {
  if (!can_run(state)) return;
  Place place(state);
  const auto driver = place.make_driver();
  for (auto _ : state) {
    state.PauseTiming();
    CHECK(driver->cleanup().has_value());
    state.ResumeTiming();
    place.apply(*driver, {}, true);
  }
  place.report(state);
}
BENCHMARK(BM_NftablesFullSync)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

void BM_NftablesOneEndpoint(benchmark::State& state) {
  if (!can_run(state)) return;
  Place place(state);
  const auto driver = place.make_driver();
  place.apply(*driver, {}, true);
  place.forget_counts();
  for (auto _ : state) {
    state.PauseTiming();
    const auto changed = place.change();
    state.ResumeTiming();
    place.apply(*driver, changed, false);
  }
  place.report(state);
}
BENCHMARK(BM_NftablesOneEndpoint)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

void BM_NftablesTakeOver(benchmark::State& state) {
  if (!can_run(state)) return;
  Place place(state);
  place.apply(*place.make_driver(), {}, true);
  place.forget_counts();
  for (auto _ : state) {
    const auto driver = place.make_driver();
    CHECK(driver->start().has_value());
    place.apply(*driver, {}, true);
  }
  place.report(state);
}
BENCHMARK(BM_NftablesTakeOver)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

void BM_NftablesVerify(benchmark::State& state) {
  if (!can_run(state)) return;
  Place place(state);
  const auto driver = place.make_driver();
  place.apply(*driver, {}, true);
  place.forget_counts();
  for (auto _ : state) CHECK(driver->verify(true)->empty());
  place.report(state);
}
BENCHMARK(BM_NftablesVerify)->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond);

// The same table, listed to text by libnftables and read by netlink.
void BM_NftablesRead(benchmark::State& state, bool by_netlink) {
  if (!can_run(state)) return;
  Place place(state);
  place.apply(*place.make_driver(), {}, true);
  const auto runner = make_nft_runner();
  for (auto _ : state) {
    if (by_netlink) {
      CHECK(runner->read_table("fairlead").has_value());
    } else {
      CHECK(runner->list_table("fairlead").has_value());
    }
  }
  place.report(state);
}
BENCHMARK_CAPTURE(BM_NftablesRead, ByNetlink, true)->Arg(10'000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_NftablesRead, ByLibnftables, false)
    ->Arg(10'000)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fairlead::dataplane

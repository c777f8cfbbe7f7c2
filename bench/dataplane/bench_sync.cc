// From a snapshot to the kernel, for each mode that this machine has, in a namespace of its own
// (root): a full sync (compile() and apply() into an empty kernel), and one endpoint changed
// (update() and apply()) at that size. `p50_ms` and `p99_ms` are of single changes; `writes` and
// `kB` are of one sync: kernel writes or rules, and what the kernel's tools read where one is
// used.
#include <benchmark/benchmark.h>

#include <chrono>
#include <optional>

#include "bench/dataplane/lanes.h"
#include "dataplane/compile.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::bench {
namespace {

using dataplane::ApplyReport;
using Clock = std::chrono::steady_clock;

constexpr uint32_t endpoints = 10;

dataplane::NodeConfig node() {
  return {"node-0", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.128.0.0/24")}};
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// A namespace with a contender in it, and the cluster that it is to serve.
class Place {
 public:
  Place(const std::string& contender, uint32_t services)
      : services_(services),
        name_(cat("flbs", ::getpid())),
        netns_(must(net::Netns::create(name_))),
        scope_(must(net::NetnsScope::enter(netns_))),
        contender_(contender),
        tick_(dataplane::big_cluster(builder_, services, endpoints)) {}
  ~Place() {
    contender_.stop();
    scope_.reset();
    must(net::Netns::remove(name_));
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // Seconds of compile() and apply() into an empty kernel.
  double full_sync() {
    contender_.stop();
    dataplane::Driver& driver = contender_.open();
    driver_ = &driver;
    forget_counts();
    const auto begin = Clock::now();
    table_ = dataplane::compile(*tick_.snapshot, node());
    check(driver.apply(table_, {}, true));
    return seconds_since(begin);
  }
  // Seconds from the snapshot with one endpoint more, or less again, to the kernel.
  double one_endpoint() {
    more_ = !more_;
    builder_.put(std::make_shared<const api::EndpointSlice>(
        dataplane::big_slice(services_ / 2, endpoints + (more_ ? 1 : 0))));
    tick_ = builder_.take();
    const auto begin = Clock::now();
    const auto changed = dataplane::update(table_, *tick_.snapshot, tick_.changes);
    check(driver_->apply(table_, changed, false));
    return seconds_since(begin);
  }
  void forget_counts() {
    writes_ = 0;
    bytes_before_ = contender_.bytes_sent();
  }
  void report(benchmark::State& state, size_t syncs) {
    const auto count = static_cast<double>(syncs);
    state.counters["writes"] = static_cast<double>(writes_) / count;
    const auto bytes = static_cast<double>(contender_.bytes_sent() - bytes_before_);
    if (bytes > 0) state.counters["kB"] = bytes / count / 1000;
  }

 private:
  void check(const ApplyReport& report) {
    if (!report.ok()) fprintf(stderr, "bench_sync: %s\n", report.errors[0].c_str());
    CHECK(report.ok());
    writes_ += report.writes;
  }

  const uint32_t services_;
  const std::string name_;
  const net::Netns netns_;
  std::optional<net::NetnsScope> scope_;
  Contender contender_;
  api::SnapshotBuilder builder_;
  api::SnapshotBuilder::Tick tick_;
  dataplane::ServiceTable table_;
  dataplane::Driver* driver_ = nullptr;
  bool more_ = false;
  size_t writes_ = 0;
  uint64_t bytes_before_ = 0;
};

bool can_run(benchmark::State& state, const std::string& contender) {
  if (::geteuid() != 0) {
    state.SkipWithError("needs root");
    return false;
  }
  if (contenders_here({contender}).empty()) state.SkipWithError("this machine has it not");
  return !state.error_occurred();
}

void full_sync(benchmark::State& state, const std::string& contender) {
  if (!can_run(state, contender)) return;
  Place place(contender, static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) state.SetIterationTime(place.full_sync());
  place.report(state, 1);  // each one forgets those before
}

void one_endpoint(benchmark::State& state, const std::string& contender) {
  if (!can_run(state, contender)) return;
  Place place(contender, static_cast<uint32_t>(state.range(0)));
  place.full_sync();
  for (int i = 0; i < 2; ++i) place.one_endpoint();
  place.forget_counts();
  std::vector<double> took;
  for (auto _ : state) {
    took.push_back(place.one_endpoint());
    state.SetIterationTime(took.back());
  }
  std::sort(took.begin(), took.end());
  state.counters["p50_ms"] = took[took.size() / 2] * 1000;
  state.counters["p99_ms"] = took[took.size() * 99 / 100] * 1000;
  place.report(state, took.size());
}

const bool added = [] {
  struct Mode {
    const char* name;
    int syncs, changes;
  };
  for (const Mode mode : {Mode{"ebpf", 5, 200},
                          {"nftables", 5, 200},
                          {"iptables_nft", 3, 50},
                          {"iptables_legacy", 3, 50},
                          {"ipvs", 3, 200},
                          {"userspace", 5, 200}}) {
    const std::string name = mode.name;
    benchmark::RegisterBenchmark(("FullSync/" + name).c_str(),
                                 [=](benchmark::State& state) { full_sync(state, name); })
        ->Arg(1'000)
        ->Arg(10'000)
        ->Iterations(mode.syncs)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
    benchmark::RegisterBenchmark(("OneEndpoint/" + name).c_str(),
                                 [=](benchmark::State& state) { one_endpoint(state, name); })
        ->Arg(1'000)
        ->Arg(10'000)
        ->Iterations(mode.changes)
        ->UseManualTime()
        ->Unit(benchmark::kMillisecond);
  }
  return true;
}();

}  // namespace
}  // namespace fairlead::bench

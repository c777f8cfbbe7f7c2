// From the table to the kernel by iptables, both variants (root, in a namespace of its own): all of
// it into an empty kernel, and one endpoint more or less. `bytes` is what iptables-restore reads.
// And the same against inputs of kube-proxy's shape, turn and turn about.
#include <benchmark/benchmark.h>

#include <sched.h>
#include <unistd.h>

#include <memory>

#include "base/check.h"
#include "base/text.h"
#include "bench/dataplane/peer_rules.h"
#include "bench/dataplane/sync_duel.h"
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

// Bounded, as one full sync at 10,000 is seconds.
void syncs(benchmark::internal::Benchmark* bench) {
  bench->Arg(1'000)->Arg(10'000)->Iterations(3)->Unit(benchmark::kMillisecond);
}
void changes(benchmark::internal::Benchmark* bench) {
  bench->Arg(1'000)->Arg(10'000)->Iterations(50)->Unit(benchmark::kMillisecond);
}
BENCHMARK(BM_IptablesNft_FullSync)->Apply(syncs);
BENCHMARK(BM_IptablesNft_OneEndpoint)->Apply(changes);
BENCHMARK(BM_IptablesLegacy_FullSync)->Apply(syncs);
BENCHMARK(BM_IptablesLegacy_OneEndpoint)->Apply(changes);

// What kube-proxy sends, in its mode for large clusters (no comments in the chains of endpoints):
// all chains once; for a change the chains of the Service, and all rules of KUBE-SERVICES each
// time.
class PeerInput {
 public:
  explicit PeerInput(const ServiceTable& table) {
    for (const auto& [key, entry] : table.services) {
      const std::string chain = service_chain(key.name);
      append(services_, cat("-A KUBE-SERVICES -m comment --comment \"", key.to_string(),
                            ":http cluster IP\" ", match(entry.ports[0]), "-j ", chain, "\n"));
    }
  }

  // In one input, or in pieces of so many Services: the time of iptables-nft-restore grows with the
  // square of the chains of one.
  std::vector<std::string> full(const ServiceTable& table, size_t services_at_once) const {
    std::vector<std::string> out;
    std::string chains, rules;
    size_t services = 0;
    for (const auto& [key, entry] : table.services) {
      if (++services % services_at_once == 0) {
        out.push_back(cat("*nat\n:KUBE-MARK-MASQ - [0:0]\n", chains, rules, "COMMIT\n"));
        chains.clear();
        rules.clear();
      }
      add(key.name, entry.ports[0], chains, rules);
    }
    out.push_back(bench::peer_nat_input(chains, services_ + rules));
    return out;
  }

  std::string change(const std::string& name, const PortRule& rule,
                     const std::optional<Backend>& gone) const {
    std::string chains, rules, removals;
    add(name, rule, chains, rules);
    if (gone) {
      const std::string chain = endpoint_chain(name, *gone);
      append(chains, cat(":", chain, " - [0:0]\n"));
      append(removals, cat("-X ", chain, "\n"));
    }
    return cat("*nat\n:KUBE-SERVICES - [0:0]\n", chains, services_, bench::peer_last_service_rule(),
               rules, removals, "COMMIT\n");
  }

 private:
  static std::string service_chain(const std::string& name) { return "KUBE-SVC-PEER" + name; }
  static std::string endpoint_chain(const std::string& name, const Backend& backend) {
    return cat("KUBE-SEP-PEER", name, "X", static_cast<int>(backend.ip.bytes[15]));
  }
  static std::string match(const PortRule& rule) {
    return cat("-m tcp -p tcp -d ", rule.frontends[0].ip.to_string(), " --dport 80 ");
  }
  static void add(const std::string& name, const PortRule& rule, std::string& chains,
                  std::string& rules) {
    const std::string chain = service_chain(name);
    append(chains, cat(":", chain, " - [0:0]\n"));
    append(rules, cat("-A ", chain, " ", match(rule), "! -s 10.128.0.0/24 -j KUBE-MARK-MASQ\n"));
    for (size_t i = 0; i < rule.backends.size(); ++i) {
      const Backend& backend = rule.backends[i];
      const std::string endpoint = endpoint_chain(name, backend);
      const size_t left = rule.backends.size() - i;
      const double share = 1.0 / static_cast<double>(left);
      append(chains, cat(":", endpoint, " - [0:0]\n"));
      append(rules,
             cat("-A ", chain, " ",
                 left == 1
                     ? ""
                     : cat("-m statistic --mode random --probability ", std::to_string(share), " "),
                 "-j ", endpoint, "\n-A ", endpoint, " -s ", backend.ip.to_string(),
                 " -j KUBE-MARK-MASQ\n-A ", endpoint, " -m tcp -p tcp -j DNAT --to-destination ",
                 backend.ip.to_string(), ":", backend.port, "\n"));
    }
  }

  std::string services_;
};

class IptablesDuel {
 public:
  IptablesDuel(IptablesVariant variant, uint32_t services)
      : variant_(variant), cluster_(services), peer_(cluster_.table()) {
    IptablesOptions options;
    options.variant = variant;
    options.limits.process = std::chrono::minutes(20);
    ours_at_.timed([&] {
      driver_ = make_iptables_driver(options, loop_, Log(sink_), registry_);
      CHECK(driver_->start());
    });
  }
  void full_sync(bench::Duel& duel) {
    ours_at_.timed([&] { CHECK(driver_->cleanup()); });
    peer_at_.timed([&] { bench::feed(restore(""), "*nat\nCOMMIT\n"); });
    take_turn(duel, {}, true, peer_.full(cluster_.table(), SIZE_MAX).front());
  }
  // Both hold everything.
  void load() {
    ours_at_.timed([&] { CHECK(driver_->apply(cluster_.table(), {}, true).ok()); });
    for (const std::string& input : peer_.full(cluster_.table(), 50)) {
      peer_at_.timed([&] { bench::feed(restore(" --noflush"), input); });
    }
  }
  void one_endpoint(bench::Duel& duel) {
    const Backend last = cluster_.changing().backends.back();
    const auto changed = cluster_.change();
    const auto gone = cluster_.has_more() ? std::nullopt : std::optional(last);
    take_turn(duel, changed, false, peer_.change(changed.begin()->name, cluster_.changing(), gone));
  }

 private:
  void take_turn(bench::Duel& duel, const std::set<api::ObjectKey>& changed, bool full,
                 const std::string& input) {
    const uint64_t before = bytes();
    const double ours =
        ours_at_.timed([&] { CHECK(driver_->apply(cluster_.table(), changed, full).ok()); });
    const double peer =
        peer_at_.timed([&] { bench::feed(restore(" --noflush --counters"), input); });
    duel.add(ours, peer, bytes() - before, input.size());
  }
  std::string restore(std::string_view options) const {
    return cat("iptables-", to_string(variant_), "-restore", options);
  }
  uint64_t bytes() {
    return registry_.counter("fairlead_iptables_restore_bytes_total", "").value();
  }

  const IptablesVariant variant_;
  FdLogSink fd_sink_{2};
  Log sink_{fd_sink_, LogLevel::error};
  Registry registry_;
  net::EventLoop loop_;
  bench::ChangingCluster cluster_;
  const PeerInput peer_;
  bench::OwnNetns ours_at_{"a"}, peer_at_{"b"};
  std::unique_ptr<Driver> driver_;
};

void BM_IptablesAgainstPeer_FullSync(benchmark::State& state, IptablesVariant variant) {
  if (bench::needs_root(state)) return;
  IptablesDuel place(variant, static_cast<uint32_t>(state.range(0)));
  bench::Duel duel;
  for (auto _ : state) place.full_sync(duel);
  duel.report(state);
}

void BM_IptablesAgainstPeer_OneEndpoint(benchmark::State& state, IptablesVariant variant) {
  if (bench::needs_root(state)) return;
  IptablesDuel place(variant, static_cast<uint32_t>(state.range(0)));
  bench::Duel duel;
  place.load();
  for (auto _ : state) place.one_endpoint(duel);
  duel.report(state);
}

// At 10,000 services iptables-nft-restore takes many minutes for the peer's one input.
BENCHMARK_CAPTURE(BM_IptablesAgainstPeer_FullSync, Nft, IptablesVariant::nft)
    ->Arg(1'000)
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_IptablesAgainstPeer_FullSync, Legacy, IptablesVariant::legacy)
    ->Arg(1'000)
    ->Arg(10'000)
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_IptablesAgainstPeer_OneEndpoint, Nft, IptablesVariant::nft)
    ->Arg(1'000)
    ->Arg(10'000)
    ->Iterations(20)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_IptablesAgainstPeer_OneEndpoint, Legacy, IptablesVariant::legacy)
    ->Arg(1'000)
    ->Arg(10'000)
    ->Iterations(20)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fairlead::dataplane

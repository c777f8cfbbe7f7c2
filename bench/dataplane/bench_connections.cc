// New TCP connections per second through the last ClusterIP of N, for each contender, against
// connecting to the backend directly: labs alike, one round of each in turn. Its counters are the
// medians of the rounds' ratios to direct, _low and _high their quartiles.
#include <benchmark/benchmark.h>

#include "bench/dataplane/lanes.h"

namespace fairlead::bench {
namespace {

constexpr int rounds = 151;
constexpr int round_ms = 30;

void report(benchmark::State& state, const std::string& name, std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  state.counters[name] = ratios[ratios.size() / 2];
  state.counters[name + "_low"] = ratios[ratios.size() / 4];
  state.counters[name + "_high"] = ratios[ratios.size() * 3 / 4];
}

void measure(benchmark::State& state, Lanes& lanes) {
  const SocketAddress service = last_cluster_ip(static_cast<uint32_t>(state.range(0)));
  std::vector<std::vector<double>> ratios(lanes.size());
  std::vector<double> direct_rate;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    double base = 0;
    for (size_t i = 0; i < lanes.size(); ++i) {
      const double rate = lanes[i].lab().rate(i == 0 ? backend : service, round_ms);
      if (i == 0) base = rate;
      if (round >= 0) ratios[i].push_back(rate / base);
    }
    if (round >= 0) direct_rate.push_back(base);
  }
  std::sort(direct_rate.begin(), direct_rate.end());
  state.counters["direct_per_s"] = direct_rate[direct_rate.size() / 2];
  for (size_t i = 1; i < lanes.size(); ++i) report(state, lanes[i].name(), std::move(ratios[i]));
}

void BM_Connections_ThroughTheLastService(benchmark::State& state) {
  if (::geteuid() != 0) return state.SkipWithError("needs root: it makes network namespaces");
  for (auto _ : state) {
    Lanes lanes = make_lanes({"direct", "ebpf", "ebpf_clsact", "ebpf_sockets", "ebpf_tc",
                              "nftables", "iptables_nft", "iptables_legacy", "ipvs", "userspace",
                              "peer_nftables", "peer_iptables_nft", "peer_iptables_legacy"},
                             connection_table(static_cast<uint32_t>(state.range(0))));
    measure(state, lanes);
  }
}

BENCHMARK(BM_Connections_ThroughTheLastService)
    ->Arg(1)
    ->Arg(1'000)
    ->Arg(10'000)
    ->Iterations(1)
    ->UseRealTime();

}  // namespace
}  // namespace fairlead::bench

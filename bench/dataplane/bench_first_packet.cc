// How long the first packet of a flow and its answer take through the last ClusterIP of N, for each
// contender and to the backend directly (`direct`), in microseconds: connect() of TCP, and of UDP
// the first datagram until its answer. Labs alike, a few flows of each in turn. The counters are
// the median and the 99th percentile; what balancing adds is their difference to direct's.
#include <benchmark/benchmark.h>

#include "bench/dataplane/lanes.h"

namespace fairlead::bench {
namespace {

constexpr int rounds = 200;
constexpr uint32_t flows_of_a_round = 20;

void BM_FirstPacket(benchmark::State& state, Measure measure) {
  if (::geteuid() != 0) return state.SkipWithError("needs root: it makes network namespaces");
  const auto services = static_cast<uint32_t>(state.range(0));
  for (auto _ : state) {
    Lanes lanes = make_lanes({"direct", "ebpf", "ebpf_tc", "nftables", "iptables_nft",
                              "iptables_legacy", "ipvs", "userspace"},
                             connection_table(services));
    std::vector<std::vector<double>> all(lanes.size());
    for (int round = -1; round < rounds; ++round) {  // the first one warms up
      for (size_t i = 0; i < lanes.size(); ++i) {
        const SocketAddress to = i == 0 ? backend : last_cluster_ip(services);
        const auto took = lanes[i].lab().samples(to, measure, flows_of_a_round);
        if (round >= 0) all[i].insert(all[i].end(), took.begin(), took.end());
      }
    }
    for (size_t i = 0; i < lanes.size(); ++i) {
      std::sort(all[i].begin(), all[i].end());
      state.counters[lanes[i].name() + "_p50"] = all[i][all[i].size() / 2] / 1000;
      state.counters[lanes[i].name() + "_p99"] = all[i][all[i].size() * 99 / 100] / 1000;
    }
  }
}

#define FIRST_PACKET(name, measure)                \
  BENCHMARK_CAPTURE(BM_FirstPacket, name, measure) \
      ->Arg(1)                                     \
      ->Arg(1'000)                                 \
      ->Arg(10'000)                                \
      ->Iterations(1)                              \
      ->UseRealTime()
FIRST_PACKET(Tcp, Measure::connect);
FIRST_PACKET(Udp, Measure::datagram);

}  // namespace
}  // namespace fairlead::bench

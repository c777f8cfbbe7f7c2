// Instructions of a whole new connection: client, node and server on one CPU whose time stamp
// counter ticks once an instruction. Only true in a guest: bench/dataplane/instructions.py runs it
// there, one contender at a time. The counters are the median and the quartiles.
#include <benchmark/benchmark.h>

#include "bench/dataplane/lanes.h"

namespace fairlead::bench {
namespace {

constexpr uint32_t warm_up = 50, requests = 301;

void BM_Instructions(benchmark::State& state, const std::string& name, bool to_node_port) {
  if (::geteuid() != 0) return state.SkipWithError("needs root: it makes network namespaces");
  if (contenders_here({name}).empty()) return state.SkipWithError("this machine has it not");
  const auto services = static_cast<uint32_t>(state.range(0));
  for (auto _ : state) {
    Lane lane(name, 0);
    lane.serve(connection_table(services));
    const SocketAddress to = name == "direct" ? backend
                             : to_node_port   ? node_port
                                              : last_cluster_ip(services);
    lane.lab().samples(to, Measure::ticks, warm_up);
    auto ticks = lane.lab().samples(to, Measure::ticks, requests);
    std::sort(ticks.begin() + 1, ticks.end());  // the first one counts the wait, too
    const auto at = [&](size_t quarter) { return ticks[1 + (requests - 2) * quarter / 4]; };
    state.counters["low"] = at(1);
    state.counters["median"] = at(2);
    state.counters["high"] = at(3);
  }
}

void add(const std::string& name, bool to_node_port) {
  const std::string title = cat("Instructions/", name, to_node_port ? "/NodePort" : "/ClusterIP");
  benchmark::RegisterBenchmark(
      title.c_str(), [=](benchmark::State& state) { BM_Instructions(state, name, to_node_port); })
      ->Arg(1)
      ->Arg(1'000)
      ->Arg(10'000)
      ->Iterations(1);
}

const bool added = [] {
  for (const char* name : {"direct", "ebpf", "ebpf_sockets", "ebpf_tc", "nftables", "iptables_nft",
                           "iptables_legacy", "ipvs", "userspace"}) {
    add(name, false);
    if (std::string_view(name) != "direct") add(name, true);
  }
  for (const char* name :
       {"peer_nftables", "peer_iptables_nft", "peer_iptables_legacy", "peer_ipvs"}) {
    add(name, false);
  }
  return true;
}();

}  // namespace
}  // namespace fairlead::bench

// New TCP connections per second through the last ClusterIP of N, per mode, against connecting to
// the backend directly: labs alike, one round of each in turn. The counters `nftables`, `ebpf` and
// `ebpf_sockets` (the eBPF mode without its tc programs) are medians of the rounds' ratios to
// direct, _low and _high their quartiles.
#include <benchmark/benchmark.h>
#include <sys/mount.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/dataplane/connection_lab.h"
#include "dataplane/ebpf/cgroup_links.h"
#include "dataplane/ebpf/driver.h"
#include "dataplane/nftables/driver.h"

namespace fairlead::bench {
namespace {

constexpr int rounds = 15;
constexpr int round_ms = 300;

dataplane::ServiceTable table_of(uint32_t services) {
  dataplane::ServiceTable table;
  table.node = {"node", {Ip::v4(0x0a010001)}, {*Cidr::parse("10.1.0.0/24")}};
  for (uint32_t i = 0; i < services; ++i) {
    dataplane::PortRule rule;
    rule.port_name = "http";
    rule.frontends = {{dataplane::FrontendKind::cluster_ip, Ip::v4(0x0a600000 + i), 80}};
    rule.backends = {{Ip::v4(0x0a020002), 8080, true}};
    table.services[{"default", cat("s", i)}].ports = {rule};
  }
  return table;
}

void apply(dataplane::Driver& driver, const dataplane::ServiceTable& table) {
  must(driver.start());
  const dataplane::ApplyReport report = driver.apply(table, {}, true);
  if (!report.ok()) fprintf(stderr, "bench_connections: %s\n", report.errors[0].c_str());
  CHECK(report.ok());
}

// The eBPF driver with a cgroup and a bpffs of its own.
class EbpfPlace {
 public:
  explicit EbpfPlace(bool tc) : tc_(tc) {
    char folder[] = "/tmp/fairlead-bench-XXXXXX";
    CHECK(::mkdtemp(folder) != nullptr);
    folder_ = folder;
    cgroup_ = cat(must(dataplane::ebpf::cgroup2_root()), "/fairlead-bench-", ::getpid(),
                  tc ? "" : "-sockets");
    CHECK(::mkdir(cgroup_.c_str(), 0755) == 0);
  }
  ~EbpfPlace() {
    ::umount2(folder_.c_str(), MNT_DETACH);
    ::rmdir(folder_.c_str());
    ::rmdir(cgroup_.c_str());
  }
  EbpfPlace(const EbpfPlace&) = delete;
  EbpfPlace& operator=(const EbpfPlace&) = delete;

  const std::string& cgroup() const { return cgroup_; }
  dataplane::EbpfOptions options() const {
    return {.bpffs = folder_, .cgroup = cgroup_, .attach_tc = tc_};
  }

 private:
  const bool tc_;
  std::string folder_, cgroup_;
};

void report(benchmark::State& state, const std::string& name, std::vector<double> ratios) {
  std::sort(ratios.begin(), ratios.end());
  state.counters[name] = ratios[ratios.size() / 2];
  state.counters[name + "_low"] = ratios[ratios.size() / 4];
  state.counters[name + "_high"] = ratios[ratios.size() * 3 / 4];
}

struct Contender {
  std::string name;
  ConnectionLab& lab;
  std::vector<double> ratios = {};
};

void measure(benchmark::State& state, ConnectionLab& direct, std::vector<Contender> contenders) {
  const SocketAddress backend{Ip::v4(0x0a020002), 8080};
  const SocketAddress service{Ip::v4(0x0a600000 + static_cast<uint32_t>(state.range(0)) - 1), 80};
  std::vector<double> direct_rate;
  for (int round = -1; round < rounds; ++round) {  // the first one warms up
    const double base = direct.rate(backend, round_ms);
    if (round >= 0) direct_rate.push_back(base);
    for (Contender& contender : contenders) {
      const double rate = contender.lab.rate(service, round_ms);
      if (round >= 0) contender.ratios.push_back(rate / base);
    }
  }
  std::sort(direct_rate.begin(), direct_rate.end());
  state.counters["direct_per_s"] = direct_rate[direct_rate.size() / 2];
  for (const Contender& contender : contenders) report(state, contender.name, contender.ratios);
}

void BM_Connections_ThroughTheLastService(benchmark::State& state) {
  if (::geteuid() != 0) return state.SkipWithError("needs root: it makes network namespaces");
  FdLogSink sink(2);
  const Log log(sink, LogLevel::warn);
  for (auto _ : state) {
    const dataplane::ServiceTable table = table_of(static_cast<uint32_t>(state.range(0)));
    const EbpfPlace place(true), sockets_place(false);
    // The children are forked before the drivers open anything.
    ConnectionLab direct("d", ""), nftables("f", ""), ebpf("e", place.cgroup()),
        sockets("k", sockets_place.cgroup());
    net::EventLoop loop;
    Registry registry, ebpf_registry, sockets_registry;
    const auto nft_driver = dataplane::make_nftables_driver({}, log, registry);
    const auto ebpf_driver = dataplane::make_ebpf_driver(place.options(), loop, log, ebpf_registry);
    const auto sockets_driver =
        dataplane::make_ebpf_driver(sockets_place.options(), loop, log, sockets_registry);
    nftables.in_node([&] { apply(*nft_driver, table); });
    ebpf.in_node([&] { apply(*ebpf_driver, table); });
    sockets.in_node([&] { apply(*sockets_driver, table); });
    const auto begin = std::chrono::steady_clock::now();
    measure(state, direct, {{"nftables", nftables}, {"ebpf", ebpf}, {"ebpf_sockets", sockets}});
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    ebpf.in_node([&] { must(ebpf_driver->cleanup()); });
    sockets.in_node([&] { must(sockets_driver->cleanup()); });
  }
}

BENCHMARK(BM_Connections_ThroughTheLastService)
    ->Arg(1)
    ->Arg(1'000)
    ->Arg(10'000)
    ->Iterations(1)
    ->UseManualTime();

}  // namespace
}  // namespace fairlead::bench

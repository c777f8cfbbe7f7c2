// New TCP connections per second through the last ClusterIP of N, per mode, against connecting to
// the backend directly: labs alike, one round of each in turn. The counters `nftables`,
// `userspace`, `ebpf`, `ebpf_clsact` (its tc programs by clsact where the kernel has tcx) and
// `ebpf_sockets` (without them) are medians of the rounds' ratios to direct, _low and _high their
// quartiles.
#include <benchmark/benchmark.h>
#include <sys/mount.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "bench/dataplane/connection_lab.h"
#include "dataplane/ebpf/cgroup_links.h"
#include "dataplane/ebpf/driver.h"
#include "dataplane/nftables/driver.h"
#include "dataplane/userspace/driver.h"

namespace fairlead::bench {
namespace {

constexpr int rounds = 151;
constexpr int round_ms = 30;

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
class EbpfLab {
 public:
  EbpfLab(const std::string& name, bool tc, bool tcx)
      : place_(name),
        options_({.bpffs = place_.folder, .cgroup = place_.cgroup}),
        lab_(name, place_.cgroup) {
    options_.attach_tc = tc;
    options_.tcx = tcx;
  }
  void start(net::EventLoop& loop, const Log& log, const dataplane::ServiceTable& table) {
    driver_ = dataplane::make_ebpf_driver(options_, loop, log, registry_);
    lab_.in_node([&] { apply(*driver_, table); });
  }
  void stop() {
    lab_.in_node([&] { must(driver_->cleanup()); });
  }
  ConnectionLab& lab() { return lab_; }

 private:
  struct Place {
    explicit Place(const std::string& name) {
      char path[] = "/tmp/fairlead-bench-XXXXXX";
      CHECK(::mkdtemp(path) != nullptr);
      folder = path;
      cgroup = cat(must(dataplane::ebpf::cgroup2_root()), "/fairlead-bench-", ::getpid(), name);
      CHECK(::mkdir(cgroup.c_str(), 0755) == 0);
    }
    ~Place() {
      ::umount2(folder.c_str(), MNT_DETACH);
      ::rmdir(folder.c_str());
      ::rmdir(cgroup.c_str());
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    std::string folder, cgroup;
  };

  const Place place_;
  dataplane::EbpfOptions options_;
  Registry registry_;
  std::unique_ptr<dataplane::Driver> driver_;

  ConnectionLab lab_;  // goes first: its client is in the cgroup
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
    // The children are forked before the drivers open anything.
    ConnectionLab direct("d", ""), nftables("f", ""), userspace("u", "");
    EbpfLab ebpf("e", true, true), clsact("c", true, false), sockets("k", false, false);
    net::EventLoop loop;
    Registry registry;
    const auto nft_driver = dataplane::make_nftables_driver({}, log, registry);
    nftables.in_node([&] { apply(*nft_driver, table); });
    const auto user_driver = dataplane::make_userspace_driver({}, log, registry);
    userspace.in_node([&] { apply(*user_driver, table); });
    for (EbpfLab* one : {&ebpf, &clsact, &sockets}) one->start(loop, log, table);
    const auto begin = std::chrono::steady_clock::now();
    measure(state, direct,
            {{"nftables", nftables},
             {"userspace", userspace},
             {"ebpf", ebpf.lab()},
             {"ebpf_clsact", clsact.lab()},
             {"ebpf_sockets", sockets.lab()}});
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    for (EbpfLab* one : {&ebpf, &clsact, &sockets}) one->stop();
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

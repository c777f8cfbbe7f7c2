// The nftables driver against a kernel of its own (root, in a namespace): a full sync, one endpoint
// more or less, taking over what an earlier run left, reading all back to verify it; at 10 backends
// a service. `commands_kB` and `writes` are of one apply; `peak_MB` is how much the process grew.
// And the first two against rules of kube-proxy's shape.
#include <benchmark/benchmark.h>
#include <sys/resource.h>
#include <unistd.h>

#include <optional>

#include "base/check.h"
#include "base/text.h"
#include "bench/dataplane/sync_duel.h"
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

// kube-proxy's shape: a map of verdicts, a chain for each service and each endpoint, and in the
// service's chain an anonymous map by a random number. By `nft -f`, as kube-proxy does it.
std::string endpoint_chain(const SocketAddress& backend) {
  return cat("endpoint-", backend.ip.to_string(), "-", backend.port);
}

std::string add_endpoint(const SocketAddress& backend) {
  const std::string chain = endpoint_chain(backend);
  return cat("add chain ip peer ", chain, "\nadd rule ip peer ", chain, " ip saddr ",
             backend.ip.to_string(), " jump mark-for-masquerade\nadd rule ip peer ", chain,
             " meta l4proto tcp dnat to ", backend.to_string(), "\n");
}

std::string service_rules(const std::string& chain, const PortRule& rule) {
  std::string out =
      cat("add rule ip peer ", chain, " ip daddr ", rule.frontends[0].ip.to_string(),
          " tcp dport 80 ip saddr != 10.128.0.0/24 jump mark-for-masquerade\n", "add rule ip peer ",
          chain, " numgen random mod ", rule.backends.size(), " vmap { ");
  for (size_t i = 0; i < rule.backends.size(); ++i) {
    const SocketAddress backend{rule.backends[i].ip, rule.backends[i].port};
    append(out, cat(i == 0 ? "" : ", ", i, " : goto ", endpoint_chain(backend)));
  }
  return out + " }\n";
}

std::string service_chain(const PortRule& rule) {
  return cat("service-", rule.frontends[0].ip.to_string());
}

std::string peer_full(const ServiceTable& table) {
  std::string out =
      "add table ip peer\ndelete table ip peer\nadd table ip peer\n"
      "add map ip peer service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      "add chain ip peer mark-for-masquerade\n"
      "add rule ip peer mark-for-masquerade meta mark set meta mark or 0x4000\n";
  for (const std::string_view hook : {"prerouting", "output"}) {
    append(out, cat("add chain ip peer ", hook, " { type nat hook ", hook, " priority -100; }\n",
                    "add rule ip peer ", hook,
                    " ip daddr . meta l4proto . th dport vmap @service-ips\n"));
  }
  for (const auto& [key, entry] : table.services) {
    const PortRule& rule = entry.ports[0];
    for (const Backend& backend : rule.backends) {
      append(out, add_endpoint({backend.ip, backend.port}));
    }
    const std::string chain = service_chain(rule);
    append(out, cat("add chain ip peer ", chain, "\n", service_rules(chain, rule),
                    "add element ip peer service-ips { ", rule.frontends[0].ip.to_string(),
                    " . tcp . 80 : goto ", chain, " }\n"));
  }
  return out;
}

// The last endpoint comes, or `gone` goes.
std::string peer_change(const PortRule& rule, const std::optional<SocketAddress>& gone) {
  const Backend& last = rule.backends.back();
  const std::string chain = service_chain(rule);
  const std::string rules = cat("flush chain ip peer ", chain, "\n", service_rules(chain, rule));
  if (!gone) return add_endpoint({last.ip, last.port}) + rules;
  const std::string old = endpoint_chain(*gone);
  return cat(rules, "flush chain ip peer ", old, "\ndelete chain ip peer ", old, "\n");
}

// Ours and the peer's, turn and turn about.
class NftDuel {
 public:
  explicit NftDuel(uint32_t services) : cluster_(services) {
    ours_at_.timed([&] { driver_ = make_nftables_driver({}, Log(sink_), registry_); });
  }
  void full_sync(bench::Duel& duel) {
    const uint64_t before = bytes();
    ours_at_.timed([&] { CHECK(driver_->cleanup()); });
    const double ours =
        ours_at_.timed([&] { CHECK(driver_->apply(cluster_.table(), {}, true).ok()); });
    const std::string commands = peer_full(cluster_.table());
    peer_at_.timed([] { bench::feed("nft -f -", "flush ruleset\n"); });
    const double peer = peer_at_.timed([&] { bench::feed("nft -f -", commands); });
    duel.add(ours, peer, bytes() - before, commands.size());
  }
  void one_endpoint(bench::Duel& duel) {
    const uint64_t before = bytes();
    const Backend last = cluster_.changing().backends.back();
    const auto changed = cluster_.change();
    const double ours =
        ours_at_.timed([&] { CHECK(driver_->apply(cluster_.table(), changed, false).ok()); });
    const std::string commands = peer_change(
        cluster_.changing(),
        cluster_.has_more() ? std::nullopt : std::optional(SocketAddress{last.ip, last.port}));
    const double peer = peer_at_.timed([&] { bench::feed("nft -f -", commands); });
    duel.add(ours, peer, bytes() - before, commands.size());
  }

 private:
  uint64_t bytes() {
    return registry_.counter("fairlead_nftables_command_bytes_total", "").value();
  }

  FdLogSink fd_sink_{2};
  Log sink_{fd_sink_, LogLevel::error};
  Registry registry_;
  bench::ChangingCluster cluster_;
  bench::OwnNetns ours_at_{"a"}, peer_at_{"b"};
  std::unique_ptr<Driver> driver_;
};

void BM_NftablesAgainstPeer_FullSync(benchmark::State& state) {
  if (!can_run(state)) return;
  NftDuel place(static_cast<uint32_t>(state.range(0)));
  bench::Duel duel;
  for (auto _ : state) place.full_sync(duel);
  duel.report(state);
}
// No more: for 10,000 services of ten endpoints nft needs more than two minutes.
BENCHMARK(BM_NftablesAgainstPeer_FullSync)
    ->Arg(1'000)
    ->Arg(2'000)
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

void BM_NftablesAgainstPeer_OneEndpoint(benchmark::State& state) {
  if (!can_run(state)) return;
  NftDuel place(static_cast<uint32_t>(state.range(0)));
  bench::Duel unmeasured, duel;
  place.full_sync(unmeasured);
  for (auto _ : state) place.one_endpoint(duel);
  duel.report(state);
}
BENCHMARK(BM_NftablesAgainstPeer_OneEndpoint)
    ->Arg(1'000)
    ->Arg(2'000)
    ->Iterations(20)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace fairlead::dataplane

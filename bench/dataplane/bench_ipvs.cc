// The IPVS driver against a kernel of its own (root, in a namespace; tests/vm/run where the kernel
// has no IPVS): a full sync and one endpoint more or less, turn and turn about with `ipvsadm` and
// `ip -batch` doing the same; taking over what an earlier run left; reading all back to verify it.
// `ours_kB` are the messages to IPVS and the commands for nf_tables, `peer_kB` what its programs
// read; addresses are in neither.
#include <benchmark/benchmark.h>

#include "bench/dataplane/sync_duel.h"
#include "dataplane/ipvs/driver.h"
#include "dataplane/ipvs/host.h"
#include "dataplane/ipvs/message.h"
#include "dataplane/ipvs/table.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane {
namespace {

using bench::ChangingCluster;
using bench::Duel;
using bench::OwnNetns;

// Counts the bytes of messages that write: a header of 20 and the attributes.
class CountingTable final : public ipvs::Table {
 public:
  explicit CountingTable(uint64_t& bytes) : bytes_(bytes), table_(ipvs::make_kernel_table()) {}
  Result<void> open() override { return table_->open(); }
  Result<ipvs::Services> list() override { return table_->list(); }
  Result<ipvs::Destinations> destinations(const ipvs::ServiceKey& key) override {
    return table_->destinations(key);
  }
  Result<void> write(const ipvs::TableWrite& write) override {
    const bool service = write.verb < ipvs::Verb::add_destination;
    bytes_ += 20 + (service ? encode_service(write.key, write.settings)
                            : encode_destination(write.key, write.address, write.destination))
                       .size();
    return table_->write(write);
  }
  Result<void> set_timeouts(const ipvs::Timeouts& timeouts) override {
    return table_->set_timeouts(timeouts);
  }

 private:
  uint64_t& bytes_;
  const std::unique_ptr<ipvs::Table> table_;
};

class CountingRunner final : public NftRunner {
 public:
  explicit CountingRunner(uint64_t& bytes) : bytes_(bytes), runner_(make_nft_runner()) {}
  Result<void> run(const std::string& commands) override {
    bytes_ += commands.size();
    return runner_->run(commands);
  }
  Result<std::optional<NftTable>> read_table(const std::string& name) override {
    return runner_->read_table(name);
  }
  Result<NftSet> read_set(const std::string& table, const std::string& set) override {
    return runner_->read_set(table, set);
  }
  Result<std::vector<std::string>> other_tables(const std::string& name) override {
    return runner_->other_tables(name);
  }

 private:
  uint64_t& bytes_;
  const std::unique_ptr<NftRunner> runner_;
};

bool cannot_run(benchmark::State& state) {
  if (bench::needs_root(state)) return true;
  const OwnNetns probe("p");
  std::string why;
  probe.timed([&] {
    if (const auto opened = ipvs::make_kernel_table()->open(); !opened) {
      why = cat("NOT RUN: ", opened.error().message, "; tests/vm/run has a kernel with it");
    }
  });
  if (!why.empty()) state.SkipWithError(why.c_str());
  return !why.empty();
}

// A driver in a namespace of its own; make() is a new run of the agent.
class Ours {
 public:
  Ours() { make(); }
  void make() {
    at_.timed([&] {
      driver_ = make_ipvs_driver({}, loop_, Log(sink_, LogLevel::error), registry_,
                                 {std::make_unique<CountingTable>(bytes_), ipvs::make_kernel_host(),
                                  std::make_unique<CountingRunner>(bytes_), net::make_conntrack()});
      bench::must(driver_->start());
    });
  }
  double apply(const ServiceTable& table, const std::set<api::ObjectKey>& changed, bool full) {
    return at_.timed([&] {
      const ApplyReport report = driver_->apply(table, changed, full);
      for (const std::string& error : report.errors) fprintf(stderr, "bench: %s\n", error.c_str());
      CHECK(report.ok());
    });
  }
  void cleanup() {
    at_.timed([&] { bench::must(driver_->cleanup()); });
  }
  double verify() {
    return at_.timed([&] { CHECK(bench::must(driver_->verify(true)).empty()); });
  }
  uint64_t take_bytes() { return std::exchange(bytes_, 0); }

 private:
  FdLogSink sink_{2};
  Registry registry_;
  net::EventLoop loop_;
  uint64_t bytes_ = 0;
  OwnNetns at_{"a"};
  std::unique_ptr<Driver> driver_;
};

std::string peer_service(const PortRule& rule) {
  const std::string vip = cat(rule.frontends[0].ip.to_string(), ":80");
  std::string out = cat("-A -t ", vip, " -s rr\n");
  for (const Backend& backend : rule.backends) {
    append(out, cat("-a -t ", vip, " -r ", backend.ip.to_string(), ":", backend.port, " -m\n"));
  }
  return out;
}

// The peer's services and the addresses that lead to them.
class Peer {
 public:
  double full_sync(const ServiceTable& table) {
    at_.timed([] {
      bench::feed("ipvsadm -C", "");
      bench::feed("sh -c 'ip link del peer0 2>/dev/null; true'", "");
    });
    std::string services, addresses = "link add peer0 type dummy\nlink set peer0 up\n";
    for (const auto& [key, entry] : table.services) {
      append(services, peer_service(entry.ports[0]));
      append(addresses,
             cat("addr add ", entry.ports[0].frontends[0].ip.to_string(), "/32 dev peer0\n"));
    }
    bytes_ = services.size();
    return at_.timed([&] {
      bench::feed("ip -batch -", addresses);
      bench::feed("ipvsadm --restore", services);
    });
  }
  double one_endpoint(const PortRule& rule, const Backend& backend, bool more) {
    const std::string line =
        cat(more ? "-a" : "-d", " -t ", rule.frontends[0].ip.to_string(), ":80 -r ",
            backend.ip.to_string(), ":", backend.port, more ? " -m\n" : "\n");
    bytes_ = line.size();
    return at_.timed([&] { bench::feed("ipvsadm --restore", line); });
  }
  uint64_t bytes() const { return bytes_; }

 private:
  OwnNetns at_{"b"};
  uint64_t bytes_ = 0;
};

void BM_IpvsAgainstIpvsadm_FullSync(benchmark::State& state) {
  if (cannot_run(state)) return;
  const ChangingCluster cluster(static_cast<uint32_t>(state.range(0)));
  Ours ours;
  Peer peer;
  Duel duel;
  for (auto _ : state) {
    ours.cleanup();
    ours.take_bytes();
    const double our_s = ours.apply(cluster.table(), {}, true);
    const double peer_s = peer.full_sync(cluster.table());
    duel.add(our_s, peer_s, ours.take_bytes(), peer.bytes());
  }
  duel.report(state);
}

void BM_IpvsAgainstIpvsadm_OneEndpoint(benchmark::State& state) {
  if (cannot_run(state)) return;
  ChangingCluster cluster(static_cast<uint32_t>(state.range(0)));
  Ours ours;
  Peer peer;
  Duel duel;
  ours.apply(cluster.table(), {}, true);
  ours.take_bytes();
  peer.full_sync(cluster.table());
  for (auto _ : state) {
    const Backend last = cluster.changing().backends.back();
    const auto changed = cluster.change();
    const bool more = cluster.has_more();
    const double our_s = ours.apply(cluster.table(), changed, false);
    const PortRule& rule = cluster.changing();
    const double peer_s = peer.one_endpoint(rule, more ? rule.backends.back() : last, more);
    duel.add(our_s, peer_s, ours.take_bytes(), peer.bytes());
  }
  duel.report(state);
}

void BM_IpvsTakeOver(benchmark::State& state) {
  if (cannot_run(state)) return;
  const ChangingCluster cluster(static_cast<uint32_t>(state.range(0)));
  Ours ours;
  ours.apply(cluster.table(), {}, true);
  ours.take_bytes();
  for (auto _ : state) {
    ours.make();
    ours.apply(cluster.table(), {}, true);
  }
  CHECK(ours.take_bytes() == 0);  // nothing had to be written
}

void BM_IpvsVerify(benchmark::State& state) {
  if (cannot_run(state)) return;
  const ChangingCluster cluster(static_cast<uint32_t>(state.range(0)));
  Ours ours;
  ours.apply(cluster.table(), {}, true);
  for (auto _ : state) ours.verify();
}

#define SIZES ->Arg(1'000)->Arg(10'000)->Unit(benchmark::kMillisecond)
BENCHMARK(BM_IpvsAgainstIpvsadm_FullSync) SIZES->Iterations(3);
BENCHMARK(BM_IpvsAgainstIpvsadm_OneEndpoint) SIZES->Iterations(20);
BENCHMARK(BM_IpvsTakeOver) SIZES->Iterations(3);
BENCHMARK(BM_IpvsVerify) SIZES->Iterations(3);

}  // namespace
}  // namespace fairlead::dataplane

// Two ways to bring the same changes into the kernel, turn and turn about, each in a namespace of
// its own: fairlead's driver and a peer that a program like nft or ipvsadm stands for.
#pragma once

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "bench/dataplane/must.h"
#include "dataplane/compile.h"
#include "dataplane/driver.h"
#include "net/netns.h"
#include "tests/dataplane/big_cluster.h"

namespace fairlead::bench {

inline constexpr uint32_t endpoints_each = 10;

inline bool needs_root(benchmark::State& state) {
  if (::geteuid() != 0) state.SkipWithError("NOT RUN: needs root");
  return ::geteuid() != 0;
}

// Big cluster in which the middle Service has one endpoint more, and then one less again.
class ChangingCluster {
 public:
  explicit ChangingCluster(uint32_t services)
      : services_(services),
        table_(dataplane::compile(
            *dataplane::big_cluster(builder_, services, endpoints_each).snapshot, node())) {}

  std::set<api::ObjectKey> change() {
    more_ = !more_;
    builder_.put(std::make_shared<const api::EndpointSlice>(
        dataplane::big_slice(services_ / 2, endpoints_each + (more_ ? 1 : 0))));
    const auto tick = builder_.take();
    return dataplane::update(table_, *tick.snapshot, tick.changes);
  }
  const dataplane::ServiceTable& table() const { return table_; }
  bool has_more() const { return more_; }
  // The rule of the Service that changes.
  const dataplane::PortRule& changing() const {
    return table_.services.at({"default", cat("s", services_ / 2)}).ports[0];
  }
  static dataplane::NodeConfig node() {
    return {"node-0", {Ip::v4(0xc0a80001)}, {*Cidr::parse("10.128.0.0/24")}};
  }

 private:
  const uint32_t services_;
  api::SnapshotBuilder builder_;
  dataplane::ServiceTable table_;
  bool more_ = false;
};

// A namespace that ends with this.
class OwnNetns {
 public:
  explicit OwnNetns(std::string_view suffix)
      : name_(cat("flb", ::getpid(), suffix)), netns_(must(net::Netns::create(name_))) {}
  ~OwnNetns() { must(net::Netns::remove(name_)); }
  OwnNetns(const OwnNetns&) = delete;
  OwnNetns& operator=(const OwnNetns&) = delete;

  // Seconds that `body` takes inside.
  template <class Body>
  double timed(Body body) const {
    const auto scope = must(net::NetnsScope::enter(netns_));
    const auto begin = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

 private:
  const std::string name_;
  const net::Netns netns_;
};

// Runs a program that reads `input`, as an agent that has none of it built in would.
inline void feed(const std::string& command, const std::string& input) {
  FILE* pipe = ::popen(command.c_str(), "w");
  CHECK(pipe != nullptr);
  CHECK(::fwrite(input.data(), 1, input.size(), pipe) == input.size());
  const int status = ::pclose(pipe);
  if (status != 0) fprintf(stderr, "bench: %s: status %d\n", command.c_str(), status);
  CHECK(status == 0);
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// What both took and sent. `ratio` is the median of the peer's time over ours, turn by turn.
class Duel {
 public:
  void add(double ours_s, double peer_s, uint64_t our_bytes, uint64_t peer_bytes) {
    ours_.push_back(ours_s * 1000);
    peer_.push_back(peer_s * 1000);
    ratio_.push_back(peer_s / ours_s);
    our_bytes_ += our_bytes;
    peer_bytes_ += peer_bytes;
  }
  void report(benchmark::State& state) const {
    const auto turns = static_cast<double>(ours_.size());
    state.counters["ours_ms"] = median(ours_);
    state.counters["peer_ms"] = median(peer_);
    state.counters["ratio"] = median(ratio_);
    state.counters["ours_kB"] = static_cast<double>(our_bytes_) / turns / 1000;
    state.counters["peer_kB"] = static_cast<double>(peer_bytes_) / turns / 1000;
  }

 private:
  std::vector<double> ours_, peer_, ratio_;
  uint64_t our_bytes_ = 0, peer_bytes_ = 0;
};

}  // namespace fairlead::bench

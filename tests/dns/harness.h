// An Engine without sockets: a Corefile, a cluster as YAML, and upstreams that are a table.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "api/snapshot.h"
#include "base/clock.h"
#include "dns/engine.h"
#include "message_text.h"

namespace fairlead::dns::testing {

inline constexpr uint32_t test_serial = 1'700'000'000;

// Every object of a YAML text, put into `builder`. Fails the test when one is refused.
void put_yaml(api::SnapshotBuilder& builder, std::string_view yaml, std::string_view file);

// What upstreams know. Names that are not in it do not exist.
struct FakeInternet {
  std::vector<std::string> records;  // "name TTL TYPE data"
  std::vector<std::string> silent;   // names that are never answered
  std::vector<std::string> broken;   // names answered with SERVFAIL
  std::vector<std::string> queries;  // what was asked: "address name TYPE"
  std::string reply(std::string_view query) const;
};

// Lower-case word lists, "a  b" -> {"a","b"}.
std::vector<std::string> words(std::string_view line);

class Harness {
 public:
  // Fails the test when the Corefile is refused.
  explicit Harness(std::string_view corefile, const std::vector<Ip>& local_ips = {});
  ~Harness();

  void publish(std::string_view cluster_yaml, std::string_view file = "cluster.yaml");
  FakeInternet& internet() { return internet_; }

  // The reply, after upstreams have answered; "" when there is none.
  std::string exchange(std::string_view request, bool tcp = false, uint16_t port = 53);
  Reply query(std::string_view name, std::string_view type, const AskOptions& options = {},
              bool tcp = false);

  std::string log_text() const { return sink_.text(); }
  Metrics& metrics() { return *metrics_; }
  Registry& registry() { return registry_; }
  ErrorBoard& errors() { return errors_; }
  net::EventLoop& loop() { return loop_; }

 private:
  class FakeExchange;

  MemoryLogSink sink_;
  Log log_{sink_};
  Registry registry_;
  RealClock clock_;
  net::EventLoop loop_;
  FakeInternet internet_;
  std::unique_ptr<Plan> plan_;
  IndexBoard board_;
  ErrorBoard errors_;
  std::unique_ptr<Metrics> metrics_;
  std::vector<std::atomic<uint32_t>> under_way_;
  api::SnapshotBuilder builder_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<Forwarder>> forwarders_;
};

}  // namespace fairlead::dns::testing

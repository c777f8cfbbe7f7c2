// A loop, a feed on it and what the feed delivered, for the tests of both feeds.
#pragma once

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/text.h"
#include "watch/feed.h"

namespace fairlead::watch {

// "a=80 b=81": the Services of a snapshot, by name, with their first port.
inline std::string services_of(const api::Snapshot& snapshot) {
  std::set<std::string> out;
  snapshot.each<api::Service>([&](const api::Service& service) {
    out.insert(cat(service.meta.key.name, '=', service.ports.empty() ? 0 : service.ports[0].port));
  });
  return join({out.begin(), out.end()}, " ");
}

class FeedFixture : public testing::Test {
 protected:
  struct Tick {
    std::string services;
    api::Changes changes;
    std::shared_ptr<const api::Snapshot> snapshot;
  };

  TickSink sink() {
    return [this](std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes) {
      ticks_.push_back({services_of(*snapshot), changes, std::move(snapshot)});
    };
  }

  // Runs the loop until `done()`, for at most 10 s. False when it never was.
  template <class Done>
  bool run_until(Done done, Duration at_most = std::chrono::seconds(10)) {
    const MonoTime end = std::chrono::steady_clock::now() + at_most;
    while (!done()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      loop_.run_once(std::chrono::milliseconds(5));
    }
    return true;
  }
  void run_for(Duration time) {
    run_until([] { return false; }, time);
  }
  bool run_until_services(std::string_view expected) {
    return run_until([&] { return !ticks_.empty() && ticks_.back().services == expected; });
  }
  std::string services() const { return ticks_.empty() ? "no tick" : ticks_.back().services; }
  std::string errors() const { return join(feed_->status().errors, "\n"); }
  bool run_until_error(std::string_view part) {
    return run_until([&] { return errors().find(part) != std::string::npos; });
  }
  bool run_until_no_error() {
    return run_until([&] { return feed_->status().errors.empty(); });
  }

  MemoryLogSink log_sink_;
  Log log_{log_sink_};
  net::EventLoop loop_;
  std::vector<Tick> ticks_;
  std::unique_ptr<Feed> feed_;
};

}  // namespace fairlead::watch

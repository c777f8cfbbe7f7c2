// The controllers, on a thread and a loop of their own. They are ordinary clients of the API
// server: they watch and write over HTTP and share nothing else with it.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/metrics.h"
#include "net/http_client.h"

namespace fairlead::controlplane {

// Thread-safe for one owner: start() and stop() from the same thread. `registry` and the log's sink
// must outlive it; destruction stops it.
class ControllerManager {
 public:
  ControllerManager(net::HttpTarget target, net::Headers headers, Log log, Registry& registry);
  ~ControllerManager();

  void start();  // returns at once; the API server need not answer yet
  void stop();   // idempotent; cancels what is in flight

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::controlplane

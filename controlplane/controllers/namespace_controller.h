// Empties namespaces that are being deleted, then lets them go (finalizer `kubernetes`).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "api/snapshot.h"
#include "base/log.h"
#include "controlplane/controllers/api_writer.h"
#include "controlplane/resource.h"
#include "net/event_loop.h"

namespace fairlead::controlplane {

// Belongs to the loop.
class NamespaceController {
 public:
  NamespaceController(net::EventLoop& loop, ApiWriter& writer, const Log& log);

  void on_tick(const api::Snapshot& snapshot, const api::Changes& changes);

 private:
  // One round: every namespaced resource is deleted and then counted, one after the other; a round
  // that finds something left is followed by another.
  struct Round {
    std::vector<std::string> paths;
    size_t next = 0;
    size_t left = 0;
    Duration backoff{};
    net::Timer timer;
  };

  void begin(const std::string& name);
  void empty_next(const std::string& name);
  void count(const std::string& name, const std::string& path);
  void finalize(const std::string& name);
  void again(const std::string& name);

  net::EventLoop& loop_;
  ApiWriter& writer_;
  Log log_;
  ResourceTable resources_;
  std::map<std::string, Round> rounds_;
};

}  // namespace fairlead::controlplane

// The feed: whatever the source, it calls one sink with immutable snapshots.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/snapshot.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "net/http_client.h"

namespace fairlead::watch {

// What `fairlead status` shows of a feed.
struct FeedStatus {
  std::string source;               // "https://10.0.0.1:6443" or "directory /etc/fairlead"
  bool synced = false;              // every watch has delivered a full list at least once
  MonoTime last_event{};            // of any kind: event, bookmark or list
  std::vector<std::string> errors;  // current troubles: "endpointslices: connection refused, ..."
  std::vector<std::string> bad_objects;  // objects that could not be decoded and are left out
};

// Runs on the feed loop. The first tick comes when every kind has been listed, with
// changes.everything; no deletion is delivered before. Later ones are coalesced.
using TickSink = std::function<void(std::shared_ptr<const api::Snapshot>, const api::Changes&)>;

class Feed {
 public:
  virtual ~Feed() = default;
  virtual FeedStatus status() const = 0;  // on the feed loop
};

struct FeedOptions {
  Duration coalesce = std::chrono::milliseconds(2);  // after the first change of a tick
  Duration max_backoff = std::chrono::seconds(30);
  std::vector<api::Kind> kinds;  // empty: all

  // API servers: a list that is silent for so long failed; a watch that is (servers send a
  // bookmark about once a minute) is started again where it was.
  Duration request_timeout = std::chrono::seconds(30);
  Duration watch_idle = std::chrono::seconds(150);
  Duration min_backoff = std::chrono::milliseconds(100);
  // Only part of a kind, as the server's fieldSelector: {Kind::secret, "type=kubernetes.io/tls"}.
  std::map<api::Kind, std::string> field_selectors;
  std::string token_file;  // read before every request, instead of the Authorization header

  // Directories: besides inotify, a look at every file's time and size.
  Duration rescan = std::chrono::seconds(5);
  Duration settle = std::chrono::milliseconds(500);  // a file still open for writing, at least
};

// List + watch of every kind against an API server. `target` and `headers` (Authorization) come
// from load_kubeconfig() or in_cluster().
std::unique_ptr<Feed> make_api_feed(net::EventLoop& loop, net::HttpTarget target,
                                    net::Headers headers, FeedOptions options, const Log& log,
                                    Registry& registry, TickSink sink);

// Every *.yaml, *.yml and *.json file below a folder, watched with inotify. A file that cannot be
// read or parsed keeps its last good objects and shows in status().errors as file:line.
std::unique_ptr<Feed> make_directory_feed(net::EventLoop& loop, std::string directory,
                                          FeedOptions options, const Log& log, TickSink sink);

}  // namespace fairlead::watch

// From committed changes to watchers: a history per resource, and a bounded queue per watcher.
//
// Everything runs on the API's loop. One event is rendered once for each view that a watcher has,
// and its bytes are shared between their queues. A watcher that does not read is closed; its
// client resumes from the last revision it saw, or lists again.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "controlplane/selector.h"
#include "controlplane/store.h"
#include "controlplane/view.h"
#include "net/event_loop.h"

namespace fairlead::controlplane {

// Where a watcher's bytes go. write() takes whole lines.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual void write(std::string_view bytes) = 0;
  virtual size_t unsent_bytes() const = 0;
  virtual void finish() = 0;  // a clean end; the hub has already forgotten the watcher
  virtual void abort() = 0;   // the reader is too slow
  // `gone` runs when the reader goes away first, maybe inside write().
  virtual void on_gone(std::function<void()> gone) = 0;
};

struct WatchRequest {
  const Resource* resource = nullptr;
  Selection selection;
  View view;
  uint64_t after = 0;  // 0: send what exists first, then changes
  bool bookmarks = false;
  bool initial_events_end = false;  // mark the end of what exists with a bookmark
  Duration timeout{};               // the stream ends cleanly then
};

class Hub {
 public:
  struct Options {
    size_t min_history = 1000;            // events of one resource that are always kept,
    size_t max_history = 4096;            // up to this many
    size_t history_bytes = 16 << 20;      // while their objects are below this
    size_t max_queue = 4096;              // events that wait for a slow watcher
    size_t max_unsent_bytes = 256 << 10;  // in the socket's buffer, before events wait here
    Duration bookmark_every = std::chrono::seconds(60);
    Duration retry_every = std::chrono::milliseconds(5);  // for a watcher with a full socket
  };

  Hub(net::EventLoop& loop, const ResourceTable& resources, const Clock& clock, Registry& registry,
      Options options);
  ~Hub();

  // The store's sink.
  void publish(const StoreEvent& event);
  // History at or before `revision` is incomplete (the log was compacted there).
  void set_floor(uint64_t revision);

  // The state of a resource at a past revision, made from `now` by undoing later events; nothing
  // when that is older than the history.
  std::optional<Objects> at(const Resource& resource, const Objects& now, uint64_t revision) const;
  uint64_t floor(const Resource& resource) const;  // a watch may start at or after this

  // `current` is what the store holds, `revision` its newest. `sink` goes when the stream ends,
  // after finish() or abort(), or when its reader has gone.
  uint64_t watch(WatchRequest request, const Objects& current, uint64_t revision,
                 std::unique_ptr<WatchSink> sink);
  void close(uint64_t id);

  size_t watchers() const { return watchers_.size(); }

 private:
  struct History {
    std::deque<StoreEvent> events;
    uint64_t floor = 0;
    size_t bytes = 0;
  };
  struct Watcher;
  struct Queued;
  class FrameCache;

  void offer(Watcher& watcher, const StoreEvent& event, FrameCache& frames);
  void enqueue(Watcher& watcher, EventType type, ObjectPtr object, FrameCache* frames);
  void enqueue_line(Watcher& watcher, std::string line);
  void pump(Watcher& watcher);
  void arm_bookmark(Watcher& watcher);
  void end(Watcher& watcher, bool clean);
  Watcher* find(uint64_t id);
  void trim(History& history);

  net::EventLoop& loop_;
  const ResourceTable& resources_;
  const Clock& clock_;
  Options options_;
  std::vector<History> history_;  // by ResourceTable::index
  uint64_t revision_ = 0;         // of the newest event
  std::list<std::unique_ptr<Watcher>> watchers_;
  uint64_t next_id_ = 1;
  Gauge& watcher_gauge_;
  Counter& event_counter_;
  Counter& slow_counter_;
};

}  // namespace fairlead::controlplane

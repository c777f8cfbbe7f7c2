// Keeps one kind of an API server in a Store: lists it, then watches it from there on.
//
// list (pages of `limit`) -> watch -> (410: list again | lost: watch again from the last version).
// Source: Kubernetes API concepts, "Efficient detection of changes"; KEP-956 (bookmarks).
// Belongs to one loop; everything passed by reference must outlive it.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "net/event_loop.h"
#include "net/http_client.h"
#include "watch/backoff.h"
#include "watch/feed.h"
#include "watch/line_buffer.h"
#include "watch/store.h"
#include "watch/wire.h"

namespace fairlead::watch {

class Reflector {
 public:
  struct Context {
    net::EventLoop& loop;
    net::HttpClient& client;
    const net::Headers& headers;
    const FeedOptions& options;
    const Log& log;
    Registry& registry;
    Store& store;
    std::string host;  // of the API server, for metrics
  };

  // `on_synced` runs once, when the first list is complete.
  Reflector(Context context, api::Kind kind, std::function<void()> on_synced);

  void start() { list(); }
  bool synced() const { return synced_; }
  MonoTime last_event() const { return last_event_; }
  const std::string& error() const { return error_; }  // current trouble, or ""

 private:
  enum class Step { list, watch };

  net::HttpRequest request(std::string query) const;
  void list();
  void on_page();
  void apply_page(ListPage page);
  void end_list(std::string resource_version);
  void watch();
  void on_watch_bytes(std::string_view bytes);
  bool on_line(std::string_view line);
  bool on_event(WatchEvent event);
  void on_watch_end();
  void check_idle();
  void keep_bad(const BadObject& bad);

  void begin();  // a request, without an answer yet
  void on_head(const net::HttpHead& head);
  void count_request(const std::string& code);
  void on_refused(Step step);  // the answer's status was not 200
  void relist(std::string reason);
  void fail(Step next, std::string error);
  void garbage(std::string error);
  void go(Step next, Duration delay);
  void progress();

  Context context_;
  const api::KindInfo& kind_;
  std::function<void()> on_synced_;
  Backoff backoff_;
  std::minstd_rand random_;
  Counter& relists_;
  Counter& errors_;

  std::unique_ptr<net::HttpCall> call_;
  net::Timer timer_;     // the next step, or the idle check of a watch
  int status_ = 0;       // of the answer in progress; 0: it has not begun
  std::string refusal_;  // its body, when it is not 200
  std::unique_ptr<ListParser> page_;
  std::string continue_;  // the next page's token
  std::set<api::ObjectKey> listed_;
  size_t limit_;
  LineBuffer lines_;
  std::string resource_version_;
  MonoTime watch_began_{};
  MonoTime last_bytes_{};
  bool heard_ = false;  // this watch brought an event
  int garbled_ = 0;     // watches in a row that ended in garbage without an event
  bool synced_ = false;
  MonoTime last_event_{};
  std::string error_;
};

}  // namespace fairlead::watch

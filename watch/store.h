// The objects of a feed on their way to its sink: changes are gathered for a moment, then delivered
// as one tick. Belongs to one loop; the loop and the sink's target must outlive it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "api/snapshot.h"
#include "net/event_loop.h"
#include "watch/feed.h"

namespace fairlead::watch {

class Store {
 public:
  Store(net::EventLoop& loop, Duration coalesce, TickSink sink);

  void put(api::Object object);
  void erase(api::Kind kind, const api::ObjectKey& key);
  // A full list has ended: what is not among `keys` is gone.
  void retain(api::Kind kind, const std::set<api::ObjectKey>& keys);

  // An object that cannot be decoded. Its last good version stays. put() and erase() of the same
  // key take the mark away, as does retain() without it.
  void mark_bad(api::Kind kind, const api::ObjectKey& key, std::string error);
  std::vector<std::string> bad_objects() const;  // at most 100

  // Until open() nothing is delivered; then the first tick comes with changes.everything.
  void open();
  bool is_open() const { return open_; }
  size_t size() const;  // objects of all kinds

 private:
  void arm();
  void deliver();

  net::EventLoop& loop_;
  Duration coalesce_;
  TickSink sink_;
  api::SnapshotBuilder builder_;
  std::map<api::Change, std::string> bad_;
  net::Timer timer_;
  bool open_ = false;
  bool first_ = true;  // the tick with everything is still to come
};

}  // namespace fairlead::watch

// Snapshot: an immutable view of the cluster. Changes: what differs from the one before.
//
// Snapshots share structure: a new one costs the buckets that changed, not the cluster. Any thread
// may read one; it lives as long as somebody holds it.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "api/codec.h"
#include "api/kinds.h"
#include "api/objects.h"

namespace fairlead::api {

struct Change {
  Kind kind;
  ObjectKey key;
  friend auto operator<=>(const Change&, const Change&) = default;
};

// Objects added, changed or removed since the previous snapshot, each once; look the key up in
// the snapshot to see which.
struct Changes {
  bool everything = false;  // the first snapshot: compare with what you hold
  std::set<Change> objects;
  // Services that an object of this change touches (themselves or through an EndpointSlice):
  std::set<ObjectKey> services;

  bool empty() const { return !everything && objects.empty(); }
  bool touches(Kind kind) const;
};

class Snapshot {
 public:
  Snapshot();  // empty

  // nullptr when absent.
  template <class T>
  std::shared_ptr<const T> find(const ObjectKey& key) const {
    const Object* object = find_object(kind_of<T>(), key);
    return object == nullptr ? nullptr : std::get<std::shared_ptr<const T>>(*object);
  }
  const Object* find_object(Kind kind, const ObjectKey& key) const;

  // Every object of a kind, in no particular order.
  template <class T>
  void each(const std::function<void(const T&)>& visit) const {
    each_object(kind_of<T>(),
                [&](const Object& object) { visit(*std::get<std::shared_ptr<const T>>(object)); });
  }
  void each_object(Kind kind, const std::function<void(const Object&)>& visit) const;
  size_t count(Kind kind) const;

  // The EndpointSlices of a Service, ordered by name.
  std::vector<std::shared_ptr<const EndpointSlice>> slices_of(const ObjectKey& service) const;

  uint64_t generation() const { return generation_; }  // grows by one with each snapshot

 private:
  friend class SnapshotBuilder;
  struct State;
  std::shared_ptr<const State> state_;
  uint64_t generation_ = 0;
};

// Makes the next snapshot from the previous one. Belongs to one thread.
class SnapshotBuilder {
 public:
  SnapshotBuilder();
  ~SnapshotBuilder();

  // Both are recorded in the pending Changes. An object that differs in nothing but its
  // resourceVersion is no change (the next snapshot holds it all the same), and neither is one that
  // is back to what the last snapshot held.
  void put(Object object);
  void erase(Kind kind, const ObjectKey& key);

  bool dirty() const;                                                // there are pending changes
  const Object* find_object(Kind kind, const ObjectKey& key) const;  // pending ones included
  std::vector<ObjectKey> keys(Kind kind) const;

  struct Tick {
    std::shared_ptr<const Snapshot> snapshot;
    Changes changes;
  };
  Tick take();  // the new snapshot, and what changed since the last take()

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::api

// The state of the cluster: every object in memory, every change in a durable log.
//
// All changes share one revision counter. A write is checked against the newest state, including
// writes still on their way to the disk, gets its revision, and is acknowledged once the log says
// that it is durable; readers and watchers see it from then on. The log writer takes everything
// that queued up while it was busy as one transaction (group commit).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "api/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "controlplane/resource.h"
#include "controlplane/store_log.h"
#include "net/event_loop.h"

namespace fairlead::controlplane {

// One state of one object. Immutable: shared by the store, history, watchers and answers.
struct StoredObject {
  std::string text;  // JSON; metadata.resourceVersion is `revision`
  uint64_t revision = 0;
  std::string ns, name;
  std::vector<std::pair<std::string, std::string>> labels;  // by key
  std::vector<std::string> fields;  // values of Resource::fields, in that order
};
using ObjectPtr = std::shared_ptr<const StoredObject>;

// The index entries of a document, and its text with that revision in it.
ObjectPtr make_stored(const Resource& resource, json::value document, uint64_t revision);

struct ObjectName {
  std::string_view ns, name;
  friend auto operator<=>(const ObjectName&, const ObjectName&) = default;
};

struct ByName {
  using is_transparent = void;
  static ObjectName of(const ObjectPtr& object) { return {object->ns, object->name}; }
  static ObjectName of(const ObjectName& name) { return name; }
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return of(a) < of(b);
  }
};
using Objects = std::set<ObjectPtr, ByName>;  // in the order of lists: namespace, then name

struct StoreEvent {
  const Resource* resource = nullptr;
  uint64_t revision = 0;
  ObjectPtr before;  // null: the object is new
  ObjectPtr object;  // deleted: its last state, with the revision of the deletion
  bool deleted = false;
};

class Store {
 public:
  struct Options {
    size_t max_batch = 1024;         // records of one transaction
    uint64_t keep_revisions = 5000;  // history in the log, so that watches survive a restart
    uint64_t compact_every = 1000;   // revisions between two compactions
  };
  using EventSink = std::function<void(const StoreEvent&)>;
  // The new state (for a deletion: the last one), or why the log refused it.
  using Done = std::move_only_function<void(Result<ObjectPtr>)>;

  // Everything but the log runs on `loop`, whose thread constructs, uses and destroys this.
  Store(net::EventLoop& loop, const ResourceTable& resources, std::unique_ptr<StoreLog> log,
        Log diagnostics, Registry& registry, Options options);
  ~Store();  // writes what is queued; its callbacks no longer run

  // Replays the log: `sink` sees the retained history and then, for ever, each committed change.
  Result<void> load(EventSink sink);

  uint64_t revision() const { return committed_; }   // of the newest durable change
  uint64_t compacted() const { return compacted_; }  // history at or before it is incomplete
  const Objects& objects(const Resource& resource) const;
  ObjectPtr get(const Resource& resource, std::string_view ns, std::string_view name) const;
  // As get(), but with the writes that are on their way to the disk.
  ObjectPtr head(const Resource& resource, std::string_view ns, std::string_view name) const;

  // Compare and swap: `expected` is the head's revision, 0 for "absent". False, and nothing
  // happens, when it is not. metadata.name and namespace of `document` name the object.
  bool put(const Resource& resource, uint64_t expected, json::value document, Done done);
  bool remove(const Resource& resource, uint64_t expected, std::string_view ns,
              std::string_view name, Done done);
  // Runs `done` when everything queued so far is durable: for answers that report a head.
  void settle(Done done);

  // Called after a failed commit has undone every pending write.
  void on_rollback(std::function<void()> hook) { rollback_hook_ = std::move(hook); }
  size_t pending() const { return in_flight_; }
  // Why the last commit failed; "" when it did not.
  const std::string& trouble() const { return trouble_; }

 private:
  struct Write {
    LogRecord record;  // revision 0: only waits
    const Resource* resource = nullptr;
    ObjectPtr object;
    uint64_t epoch = 0;
    Done done;
  };
  using Batch = std::vector<std::unique_ptr<Write>>;
  struct Shared;  // what the writer thread and the loop both touch
  struct Metrics;

  void enqueue(std::unique_ptr<Write> write);
  void finish(Batch batch, const Result<void>& outcome);
  void commit(Write& write);
  void roll_back();
  void apply(const Resource& resource, ObjectPtr object, bool deleted);
  Result<void> replay(const LogRecord& record);
  static void write_loop(std::shared_ptr<Shared> shared);

  net::EventLoop& loop_;
  const ResourceTable& resources_;
  Log diagnostics_;
  Options options_;
  EventSink sink_;
  std::function<void()> rollback_hook_;
  std::vector<Objects> objects_;  // by ResourceTable::index
  std::unordered_map<std::string, std::pair<uint64_t, ObjectPtr>> pending_;  // null: deletion
  uint64_t committed_ = 0, compacted_ = 0, next_ = 1, epoch_ = 0, compact_at_ = 0;
  size_t in_flight_ = 0;
  std::string trouble_;
  std::unique_ptr<Metrics> metrics_;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<bool> alive_;
  std::thread writer_;
};

}  // namespace fairlead::controlplane

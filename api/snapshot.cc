#include "api/snapshot.h"

#include "api/bucket_map.h"
#include "api/endpoints.h"
#include "base/check.h"

namespace fairlead::api {
namespace {

struct ObjectTraits {
  using Entry = Object;
  static const ObjectKey& key(const Object& object) { return meta_of(object).key; }
};

// A Service and its slices, ordered by name.
struct SlicesOf {
  ObjectKey service;
  std::shared_ptr<const SliceList> slices;
};
struct SliceTraits {
  using Entry = SlicesOf;
  static const ObjectKey& key(const SlicesOf& entry) { return entry.service; }
};

// Same in everything but resourceVersion: many writes (heartbeats, status of others) change nothing
// that fairlead reads.
bool same_content(const Object& a, const Object& b) {
  if (a.index() != b.index()) return false;
  return std::visit(
      [&](const auto& left) {
        const auto& right = std::get<std::decay_t<decltype(left)>>(b);
        if (left == right || *left == *right) return true;
        if (left->meta.resource_version == right->meta.resource_version) return false;
        auto copy = *left;
        copy.meta.resource_version = right->meta.resource_version;
        return copy == *right;
      },
      a);
}

// The owner by label; "" in the name when the slice has none.
ObjectKey service_of(const Object& slice) {
  const EndpointSlice& object = *std::get<std::shared_ptr<const EndpointSlice>>(slice);
  return {object.meta.key.ns, object.service};
}

}  // namespace

struct Snapshot::State {
  std::array<BucketMap<ObjectTraits>, kind_count> objects;
  BucketMap<SliceTraits> slices;

  const Object* find(Kind kind, const ObjectKey& key) const {
    return objects[static_cast<size_t>(kind)].find(key);
  }
};

bool Changes::touches(Kind kind) const {
  if (everything) return true;
  const auto first = objects.lower_bound({kind, {}});
  return first != objects.end() && first->kind == kind;
}

Snapshot::Snapshot() : state_(std::make_shared<const State>()) {}

const Object* Snapshot::find_object(Kind kind, const ObjectKey& key) const {
  return state_->find(kind, key);
}

void Snapshot::each_object(Kind kind, const std::function<void(const Object&)>& visit) const {
  state_->objects[static_cast<size_t>(kind)].each(visit);
}

size_t Snapshot::count(Kind kind) const {
  return state_->objects[static_cast<size_t>(kind)].size();
}

SliceList Snapshot::slices_of(const ObjectKey& service) const {
  const SlicesOf* found = state_->slices.find(service);
  return found == nullptr ? SliceList() : *found->slices;
}

struct SnapshotBuilder::Impl {
  Snapshot::State state;
  std::shared_ptr<const Snapshot> previous = std::make_shared<const Snapshot>();
  uint64_t epoch = 1;
  std::set<Change> touched;  // since the last take(); some may be as they were

  void index_slice(const Object& slice, bool present);
  void note_services(const Object& object, Changes& changes) const;
};

// The list is copied, never changed: older snapshots hold it. It is short, one slice per 100
// endpoints.
void SnapshotBuilder::Impl::index_slice(const Object& slice, bool present) {
  const ObjectKey service = service_of(slice);
  if (service.name.empty()) return;
  const auto& pointer = std::get<std::shared_ptr<const EndpointSlice>>(slice);
  const SlicesOf* found = state.slices.find(service);
  auto list = std::make_shared<SliceList>(found == nullptr ? SliceList() : *found->slices);
  const auto place = std::lower_bound(
      list->begin(), list->end(), pointer->meta.key.name,
      [](const auto& a, const std::string& name) { return a->meta.key.name < name; });
  const bool held = place != list->end() && (*place)->meta.key.name == pointer->meta.key.name;
  if (held && present) {
    *place = pointer;
  } else if (present) {
    list->insert(place, pointer);
  } else if (held) {
    list->erase(place);
  }
  if (list->empty()) return state.slices.erase(service, epoch);
  state.slices.put({service, std::move(list)}, epoch);
}

void SnapshotBuilder::Impl::note_services(const Object& object, Changes& changes) const {
  const Kind kind = kind_of(object);
  if (kind == Kind::service) changes.services.insert(meta_of(object).key);
  if (kind != Kind::endpoint_slice) return;
  if (ObjectKey service = service_of(object); !service.name.empty()) {
    changes.services.insert(std::move(service));
  }
}

SnapshotBuilder::SnapshotBuilder() : impl_(std::make_unique<Impl>()) {}
SnapshotBuilder::~SnapshotBuilder() = default;

void SnapshotBuilder::put(Object object) {
  const Kind kind = kind_of(object);
  const ObjectKey& key = meta_of(object).key;
  const Object* old = impl_->state.find(kind, key);
  if (old == nullptr || !same_content(*old, object)) impl_->touched.insert({kind, key});
  // Before the object is replaced: `old` lives in the table.
  if (kind == Kind::endpoint_slice) {
    if (old != nullptr && service_of(*old) != service_of(object)) impl_->index_slice(*old, false);
    impl_->index_slice(object, true);
  }
  impl_->state.objects[static_cast<size_t>(kind)].put(std::move(object), impl_->epoch);
}

void SnapshotBuilder::erase(Kind kind, const ObjectKey& key) {
  const Object* old = impl_->state.find(kind, key);
  if (old == nullptr) return;
  impl_->touched.insert({kind, key});
  if (kind == Kind::endpoint_slice) impl_->index_slice(*old, false);
  const ObjectKey copy = key;  // `key` may live in the object that goes away
  impl_->state.objects[static_cast<size_t>(kind)].erase(copy, impl_->epoch);
}

bool SnapshotBuilder::dirty() const { return !impl_->touched.empty(); }

const Object* SnapshotBuilder::find_object(Kind kind, const ObjectKey& key) const {
  return impl_->state.find(kind, key);
}

std::vector<ObjectKey> SnapshotBuilder::keys(Kind kind) const {
  std::vector<ObjectKey> out;
  impl_->state.objects[static_cast<size_t>(kind)].each(
      [&](const Object& object) { out.push_back(meta_of(object).key); });
  return out;
}

// What was touched is compared with the snapshot before, so that Changes is the exact difference
// even when an object came and went, or changed and changed back, in between.
SnapshotBuilder::Tick SnapshotBuilder::take() {
  Changes changes;
  changes.everything = impl_->previous->generation() == 0;
  for (const Change& change : impl_->touched) {
    const Object* before = impl_->previous->find_object(change.kind, change.key);
    const Object* after = impl_->state.find(change.kind, change.key);
    const bool same = before != nullptr && after != nullptr && same_content(*before, *after);
    if (same || (before == nullptr && after == nullptr)) continue;
    changes.objects.insert(change);
    if (before != nullptr) impl_->note_services(*before, changes);
    if (after != nullptr) impl_->note_services(*after, changes);
  }
  impl_->touched.clear();

  auto next = std::make_shared<Snapshot>();
  next->state_ = std::make_shared<const Snapshot::State>(impl_->state);
  next->generation_ = impl_->previous->generation() + 1;
  // From here on the buckets belong to the snapshot as well, and are copied before they are
  // written.
  ++impl_->epoch;
  impl_->previous = next;
  return {std::move(next), std::move(changes)};
}

}  // namespace fairlead::api

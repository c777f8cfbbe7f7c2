#include "watch/store.h"

namespace fairlead::watch {
namespace {

constexpr size_t max_listed = 100;

}  // namespace

Store::Store(net::EventLoop& loop, Duration coalesce, TickSink sink)
    : loop_(loop), coalesce_(coalesce), sink_(std::move(sink)) {}

void Store::put(api::Object object) {
  if (!bad_.empty()) bad_.erase({api::kind_of(object), api::meta_of(object).key});
  builder_.put(std::move(object));
  arm();
}

void Store::erase(api::Kind kind, const api::ObjectKey& key) {
  bad_.erase({kind, key});
  builder_.erase(kind, key);
  arm();
}

void Store::retain(api::Kind kind, const std::set<api::ObjectKey>& keys) {
  for (const api::ObjectKey& key : builder_.keys(kind)) {
    if (!keys.contains(key)) builder_.erase(kind, key);
  }
  std::erase_if(bad_, [&](const auto& entry) {
    return entry.first.kind == kind && !keys.contains(entry.first.key);
  });
  arm();
}

// No tick: nothing in the snapshot changes.
void Store::mark_bad(api::Kind kind, const api::ObjectKey& key, std::string error) {
  bad_[{kind, key}] = std::move(error);
}

std::vector<std::string> Store::bad_objects() const {
  std::vector<std::string> out;
  for (const auto& [change, error] : bad_) {
    if (out.size() == max_listed) break;
    out.push_back(error);
  }
  return out;
}

size_t Store::size() const {
  size_t total = 0;
  for (const api::KindInfo& kind : api::kinds()) total += builder_.keys(kind.kind).size();
  return total;
}

void Store::open() {
  open_ = true;
  arm();
}

// One timer per tick: the first change starts it, and those that follow wait for the same one.
void Store::arm() {
  if (!open_ || timer_ || !(first_ || builder_.dirty())) return;
  timer_ = loop_.after(coalesce_, [this] { deliver(); });
}

void Store::deliver() {
  auto [snapshot, changes] = builder_.take();
  first_ = false;
  if (changes.empty()) return;
  sink_(std::move(snapshot), changes);  // last: the sink may end this feed
}

}  // namespace fairlead::watch

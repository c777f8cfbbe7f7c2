// ExpiringTable: a bounded map whose entries are kept in the order of their last use. When it is
// full, the entry that was used longest ago makes room.
#pragma once

#include <list>
#include <unordered_map>
#include <utility>

#include "base/clock.h"

namespace fairlead::dataplane::userspace {

template <class Key, class Value, class Hash = std::hash<Key>>
class ExpiringTable {
 public:
  struct Entry {
    Key key;
    MonoTime used;
    Value value;
  };
  using Handle = typename std::list<Entry>::iterator;

  explicit ExpiringTable(size_t capacity) : capacity_(capacity < 1 ? 1 : capacity) {}

  // Null when there is none. Looking is not using.
  Entry* find(const Key& key) {
    const auto found = index_.find(key);
    return found == index_.end() ? nullptr : &*found->second;
  }
  // Counts as a use. REQUIRES: times never go back.
  Entry& put(const Key& key, Value value, MonoTime now) {
    if (const auto found = index_.find(key); found != index_.end()) {
      found->second->value = std::move(value);
      return use(found->second, now);
    }
    if (index_.size() >= capacity_) erase(entries_.front().key);
    entries_.push_back(Entry{key, now, std::move(value)});
    index_.emplace(key, std::prev(entries_.end()));
    return entries_.back();
  }
  void use(const Key& key, MonoTime now) {
    if (const auto found = index_.find(key); found != index_.end()) use(found->second, now);
  }
  void erase(const Key& key) {
    const auto found = index_.find(key);
    if (found == index_.end()) return;
    const Handle entry = found->second;  // `key` may be the entry's own
    index_.erase(found);
    entries_.erase(entry);
  }
  // Removes what was used last at `limit` or before. Returns how many.
  size_t expire(MonoTime limit) {
    size_t count = 0;
    for (; !entries_.empty() && entries_.front().used <= limit; ++count) {
      erase(entries_.front().key);
    }
    return count;
  }
  void clear() {
    index_.clear();
    entries_.clear();
  }
  size_t size() const { return index_.size(); }
  size_t capacity() const { return capacity_; }

 private:
  Entry& use(Handle entry, MonoTime now) {
    entry->used = now;
    entries_.splice(entries_.end(), entries_, entry);
    return *entry;
  }

  const size_t capacity_;
  std::list<Entry> entries_;  // the one used longest ago first
  std::unordered_map<Key, Handle, Hash> index_;
};

}  // namespace fairlead::dataplane::userspace

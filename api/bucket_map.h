// A persistent hash map: copies share their buckets, and a writer copies only the buckets that it
// touches. Internal to Snapshot.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "api/objects.h"

namespace fairlead::api {

inline size_t hash_of(const ObjectKey& key) {
  const size_t name = std::hash<std::string>{}(key.name);
  return name ^ (std::hash<std::string>{}(key.ns) * 0x9e3779b97f4a7c15ULL);
}

// Traits: `using Entry`, `static const ObjectKey& key(const Entry&)`.
//
// An epoch is one round of writing. Buckets made in the current epoch belong to the writer alone;
// older ones may be shared with readers on any thread and are never written.
template <class Traits>
class BucketMap {
 public:
  using Entry = typename Traits::Entry;
  static constexpr size_t bucket_count = 1024;

  const Entry* find(const ObjectKey& key) const {
    const Bucket* bucket = buckets_ == nullptr ? nullptr : at(key).get();
    if (bucket == nullptr) return nullptr;
    const auto found = position(bucket->entries, key);
    return found == bucket->entries.end() ? nullptr : &*found;
  }

  void put(Entry entry, uint64_t epoch) {
    std::vector<Entry>& entries = writable(Traits::key(entry), epoch);
    if (const auto found = position(entries, Traits::key(entry)); found != entries.end()) {
      *found = std::move(entry);
    } else {
      entries.push_back(std::move(entry));
      ++size_;
    }
  }

  void erase(const ObjectKey& key, uint64_t epoch) {
    if (find(key) == nullptr) return;
    std::vector<Entry>& entries = writable(key, epoch);
    entries.erase(position(entries, key));
    --size_;
  }

  void each(const std::function<void(const Entry&)>& visit) const {
    if (buckets_ == nullptr) return;
    for (const auto& bucket : buckets_->list) {
      if (bucket == nullptr) continue;
      for (const Entry& entry : bucket->entries) visit(entry);
    }
  }

  size_t size() const { return size_; }

 private:
  struct Bucket {
    uint64_t epoch;
    std::vector<Entry> entries;
  };
  struct Buckets {
    uint64_t epoch;
    std::array<std::shared_ptr<Bucket>, bucket_count> list;
  };

  template <class Entries>
  static auto position(Entries& entries, const ObjectKey& key) {
    return std::find_if(entries.begin(), entries.end(),
                        [&](const Entry& entry) { return Traits::key(entry) == key; });
  }

  const std::shared_ptr<Bucket>& at(const ObjectKey& key) const {
    return buckets_->list[hash_of(key) % bucket_count];
  }

  std::vector<Entry>& writable(const ObjectKey& key, uint64_t epoch) {
    if (buckets_ == nullptr) {
      buckets_ = std::make_shared<Buckets>(Buckets{epoch, {}});
    } else if (buckets_->epoch != epoch) {
      buckets_ = std::make_shared<Buckets>(Buckets{epoch, buckets_->list});
    }
    std::shared_ptr<Bucket>& bucket = buckets_->list[hash_of(key) % bucket_count];
    if (bucket == nullptr) {
      bucket = std::make_shared<Bucket>(Bucket{epoch, {}});
    } else if (bucket->epoch != epoch) {
      bucket = std::make_shared<Bucket>(Bucket{epoch, bucket->entries});
    }
    return bucket->entries;
  }

  std::shared_ptr<Buckets> buckets_;  // null as long as nothing was ever put
  size_t size_ = 0;
};

}  // namespace fairlead::api

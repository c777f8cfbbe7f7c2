// Names to immutable values, with structure sharing: a copy costs the bucket pointers, and a
// change costs one bucket, however many names there are.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead::ingress {

// A value; copies are independent. Any number of threads may read the same one.
template <class T>
class HostMap {
 public:
  const T* find(std::string_view name) const {
    const size_t hash = std::hash<std::string_view>{}(name);
    const auto& bucket = buckets_[hash % bucket_count];
    if (bucket == nullptr) return nullptr;
    for (const Entry& entry : *bucket) {
      if (entry.hash == hash && entry.name == name) return entry.value.get();
    }
    return nullptr;
  }

  // A null value erases the name.
  void set(const std::string& name, std::shared_ptr<const T> value) {
    const size_t hash = std::hash<std::string_view>{}(name);
    auto& bucket = buckets_[hash % bucket_count];
    auto next = bucket == nullptr ? std::make_shared<Bucket>() : std::make_shared<Bucket>(*bucket);
    const size_t before = next->size();
    std::erase_if(*next,
                  [&](const Entry& entry) { return entry.hash == hash && entry.name == name; });
    if (value != nullptr) next->push_back({hash, name, std::move(value)});
    size_ += next->size() - before;
    bucket = next->empty() ? nullptr : std::move(next);
  }

  template <class Visit>
  void each(Visit visit) const {
    for (const auto& bucket : buckets_) {
      if (bucket == nullptr) continue;
      for (const Entry& entry : *bucket) visit(entry.name, *entry.value);
    }
  }

  size_t size() const { return size_; }

 private:
  static constexpr size_t bucket_count = 1024;
  struct Entry {
    size_t hash;
    std::string name;
    std::shared_ptr<const T> value;
  };
  using Bucket = std::vector<Entry>;

  std::array<std::shared_ptr<const Bucket>, bucket_count> buckets_;
  size_t size_ = 0;
};

}  // namespace fairlead::ingress

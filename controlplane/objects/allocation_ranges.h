// Sets of numbers in use, out of a range whose low band is kept for explicit requests.
// Source: KEP-3070, KEP-3668. Internal to the allocator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <unordered_set>

#include "base/ip.h"

namespace fairlead::controlplane {

// Offsets 0..size-1. A dynamic pick comes from above `band` as long as there is one.
class OffsetPool {
 public:
  OffsetPool(uint64_t size, uint64_t band) : size_(size), band_(band < size ? band : 0) {}

  bool used(uint64_t offset) const { return used_.contains(offset); }
  void take(uint64_t offset) { used_.insert(offset); }
  void free(uint64_t offset) { used_.erase(offset); }
  size_t count() const { return used_.size(); }
  uint64_t size() const { return size_; }

  // A free offset that is not in `also_taken`; nothing when all are used.
  std::optional<uint64_t> pick(const std::unordered_set<uint64_t>& also_taken,
                               std::mt19937_64& random) const {
    if (const auto high = scan(band_, size_, also_taken, random)) return high;
    return scan(0, band_, also_taken, random);
  }

 private:
  std::optional<uint64_t> scan(uint64_t low, uint64_t high,
                               const std::unordered_set<uint64_t>& also_taken,
                               std::mt19937_64& random) const {
    const uint64_t length = high - low;
    if (length == 0) return std::nullopt;
    const uint64_t start = random() % length;
    for (uint64_t i = 0; i < length; ++i) {
      const uint64_t offset = low + (start + i) % length;
      if (!used_.contains(offset) && !also_taken.contains(offset)) return offset;
    }
    return std::nullopt;
  }

  uint64_t size_, band_;
  std::unordered_set<uint64_t> used_;
};

// The addresses of one CIDR: not its first one and, of IPv4, not its last (broadcast).
class AddressRange {
 public:
  // Dynamic picks look at this many addresses at most; explicit ones may be anywhere in the CIDR.
  static constexpr uint64_t max_dynamic = 1 << 20;

  explicit AddressRange(const Cidr& cidr)
      : cidr_(cidr), pool_(usable(cidr), std::min<uint64_t>(band(usable(cidr)), 256)) {}

  const Cidr& cidr() const { return cidr_; }
  bool is_v4() const { return cidr_.base.is_v4(); }
  bool in_range(const Ip& ip) const {
    return cidr_.contains(ip) && ip != cidr_.base && !(is_v4() && ip == cidr_.at(cidr_.size() - 1));
  }
  // Offset 0 is the first usable address. REQUIRES: in_range(ip)
  uint64_t offset(const Ip& ip) const { return distance(ip) - 1; }
  Ip at(uint64_t offset) const { return cidr_.at(offset + 1); }
  OffsetPool& pool() { return pool_; }
  const OffsetPool& pool() const { return pool_; }

 private:
  static uint64_t usable(const Cidr& cidr) {
    const uint64_t ends = cidr.base.is_v4() ? 2 : 1;
    const uint64_t all = cidr.size() > ends ? cidr.size() - ends : 0;
    return std::min(all, max_dynamic);
  }
  static uint64_t band(uint64_t size) { return std::max<uint64_t>(16, size / 16); }
  // ip - base, of their last eight bytes.
  uint64_t distance(const Ip& ip) const {
    uint64_t a = 0, b = 0;
    for (size_t i = 8; i < 16; ++i) {
      a = a << 8 | ip.bytes[i];
      b = b << 8 | cidr_.base.bytes[i];
    }
    return a - b;
  }

  Cidr cidr_;
  OffsetPool pool_;
};

class PortRange {
 public:
  PortRange(uint16_t low, uint16_t high) : low_(low), high_(high), pool_(size(), band()) {}

  bool in_range(int64_t port) const { return port >= low_ && port <= high_; }
  uint64_t offset(int64_t port) const { return static_cast<uint64_t>(port - low_); }
  int64_t at(uint64_t offset) const { return static_cast<int64_t>(low_ + offset); }
  OffsetPool& pool() { return pool_; }
  const OffsetPool& pool() const { return pool_; }
  uint16_t low() const { return low_; }
  uint16_t high() const { return high_; }

 private:
  uint64_t size() const { return high_ < low_ ? 0 : static_cast<uint64_t>(high_ - low_) + 1; }
  uint64_t band() const { return std::min<uint64_t>(std::max<uint64_t>(16, size() / 32), 128); }

  uint16_t low_, high_;
  OffsetPool pool_;
};

}  // namespace fairlead::controlplane

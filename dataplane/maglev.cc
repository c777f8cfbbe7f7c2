#include "dataplane/maglev.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace fairlead::dataplane {
namespace {

constexpr uint16_t nobody = UINT16_MAX;

// The finalizer of SplitMix64: every bit of the result depends on every bit of the input.
uint64_t mix(uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
  value = (value ^ value >> 27) * 0x94d049bb133111ebu;
  return value ^ value >> 31;
}

uint64_t hash(const SocketAddress& backend, uint64_t seed) {
  uint64_t state = seed, word = 0;
  for (size_t i = 0; i < backend.ip.bytes.size(); ++i) {
    word = word << 8 | backend.ip.bytes[i];
    if (i % 8 == 7) state = mix(state ^ word);
  }
  return mix(state ^ backend.port);
}

// The places in the order in which a backend would like to have them: all of them, since `size` is
// prime.
struct Wish {
  uint32_t place, step;
  void next(uint32_t size) { place = (place + step) % size; }
};

Wish wish_of(const SocketAddress& backend, uint32_t size) {
  return {static_cast<uint32_t>(hash(backend, 1) % size),
          static_cast<uint32_t>(hash(backend, 2) % (size - 1) + 1)};
}

}  // namespace

std::vector<uint16_t> maglev_table(std::span<const SocketAddress> backends, uint32_t size) {
  CHECK(backends.size() <= size);
  CHECK(size > 1 && size < nobody);
  if (backends.empty()) return {};
  std::vector<uint16_t> order(backends.size());
  std::iota(order.begin(), order.end(), uint16_t{0});
  std::sort(order.begin(), order.end(),
            [&](uint16_t a, uint16_t b) { return backends[a] < backends[b]; });
  std::vector<Wish> wishes;
  for (const SocketAddress& backend : backends) wishes.push_back(wish_of(backend, size));
  std::vector<uint16_t> table(size, nobody);
  for (uint32_t taken = 0; taken < size;) {
    for (const uint16_t index : order) {
      Wish& wish = wishes[index];
      while (table[wish.place] != nobody) wish.next(size);
      table[wish.place] = index;
      if (++taken == size) break;
    }
  }
  return table;
}

}  // namespace fairlead::dataplane

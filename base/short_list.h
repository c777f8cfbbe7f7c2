// ShortList: a vector in 8 bytes. For values of which there are very many and whose lists are empty
// or hold one or two things: an empty one owns nothing, and there is never spare room. Adding
// copies the whole list, so it is not for long ones.
//
// Like a vector, it belongs to one thread at a time; many may read it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <new>
#include <utility>

#include "base/check.h"

namespace fairlead {

template <class T>
class ShortList {
  static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

 public:
  using value_type = T;

  ShortList() = default;
  ShortList(std::initializer_list<T> items) : ShortList(items.begin(), items.size(), 0) {}
  ShortList(const ShortList& other) : ShortList(other.begin(), other.size(), 0) {}
  ShortList(ShortList&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  ShortList& operator=(ShortList other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~ShortList() {
    std::destroy_n(begin(), size());
    ::operator delete(block_);
  }

  void push_back(T item) {
    ShortList longer(begin(), size(), 1);
    new (longer.end()) T(std::move(item));
    ++longer.header()->size;
    *this = std::move(longer);
  }

  size_t size() const { return block_ == nullptr ? 0 : header()->size; }
  bool empty() const { return block_ == nullptr; }
  const T* begin() const { return items(); }
  const T* end() const { return items() + size(); }
  T* begin() { return items(); }
  T* end() { return items() + size(); }
  const T& front() const { return (*this)[0]; }
  const T& operator[](size_t at) const {
    CHECK(at < size());
    return items()[at];
  }

  template <class U>
  bool contains(const U& item) const {
    return std::find(begin(), end(), item) != end();
  }

  friend bool operator==(const ShortList& a, const ShortList& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  struct Header {
    uint32_t size;
  };
  static constexpr size_t first = (sizeof(Header) + alignof(T) - 1) / alignof(T) * alignof(T);

  // A copy, with room for `more`.
  ShortList(const T* from, size_t count, size_t more) {
    if (count + more == 0) return;
    CHECK(count + more <= UINT32_MAX);
    block_ = ::operator new(first + (count + more) * sizeof(T));
    new (block_) Header{0};
    std::uninitialized_copy_n(from, count, items());
    header()->size = static_cast<uint32_t>(count);
  }
  Header* header() const { return static_cast<Header*>(block_); }
  T* items() const {
    return block_ == nullptr ? nullptr
                             : reinterpret_cast<T*>(static_cast<std::byte*>(block_) + first);
  }

  void* block_ = nullptr;  // a Header, then the items
};

}  // namespace fairlead

// SharedText: immutable text in 8 bytes, which its copies share. For values of which many objects
// hold the same one, or most hold none: an empty one owns nothing.
//
// Any thread may hold and read one; the last copy frees the text.
#pragma once

#include <compare>
#include <concepts>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace fairlead {

class SharedText {
 public:
  SharedText() = default;
  // Implicit: it stands where a string could stand.
  template <class Text>
    requires(std::convertible_to<const Text&, std::string_view> && !std::same_as<Text, SharedText>)
  SharedText(const Text& text) : block_(make(text)) {}  // NOLINT(google-explicit-constructor)

  SharedText(const SharedText& other) : block_(other.block_) { hold(); }
  SharedText(SharedText&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedText& operator=(SharedText other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedText() { drop(); }

  std::string_view view() const;
  operator std::string_view() const { return view(); }  // NOLINT(google-explicit-constructor)
  std::string str() const { return std::string(view()); }
  bool empty() const { return block_ == nullptr; }
  // Whether both are one piece of memory: for tests of those who promise to share.
  bool same_as(const SharedText& other) const { return block_ == other.block_; }

  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  friend bool operator==(const SharedText& a, const Text& b) {
    return a.view() == std::string_view(b);
  }
  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  friend std::strong_ordering operator<=>(const SharedText& a, const Text& b) {
    return a.view() <=> std::string_view(b);
  }
  friend std::ostream& operator<<(std::ostream& out, const SharedText& text) {
    return out << text.view();
  }

 private:
  struct Block;  // the count, the size, then the bytes
  static Block* make(std::string_view text);
  void hold() const;
  void drop();

  Block* block_ = nullptr;
};

}  // namespace fairlead

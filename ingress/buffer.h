// Pooled 64 KiB buffers, and the window of a message that streams through one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace fairlead::ingress {

inline constexpr size_t slab_bytes = 64 * 1024;

// Belongs to one worker. Hands out the slab that was given back last: its pages are warm.
class SlabPool {
 public:
  using Slab = std::unique_ptr<char[]>;
  Slab take();
  void give(Slab slab);
  size_t in_use() const { return in_use_; }

 private:
  static constexpr size_t max_free = 256;  // 16 MiB; more goes back to the allocator
  std::vector<Slab> free_;
  size_t in_use_ = 0;
};

// A slab with cursors, front to back: pinned bytes (a head that views point into), bytes ready to
// be sent on, bytes that nobody has looked at yet, free space.
class Buffer {
 public:
  explicit Buffer(SlabPool& pool) : pool_(pool) {}
  ~Buffer() { release(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::span<char> space();  // where to read to; takes a slab when there is none
  void filled(size_t bytes) { end_ += bytes; }
  bool full() const { return slab_ != nullptr && end_ == slab_bytes; }

  std::string_view raw() const { return {slab_.get() + raw_, end_ - raw_}; }
  std::string_view ready() const { return {slab_.get() + begin_, ready_ - begin_}; }
  bool empty() const { return begin_ == ready_ && raw_ == end_; }

  // The first `bytes` of raw() stay where they are until next_message() or release().
  void pin(size_t bytes);
  void skip(size_t bytes);  // the first `bytes` of raw() are not needed any more
  // BodyFramer's feed() from raw() to ready(). Returns how much of raw() it used.
  template <class Framer>
  size_t frame(Framer& framer) {
    if (raw_ == end_) return 0;
    const auto step = framer.feed(slab_.get() + raw_, end_ - raw_, slab_.get() + ready_);
    raw_ += step.consumed;
    ready_ += step.produced;
    return step.consumed;
  }
  void produced(size_t bytes);  // space() now begins with that much to send
  void sent(size_t bytes);      // takes them off ready()
  // Offers everything ready again from the start. False when some of it is gone.
  bool rewind();
  void next_message();  // drops all but raw(); without that, gives the slab back
  void release();

 private:
  SlabPool& pool_;
  SlabPool::Slab slab_;
  size_t pinned_ = 0, begin_ = 0, ready_ = 0, raw_ = 0, end_ = 0;
  bool recycled_ = false;  // sent bytes have been overwritten
};

}  // namespace fairlead::ingress

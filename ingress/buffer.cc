#include "ingress/buffer.h"

#include <cstring>

#include "base/check.h"

namespace fairlead::ingress {

SlabPool::Slab SlabPool::take() {
  ++in_use_;
  if (free_.empty()) return Slab(new char[slab_bytes]);
  Slab slab = std::move(free_.back());
  free_.pop_back();
  return slab;
}

void SlabPool::give(Slab slab) {
  --in_use_;
  if (free_.size() < max_free) free_.push_back(std::move(slab));
}

std::span<char> Buffer::space() {
  if (slab_ == nullptr) slab_ = pool_.take();
  return {slab_.get() + end_, slab_bytes - end_};
}

void Buffer::pin(size_t bytes) {
  CHECK(raw_ + bytes <= end_ && begin_ == ready_);
  raw_ += bytes;
  pinned_ = begin_ = ready_ = raw_;
}

void Buffer::skip(size_t bytes) {
  pin(bytes);
  pinned_ = 0;
}

void Buffer::produced(size_t bytes) {
  CHECK(raw_ == end_ && ready_ == end_);
  end_ += bytes;
  ready_ = raw_ = end_;
}

void Buffer::sent(size_t bytes) {
  begin_ += bytes;
  if (!empty() || end_ == pinned_) return;
  // Only a window that is getting full starts over: what is small can still be sent again.
  if (end_ < slab_bytes / 2) return;
  begin_ = ready_ = raw_ = end_ = pinned_;
  recycled_ = true;
}

bool Buffer::rewind() {
  if (recycled_) return false;
  begin_ = pinned_;
  return true;
}

void Buffer::next_message() {
  const size_t left = end_ - raw_;
  if (left == 0) {
    release();
    return;
  }
  if (raw_ > 0) std::memmove(slab_.get(), slab_.get() + raw_, left);
  pinned_ = begin_ = ready_ = raw_ = 0;
  end_ = left;
  recycled_ = false;
}

void Buffer::release() {
  if (slab_ != nullptr) pool_.give(std::move(slab_));
  slab_ = nullptr;
  pinned_ = begin_ = ready_ = raw_ = end_ = 0;
  recycled_ = false;
}

}  // namespace fairlead::ingress

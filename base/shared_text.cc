#include "base/shared_text.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/check.h"

namespace fairlead {

struct SharedText::Block {
  std::atomic<uint32_t> holders = 1;
  uint32_t size;
  char* bytes() { return reinterpret_cast<char*>(this + 1); }
};

SharedText::Block* SharedText::make(std::string_view text) {
  if (text.empty()) return nullptr;
  CHECK(text.size() <= UINT32_MAX);
  auto* block = new (::operator new(sizeof(Block) + text.size())) Block;
  block->size = static_cast<uint32_t>(text.size());
  std::memcpy(block->bytes(), text.data(), text.size());
  return block;
}

std::string_view SharedText::view() const {
  if (block_ == nullptr) return {};
  return {block_->bytes(), block_->size};
}

void SharedText::hold() const {
  if (block_ != nullptr) block_->holders.fetch_add(1, std::memory_order_relaxed);
}

void SharedText::drop() {
  // The last one must see all that others did with the text before they let go of it.
  if (block_ == nullptr || block_->holders.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  block_->~Block();
  ::operator delete(block_);
}

}  // namespace fairlead

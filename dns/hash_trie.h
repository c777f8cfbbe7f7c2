// A persistent hash trie: a copy is one pointer, and a change of the copy costs the path to one
// leaf. That is what lets a new index be made from the one before while queries read the old one.
//
// Entry is a value with `uint64_t hash() const`. Entries with equal hashes may stand side by side.
// Readers need no lock; a trie is changed by one thread, before it is shared.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace fairlead::dns {

// 64 bits of `bytes`. The seed keeps outsiders from choosing names that collide.
inline uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}
inline uint64_t hash_bytes(const char* bytes, size_t size, uint64_t seed) {
  constexpr uint64_t k0 = 0x9e3779b97f4a7c15, k1 = 0xd1b54a32d192ed03;
  uint64_t hash = seed ^ (k0 + size);
  for (; size >= 8; bytes += 8, size -= 8) {
    uint64_t word;
    __builtin_memcpy(&word, bytes, 8);
    hash = mix(hash ^ word, k1);
  }
  uint64_t rest = 0;
  __builtin_memcpy(&rest, bytes, size);
  return mix(mix(hash ^ rest, k1), k0);
}

template <class Entry>
class HashTrie {
 public:
  // The first entry of that hash for which `matches` holds, or nullptr.
  template <class Matches>
  const Entry* find(uint64_t hash, Matches matches) const {
    const Node* node = root_.get();
    for (unsigned shift = 0; node != nullptr && node->branch; shift += 4) {
      node = node->branch->children[hash >> shift & 15].get();
    }
    if (node == nullptr) return nullptr;
    for (const Entry& entry : node->entries) {
      if (entry.hash() == hash && matches(entry)) return &entry;
    }
    return nullptr;
  }
  template <class Visit>
  void each(uint64_t hash, Visit visit) const {
    find(hash, [&](const Entry& entry) {
      visit(entry);
      return false;
    });
  }
  template <class Visit>
  void each(Visit visit) const {
    each_below(root_.get(), visit);
  }

  // `edit` names one series of changes: nodes made by it are changed in place, all others are
  // copied first. Use a new number after each copy of the trie. Not 0.
  void insert(Entry entry, uint64_t edit) {
    const uint64_t hash = entry.hash();
    insert(root_, std::move(entry), hash, 0, edit);
    ++size_;
  }
  // Removes the first match; false when there is none.
  template <class Matches>
  bool erase(uint64_t hash, Matches matches, uint64_t edit) {
    if (find(hash, matches) == nullptr) return false;
    Node* node = own(root_, edit);
    for (unsigned shift = 0; node->branch; shift += 4) {
      node = own(node->branch->children[hash >> shift & 15], edit);
    }
    for (auto it = node->entries.begin(); it != node->entries.end(); ++it) {
      if (it->hash() != hash || !matches(*it)) continue;
      node->entries.erase(it);
      break;
    }
    --size_;
    return true;
  }

  size_t size() const { return size_; }

 private:
  static constexpr size_t leaf_entries = 6;
  static constexpr unsigned hash_bits = 64;

  struct Node;
  struct Branch {
    std::array<std::shared_ptr<Node>, 16> children;
  };
  struct Node {  // a branch or a leaf
    uint64_t edit = 0;
    std::unique_ptr<Branch> branch;
    std::vector<Entry> entries;
  };

  template <class Visit>
  static void each_below(const Node* node, Visit& visit) {
    if (node == nullptr) return;
    for (const Entry& entry : node->entries) visit(entry);
    if (!node->branch) return;
    for (const auto& child : node->branch->children) each_below(child.get(), visit);
  }

  static Node* own(std::shared_ptr<Node>& slot, uint64_t edit) {
    if (slot == nullptr) {
      slot = std::make_shared<Node>();
    } else if (slot->edit != edit) {
      auto copy = std::make_shared<Node>();
      if (slot->branch) copy->branch = std::make_unique<Branch>(*slot->branch);
      copy->entries = slot->entries;
      slot = std::move(copy);
    }
    slot->edit = edit;
    return slot.get();
  }

  static void insert(std::shared_ptr<Node>& root, Entry entry, uint64_t hash, unsigned shift,
                     uint64_t edit) {
    Node* node = own(root, edit);
    for (; node->branch; shift += 4) {
      node = own(node->branch->children[hash >> shift & 15], edit);
    }
    node->entries.push_back(std::move(entry));
    if (node->entries.size() <= leaf_entries || shift >= hash_bits || all_equal(*node)) return;
    std::vector<Entry> entries = std::move(node->entries);
    node->entries = {};
    node->branch = std::make_unique<Branch>();
    for (Entry& moved : entries) {
      const uint64_t moved_hash = moved.hash();
      insert(node->branch->children[moved_hash >> shift & 15], std::move(moved), moved_hash,
             shift + 4, edit);
    }
  }
  // Entries of one hash cannot be told apart further down.
  static bool all_equal(const Node& node) {
    for (const Entry& entry : node.entries) {
      if (entry.hash() != node.entries.front().hash()) return false;
    }
    return true;
  }

  std::shared_ptr<Node> root_;
  size_t size_ = 0;
};

}  // namespace fairlead::dns

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
    for (unsigned shift = 0; node != nullptr && node->is_branch; shift += fan_bits) {
      node = static_cast<const Branch*>(node)->children[child(hash, shift)].get();
    }
    if (node == nullptr) return nullptr;
    for (const Entry& entry : static_cast<const Leaf*>(node)->entries) {
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
    insert(root_, std::move(entry), 0, edit);
    ++size_;
  }
  // Removes the first match; false when there is none.
  template <class Matches>
  bool erase(uint64_t hash, Matches matches, uint64_t edit) {
    if (find(hash, matches) == nullptr) return false;
    unsigned shift = 0;
    auto& entries = own_leaf(root_, hash, shift, edit)->entries;
    for (auto it = entries.begin(); it != entries.end(); ++it) {
      if (it->hash() != hash || !matches(*it)) continue;
      entries.erase(it);
      break;
    }
    --size_;
    return true;
  }

  size_t size() const { return size_; }

 private:
  static constexpr unsigned fan_bits = 6;  // few levels: each is a cache miss
  static constexpr size_t fan_out = 1 << fan_bits;
  static constexpr size_t leaf_entries = 24;
  static constexpr unsigned hash_bits = 64;

  struct Node {
    bool is_branch;
    uint64_t edit;
  };
  struct Leaf : Node {
    std::vector<Entry> entries;
  };
  struct Branch : Node {
    std::array<std::shared_ptr<Node>, fan_out> children;
  };

  static size_t child(uint64_t hash, unsigned shift) { return hash >> shift & (fan_out - 1); }

  template <class Visit>
  static void each_below(const Node* node, Visit& visit) {
    if (node == nullptr) return;
    if (!node->is_branch) {
      for (const Entry& entry : static_cast<const Leaf*>(node)->entries) visit(entry);
      return;
    }
    for (const auto& one : static_cast<const Branch*>(node)->children) each_below(one.get(), visit);
  }

  // The node of `slot`, ready to be changed. An empty slot becomes a leaf.
  static Node* own(std::shared_ptr<Node>& slot, uint64_t edit) {
    if (slot == nullptr) {
      slot = std::make_shared<Leaf>();
      slot->is_branch = false;
    } else if (slot->edit != edit) {
      if (slot->is_branch) {
        slot = std::make_shared<Branch>(static_cast<const Branch&>(*slot));
      } else {
        slot = std::make_shared<Leaf>(static_cast<const Leaf&>(*slot));
      }
    }
    slot->edit = edit;
    return slot.get();
  }
  static Leaf* own_leaf(std::shared_ptr<Node>& root, uint64_t hash, unsigned& shift,
                        uint64_t edit) {
    Node* node = own(root, edit);
    for (; node->is_branch; shift += fan_bits) {
      node = own(static_cast<Branch*>(node)->children[child(hash, shift)], edit);
    }
    return static_cast<Leaf*>(node);
  }
  static void insert(std::shared_ptr<Node>& root, Entry entry, unsigned shift, uint64_t edit) {
    const uint64_t hash = entry.hash();
    std::shared_ptr<Node>* slot = &root;
    Node* node = own(*slot, edit);
    for (; node->is_branch; shift += fan_bits) {
      slot = &static_cast<Branch*>(node)->children[child(hash, shift)];
      node = own(*slot, edit);
    }
    auto* leaf = static_cast<Leaf*>(node);
    leaf->entries.push_back(std::move(entry));
    if (leaf->entries.size() <= leaf_entries || shift >= hash_bits || all_equal(*leaf)) return;
    const auto full = std::move(*slot);
    auto branch = std::make_shared<Branch>();
    branch->is_branch = true;
    branch->edit = edit;
    for (Entry& moved : leaf->entries) {
      insert(branch->children[child(moved.hash(), shift)], std::move(moved), shift + fan_bits,
             edit);
    }
    *slot = std::move(branch);
  }
  // Entries of one hash cannot be told apart further down.
  static bool all_equal(const Leaf& leaf) {
    for (const Entry& entry : leaf.entries) {
      if (entry.hash() != leaf.entries.front().hash()) return false;
    }
    return true;
  }

  std::shared_ptr<Node> root_;
  size_t size_ = 0;
};

}  // namespace fairlead::dns

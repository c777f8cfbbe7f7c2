// Lists in a strategic merge patch: which item is which, and their order afterwards.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

#include "api/json.h"

namespace fairlead::controlplane {

// The positions of a list's items by what identifies them: the value of the merge key, or the item
// itself when `merge_key` is "" (lists of scalars). Of equal ones the first counts.
class ItemIndex {
 public:
  ItemIndex(const json::array& items, std::string_view merge_key);
  // -1 when there is none.
  std::ptrdiff_t find(const json::value& item) const;

 private:
  std::string_view merge_key_;
  std::unordered_map<std::string, std::ptrdiff_t> positions_;
};

// Items named by `order` come in its order; the others keep the order of `live`, each before the
// first ordered item that followed it there.
// Source: apimachinery strategicpatch, normalizeElementOrder and mergeSortedSlice.
json::array order_items(json::array merged, const json::array& order, const json::array& live,
                        std::string_view merge_key);

// The set of scalars of both lists, in order of first appearance.
json::array unite_scalars(const json::array& live, const json::array& patch);
// `live` without the scalars of `removed`.
json::array without_scalars(const json::array& live, const json::array& removed);

}  // namespace fairlead::controlplane

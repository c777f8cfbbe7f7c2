#include "controlplane/objects/strategic_list.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "controlplane/objects/json_values.h"

namespace fairlead::controlplane {
namespace {

std::string identity(const json::value& item, std::string_view merge_key) {
  if (merge_key.empty() || !item.is_object()) return json::serialize(item);
  const json::value* key = find(item, merge_key);
  return key == nullptr ? std::string() : json::serialize(*key);
}

struct Placed {
  json::value item;
  std::ptrdiff_t at;  // in the list that decides its order
  size_t merged_at;   // decides among equal ones
};

void sort_placed(std::vector<Placed>& items) {
  std::sort(items.begin(), items.end(), [](const Placed& a, const Placed& b) {
    // As unsigned numbers, -1 (in no list) is last.
    return std::pair(static_cast<size_t>(a.at), a.merged_at) <
           std::pair(static_cast<size_t>(b.at), b.merged_at);
  });
}

}  // namespace

ItemIndex::ItemIndex(const json::array& items, std::string_view merge_key) : merge_key_(merge_key) {
  for (size_t i = 0; i < items.size(); ++i)
    positions_.emplace(identity(items[i], merge_key), static_cast<std::ptrdiff_t>(i));
}

std::ptrdiff_t ItemIndex::find(const json::value& item) const {
  const auto found = positions_.find(identity(item, merge_key_));
  return found == positions_.end() ? -1 : found->second;
}

json::array order_items(json::array merged, const json::array& order, const json::array& live,
                        std::string_view merge_key) {
  const ItemIndex in_order(order, merge_key), in_live(live, merge_key);
  std::vector<Placed> ordered, others;
  for (size_t i = 0; i < merged.size(); ++i) {
    const std::ptrdiff_t at = in_order.find(merged[i]);
    if (at >= 0) {
      ordered.push_back({std::move(merged[i]), at, i});
    } else {
      const std::ptrdiff_t live_at = in_live.find(merged[i]);
      others.push_back({std::move(merged[i]), live_at, i});
    }
  }
  sort_placed(ordered);
  sort_placed(others);

  json::array out;
  out.reserve(merged.size());
  size_t i = 0, j = 0;
  while (i < others.size() || j < ordered.size()) {
    bool take_other = j == ordered.size();
    if (!take_other && i < others.size()) {
      const std::ptrdiff_t right = in_live.find(ordered[j].item);
      take_other = others[i].at >= 0 && right >= 0 && others[i].at < right;
    }
    out.push_back(std::move(take_other ? others[i++].item : ordered[j++].item));
  }
  return out;
}

json::array unite_scalars(const json::array& live, const json::array& patch) {
  json::array both = live;
  both.insert(both.end(), patch.begin(), patch.end());
  const ItemIndex first(both, "");
  json::array out;
  for (size_t i = 0; i < both.size(); ++i)
    if (first.find(both[i]) == static_cast<std::ptrdiff_t>(i)) out.push_back(both[i]);
  return out;
}

json::array without_scalars(const json::array& live, const json::array& removed) {
  const ItemIndex gone(removed, "");
  json::array out;
  for (const json::value& item : live)
    if (gone.find(item) < 0) out.push_back(item);
  return out;
}

}  // namespace fairlead::controlplane

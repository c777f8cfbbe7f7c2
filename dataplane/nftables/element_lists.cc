#include "dataplane/nftables/element_lists.h"

#include "base/text.h"

namespace fairlead::dataplane::nft {

void ElementLists::put(const std::string& set, std::string_view key, std::string_view value) {
  std::vector<std::string>& lists = lists_[set];
  if (sizes_[set]++ % max_list == 0) lists.emplace_back();
  std::string& list = lists.back();
  if (!list.empty()) append(list, ", ");
  append(list, key);
  if (!value.empty()) append(list, cat(" : ", value));
  ++size_;
}

std::string ElementLists::commands(std::string_view verb, std::string_view table) const {
  std::string out;
  for (const auto& [set, lists] : lists_) {
    for (const std::string& list : lists) append(out, element_command(verb, table, set, list));
  }
  return out;
}

std::string element_command(std::string_view verb, std::string_view table, std::string_view set,
                            std::string_view list) {
  return cat(verb, " element inet ", table, " ", set, " { ", list, " }\n");
}

}  // namespace fairlead::dataplane::nft

// Elements of sets and maps on their way into commands, at most max_list in each.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::dataplane::nft {

inline constexpr size_t max_list = 4096;

class ElementLists {
 public:
  // `value` is empty for sets, and for what is deleted.
  void put(const std::string& set, std::string_view key, std::string_view value = {});

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // "a : b, c : d", by set or map.
  const std::map<std::string, std::vector<std::string>>& lists() const { return lists_; }

  // `verb` is "add" or "delete", `table` of family inet.
  std::string commands(std::string_view verb, std::string_view table) const;

 private:
  std::map<std::string, std::vector<std::string>> lists_;
  std::map<std::string, size_t> sizes_;
  size_t size_ = 0;
};

std::string element_command(std::string_view verb, std::string_view table, std::string_view set,
                            std::string_view list);

}  // namespace fairlead::dataplane::nft

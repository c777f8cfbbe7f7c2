// Golden files: tests/golden/*.txt. Text of sections "-- name --"; what stands before the first one
// says what the file shows. UPDATE_GOLDEN=1 in the environment rewrites the expected parts.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace fairlead::dataplane {

class GoldenFile {
 public:
  static Result<GoldenFile> read(const std::string& path);

  bool has(std::string_view section) const;
  std::string_view section(std::string_view name) const;  // "" when absent
  void set_section(std::string_view name, std::string text);
  Result<void> write() const;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::string head_;
  std::vector<std::pair<std::string, std::string>> sections_;
};

std::vector<std::string> golden_paths();
bool updating_golden_files();

}  // namespace fairlead::dataplane

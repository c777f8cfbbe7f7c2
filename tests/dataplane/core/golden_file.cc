#include "tests/dataplane/core/golden_file.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"

namespace fairlead::dataplane {

Result<GoldenFile> GoldenFile::read(const std::string& path) {
  std::ifstream in(path);
  if (!in) return fail(cat(path, ": cannot be read"));
  GoldenFile file;
  file.path_ = path;
  std::string* into = &file.head_;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("-- ") && line.ends_with(" --")) {
      file.sections_.emplace_back(line.substr(3, line.size() - 6), "");
      into = &file.sections_.back().second;
    } else {
      append(*into, line + "\n");
    }
  }
  return file;
}

bool GoldenFile::has(std::string_view section) const {
  return std::any_of(sections_.begin(), sections_.end(),
                     [&](const auto& one) { return one.first == section; });
}

std::string_view GoldenFile::section(std::string_view name) const {
  for (const auto& [section, text] : sections_) {
    if (section == name) return text;
  }
  return {};
}

void GoldenFile::set_section(std::string_view name, std::string text) {
  for (auto& [section, old] : sections_) {
    if (section == name) {
      old = std::move(text);
      return;
    }
  }
  sections_.emplace_back(name, std::move(text));
}

Result<void> GoldenFile::write() const {
  std::ofstream out(path_);
  out << head_;
  for (const auto& [section, text] : sections_) out << "-- " << section << " --\n" << text;
  out.flush();
  if (!out) return fail(cat(path_, ": cannot be written"));
  return {};
}

std::vector<std::string> golden_paths() {
  std::vector<std::string> paths;
  const std::filesystem::path folder = std::filesystem::path(FAIRLEAD_SOURCE_DIR) / "tests/golden";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

bool updating_golden_files() {
  const char* value = std::getenv("UPDATE_GOLDEN");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace fairlead::dataplane

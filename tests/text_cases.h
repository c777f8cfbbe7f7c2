// Cases as text files, so that adding a case is adding lines:
//
//   # a comment (only between cases)
//   == a name for the case
//   -- live {"a": 1}
//   -- patch
//   {"a": 2}
//   -- want {"a": 2}
//
// A section's text is what follows its name, to the next line that starts with "-- " or "== ".
#pragma once

#include <fstream>
#include <map>
#include <ostream>
#include <sstream>
#include <string>
#include <vector>

#include "api/json.h"
#include "base/text.h"

namespace fairlead {

struct TextCase {
  std::string file;
  std::string name;
  int line = 0;
  std::map<std::string, std::string> sections;

  bool has(const std::string& section) const { return sections.contains(section); }
  std::string text(const std::string& section) const {
    const auto found = sections.find(section);
    return found == sections.end() ? std::string() : std::string(trim(found->second));
  }
  // The section's lines without the blank ones.
  std::vector<std::string> lines(const std::string& section) const {
    std::vector<std::string> out;
    const std::string body = text(section);
    for (std::string_view row : split(body, '\n'))
      if (!trim(row).empty()) out.emplace_back(trim(row));
    return out;
  }
  json::value json(const std::string& section) const {
    auto parsed = parse_json(text(section));
    if (parsed) return *parsed;
    return json::value(
        cat("BAD JSON in ", file, ":", line, " ", section, ": ", parsed.error().message));
  }
  friend void PrintTo(const TextCase& test, std::ostream* out) {
    *out << test.file << ":" << test.line << ": " << test.name;
  }
};

// `path` is below tests/.
inline std::vector<TextCase> read_cases(const std::string& path) {
  std::ifstream in(std::string(FAIRLEAD_SOURCE_DIR "/tests/") + path);
  std::vector<TextCase> cases;
  std::string section;
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("== ")) {
      cases.push_back({path, line.substr(3), number, {}});
      section.clear();
    } else if (line.starts_with("-- ") && !cases.empty()) {
      const size_t end = line.find(' ', 3);
      section = line.substr(3, end == std::string::npos ? end : end - 3);
      cases.back().sections[section] = end == std::string::npos ? "" : line.substr(end) + "\n";
    } else if (!section.empty()) {
      cases.back().sections[section] += line + "\n";
    }
  }
  return cases;
}

// Rewrites the section of one case, for UPDATE_GOLDEN=1. It is the case's last one.
inline void rewrite_section(const TextCase& test, std::string_view section, std::string_view text) {
  const std::string path = std::string(FAIRLEAD_SOURCE_DIR "/tests/") + test.file;
  std::ifstream in(path);
  std::string out;
  bool here = false, inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("== ")) here = line.substr(3) == test.name;
    if (line.starts_with("== ") || line.starts_with("-- ")) inside = false;
    if (here && line.starts_with(cat("-- ", section))) {
      inside = true;
      out += cat("-- ", section, "\n", text, text.empty() ? "" : "\n", "\n");
    }
    if (!inside) out += line + "\n";
  }
  while (out.ends_with("\n\n")) out.pop_back();
  std::ofstream(path) << out;
}

// For INSTANTIATE_TEST_SUITE_P: letters and digits of the case's name.
template <class Info>
std::string case_name(const Info& info) {
  std::string out;
  for (char c : info.param.name) out += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return cat(out, "_", info.index);
}

}  // namespace fairlead

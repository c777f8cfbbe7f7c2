// Which files of a folder are manifests, and their text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fairlead::api {

inline constexpr size_t max_manifest_bytes = 16 * 1024 * 1024;
inline constexpr size_t max_manifest_files = 10'000;

// *.yaml, *.yml, *.json; hidden files (editors' swap and lock files) are none.
bool is_manifest_name(std::string_view file_name);

// `path` itself when it is a file, else every manifest below the folder, ordered by path. Symbolic
// links to files are followed (a mounted ConfigMap is made of them), those to folders are not.
// Errors do not name `path`.
Result<std::vector<std::string>> manifest_files(const std::string& path);

Result<std::string> read_manifest_file(const std::string& path);

}  // namespace fairlead::api

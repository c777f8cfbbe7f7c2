// A whole file as text.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"

namespace fairlead {

// Of regular files, pipes and devices; a folder is an error. Errors: "PATH: cannot be read: No such
// file or directory", "PATH: larger than N bytes".
Result<std::string> read_file(const std::string& path, size_t max_bytes = 4 * 1024 * 1024);

}  // namespace fairlead

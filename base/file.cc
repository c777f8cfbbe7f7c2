#include "base/file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/text.h"

namespace fairlead {

Result<std::string> read_file(const std::string& path, size_t max_bytes) {
  const auto unreadable = [&] {
    return fail(cat(path, ": cannot be read: ", std::strerror(errno)));
  };
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (!file) return unreadable();
  std::string text;
  char block[16 * 1024];
  while (const size_t got = std::fread(block, 1, sizeof block, file.get())) {
    text.append(block, got);
    if (text.size() > max_bytes) return fail(cat(path, ": larger than ", max_bytes, " bytes"));
  }
  if (std::ferror(file.get()) != 0) return unreadable();
  return text;
}

}  // namespace fairlead

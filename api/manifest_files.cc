#include "api/manifest_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/text.h"

namespace fairlead::api {
namespace {

namespace fs = std::filesystem;

// The size is not trusted: the file may grow while it is read.
Result<std::string> read_all(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return fail("not a regular file");
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(std::strerror(errno));
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > max_manifest_bytes) {
      return fail(cat("larger than ", max_manifest_bytes, " bytes"));
    }
  }
}

}  // namespace

bool is_manifest_name(std::string_view file_name) {
  if (file_name.starts_with('.')) return false;
  return file_name.ends_with(".yaml") || file_name.ends_with(".yml") ||
         file_name.ends_with(".json");
}

// Entries may vanish between the listing and the look at them: that is no error.
Result<std::vector<std::string>> manifest_files(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return fail(error ? error.message() : "No such file or directory");
  if (!fs::is_directory(status)) return std::vector<std::string>{path};
  std::vector<std::string> files;
  fs::recursive_directory_iterator at(path, error), end;
  if (error) return fail(error.message());
  for (; at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code gone;  // an entry may vanish while we look
    if (at->is_directory(gone)) {
      if (name.starts_with('.')) at.disable_recursion_pending();
    } else if (is_manifest_name(name) && at->is_regular_file(gone)) {
      files.push_back(at->path().string());
      if (files.size() > max_manifest_files) {
        return fail(cat("more than ", max_manifest_files, " manifest files"));
      }
    }
  }
  if (error) return fail(error.message());
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::string> read_manifest_file(const std::string& path) {
  // O_NONBLOCK: opening a FIFO must not hang.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return fail(std::strerror(errno));
  auto text = read_all(fd);
  ::close(fd);
  return text;
}

}  // namespace fairlead::api

#include "dataplane/ebpf/pins.h"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/text.h"
#include "bpf/shared/maps.h"

namespace fairlead::dataplane::ebpf {
namespace {

namespace fs = std::filesystem;

constexpr const char* mount_source = "fairlead";  // says in mountinfo whose mount it is

bool is_bpffs(const std::string& path) {
  struct statfs info{};
  return statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

// The last mount on `path` in /proc/self/mountinfo (proc(5): field 5 is the mount point, and the
// source is the second field after the "-").
bool is_our_mount(const std::string& path) {
  std::ifstream in("/proc/self/mountinfo");
  bool ours = false;
  for (std::string line; std::getline(in, line);) {
    auto fields = split(line, ' ');
    if (fields.size() < 10 || fields[4] != path) continue;
    size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    ours = dash + 2 < fields.size() && fields[dash + 2] == mount_source;
  }
  return ours;
}

// Does somebody else pin things here too? The kernel itself puts maps.debug and progs.debug there.
bool holds_more(const std::string& bpffs) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(bpffs, error)) {
    if (entry.path().extension() != ".debug") return true;
  }
  return false;
}

Result<void> make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return fail(cat("cannot make the folder ", path, ": ", std::strerror(errno)));
}

}  // namespace

Pins::Pins(std::string bpffs)
    : bpffs_(std::move(bpffs)),
      home_(bpffs_ + "/fairlead"),
      root_(cat(home_, "/v", static_cast<int>(FL_LAYOUT))) {}

Result<void> Pins::open() {
  struct stat info{};
  if (stat(bpffs_.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return fail(cat("bpffs ", bpffs_, ": there is no such folder"));
  }
  if (!is_bpffs(bpffs_) && mount(mount_source, bpffs_.c_str(), "bpf", 0, "mode=0700") != 0) {
    return fail(cat("cannot mount a bpffs on ", bpffs_, ": ", std::strerror(errno)));
  }
  FL_TRY_VOID(make_folder(home_));
  FL_TRY_VOID(make_folder(root_));
  for (const char* part : {"/maps", "/links", "/programs"}) FL_TRY_VOID(make_folder(root_ + part));
  return {};
}

std::vector<std::string> Pins::links() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ + "/links", error)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

std::vector<std::string> Pins::older() const {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(home_, error)) {
    if (entry.path() != root_) found.push_back(entry.path());
  }
  return found;
}

std::string Pins::older_link(const std::string& name) const {
  for (const std::string& folder : older()) {
    std::string path = cat(folder, "/links/", name);
    if (access(path.c_str(), F_OK) == 0) return path;
  }
  return {};
}

std::string Pins::older_map(const std::string& name) const {
  for (const std::string& folder : older()) {
    std::string path = cat(folder, "/maps/", name);
    if (access(path.c_str(), F_OK) == 0) return path;
  }
  return {};
}

void Pins::remove_older() const {
  std::error_code error;
  for (const std::string& folder : older()) fs::remove_all(folder, error);
}

Result<void> Pins::remove_all() const {
  std::error_code error;
  fs::remove_all(home_, error);
  if (error) return fail(cat("cannot remove ", home_, ": ", error.message()));
  if (!is_our_mount(bpffs_)) return {};
  if (holds_more(bpffs_)) return {};
  if (umount2(bpffs_.c_str(), UMOUNT_NOFOLLOW) != 0) {
    return fail(cat("cannot unmount ", bpffs_, ": ", std::strerror(errno)));
  }
  return {};
}

Result<void> pin(int fd, const std::string& path) {
  std::string fresh = path + "_new";  // bpffs takes no dots
  unlink(fresh.c_str());
  if (bpf_obj_pin(fd, fresh.c_str()) != 0) {
    return fail(cat("cannot pin ", path, ": ", std::strerror(errno)));
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) {
    int error = errno;
    unlink(fresh.c_str());
    return fail(cat("cannot rename the pin ", path, ": ", std::strerror(error)));
  }
  return {};
}

}  // namespace fairlead::dataplane::ebpf

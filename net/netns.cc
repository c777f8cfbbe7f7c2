#include "net/netns.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <cerrno>
#include <thread>

#include "base/check.h"
#include "base/text.h"
#include "net/netlink.h"
#include "net/socket.h"

namespace fairlead::net {
namespace {

constexpr const char* folder = "/run/netns";
constexpr const char* own_netns = "/proc/thread-self/ns/net";

std::unexpected<Error> fail_errno(std::string_view what) {
  const int error = errno;
  return fail(cat(what, ": ", errno_text(error)));
}

Result<void> check_name(const std::string& name) {
  const bool clean = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  constexpr size_t max_bytes = 63;
  if (!clean || name.empty() || name.size() > max_bytes || name[0] == '.' || name[0] == '-') {
    return fail(cat("network namespace name \"", name, "\": expected 1 to ", max_bytes,
                    " of [A-Za-z0-9._-], not starting with '.' or '-'"));
  }
  return {};
}

bool is_netns(int fd) {
  struct statfs info{};
  return ::fstatfs(fd, &info) == 0 && info.f_type == NSFS_MAGIC;
}

// As iproute2 does: the folder is a shared mount, so that a namespace removed here is also released
// where other mount namespaces see the folder.
Result<void> prepare_folder() {
  if (::mkdir(folder, 0755) != 0 && errno != EEXIST) return fail_errno(folder);
  if (::mount("", folder, "none", MS_SHARED | MS_REC, nullptr) == 0) return {};
  if (errno != EINVAL) return fail_errno(cat("cannot share mount ", folder));
  if (::mount(folder, folder, "none", MS_BIND | MS_REC, nullptr) != 0) {
    return fail_errno(cat("cannot bind mount ", folder));
  }
  if (::mount("", folder, "none", MS_SHARED | MS_REC, nullptr) != 0) {
    return fail_errno(cat("cannot share mount ", folder));
  }
  return {};
}

// On a thread of its own, which ends in the new namespace: the caller's stays where it is.
Result<void> make_namespace(const std::string& path) {
  Result<void> result;
  std::thread([&] {
    result = [&]() -> Result<void> {
      if (::unshare(CLONE_NEWNET) != 0) return fail_errno("cannot make a network namespace");
      if (::mount(own_netns, path.c_str(), "none", MS_BIND, nullptr) != 0) {
        return fail_errno(cat("cannot bind mount ", path));
      }
      FL_TRY(Netlink netlink, Netlink::open());
      return netlink.set_up("lo");
    }();
  }).join();
  return result;
}

}  // namespace

std::string Netns::path(const std::string& name) { return cat(folder, "/", name); }

Result<Netns> Netns::create(const std::string& name) {
  FL_TRY_VOID(check_name(name));
  FL_TRY_VOID(prepare_folder());
  const std::string file = path(name);
  Fd made(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0));
  if (!made && errno == EEXIST && !exists(name) && ::unlink(file.c_str()) == 0) {
    // What a crash between file and mount left behind.
    made = Fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_CREAT | O_EXCL, 0));
  }
  if (!made) return fail_errno(cat("network namespace ", name));
  if (const auto result = make_namespace(file); !result) {
    [[maybe_unused]] const auto removed = remove(name);
    return fail(cat("network namespace ", name), result.error());
  }
  return open(name);
}

Result<Netns> Netns::open(const std::string& name) {
  FL_TRY_VOID(check_name(name));
  Fd fd(::open(path(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(cat("network namespace ", name));
  if (!is_netns(fd.get())) {
    return fail(cat("network namespace ", name, ": ", path(name), " is no namespace"));
  }
  return Netns(std::move(fd));
}

Result<Netns> Netns::current() {
  Fd fd(::open(own_netns, O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("the current network namespace");
  return Netns(std::move(fd));
}

Result<void> Netns::remove(const std::string& name) {
  FL_TRY_VOID(check_name(name));
  const std::string file = path(name);
  while (::umount2(file.c_str(), MNT_DETACH) == 0) {
  }
  if (errno != EINVAL && errno != ENOENT) return fail_errno(cat("cannot unmount ", file));
  if (::unlink(file.c_str()) != 0 && errno != ENOENT)
    return fail_errno(cat("cannot remove ", file));
  return {};
}

bool Netns::exists(const std::string& name) {
  const Fd fd(::open(path(name).c_str(), O_RDONLY | O_CLOEXEC));
  return fd && is_netns(fd.get());
}

std::vector<std::string> Netns::names() {
  std::vector<std::string> found;
  DIR* entries = ::opendir(folder);
  if (entries == nullptr) return found;
  while (const dirent* entry = ::readdir(entries)) {
    if (check_name(entry->d_name) && exists(entry->d_name)) found.emplace_back(entry->d_name);
  }
  ::closedir(entries);
  std::ranges::sort(found);
  return found;
}

Result<NetnsScope> NetnsScope::enter(const Netns& netns) {
  FL_TRY(const Netns home, Netns::current());
  Fd back(::fcntl(home.fd(), F_DUPFD_CLOEXEC, 0));
  if (!back) return fail_errno("the current network namespace");
  if (::setns(netns.fd(), CLONE_NEWNET) != 0) return fail_errno("cannot enter a network namespace");
  return NetnsScope(std::move(back));
}

NetnsScope::~NetnsScope() {
  // Going on in the wrong namespace would act on the wrong machine.
  if (home_) CHECK(::setns(home_.get(), CLONE_NEWNET) == 0);
}

namespace {
Result<Fd> open_sysctl(std::string_view key, int flags) {
  const std::string file = cat("/proc/sys/", key);
  if (key.empty() || key.find("..") != std::string_view::npos) {
    return fail(cat("sysctl \"", key, "\": expected a key such as net/ipv4/ip_forward"));
  }
  Fd fd(::open(file.c_str(), flags | O_CLOEXEC));
  if (!fd) return fail_errno(cat("sysctl ", key));
  return fd;
}
}  // namespace

Result<void> write_sysctl(std::string_view key, std::string_view value) {
  FL_TRY(const Fd fd, open_sysctl(key, O_WRONLY));
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return fail_errno(cat("sysctl ", key, ": cannot write \"", value, "\""));
  }
  return {};
}

Result<std::string> read_sysctl(std::string_view key) {
  FL_TRY(const Fd fd, open_sysctl(key, O_RDONLY));
  char text[4096];
  const ssize_t size = ::read(fd.get(), text, sizeof text);
  if (size < 0) return fail_errno(cat("sysctl ", key));
  return std::string(trim(std::string_view(text, static_cast<size_t>(size))));
}

}  // namespace fairlead::net

#include "dataplane/ebpf/cgroup_links.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/text.h"
#include "net/fd.h"

namespace fairlead::dataplane::ebpf {
namespace {

// A link whose cgroup is gone has id 0.
uint64_t cgroup_of(int link) {
  bpf_link_info info{};
  uint32_t length = sizeof info;
  if (bpf_obj_get_info_by_fd(link, &info, &length) != 0) return 0;
  return info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.cgroup_id : 0;
}

Result<void> attach_one(const SocketHook& hook, int program, const Pins& pins, int cgroup,
                        uint64_t cgroup_id) {
  std::string path = pins.link(hook.name), older = pins.older_link(hook.name);
  for (const std::string& candidate : {path, older}) {
    if (candidate.empty()) continue;
    net::Fd link(bpf_obj_get(candidate.c_str()));
    if (!link || cgroup_of(link.get()) != cgroup_id) continue;
    if (bpf_link_update(link.get(), program, nullptr) != 0) {
      return fail(cat("cannot replace the program of ", candidate, ": ", std::strerror(errno)));
    }
    return candidate == path ? Result<void>() : pin(link.get(), path);
  }
  auto type = static_cast<bpf_attach_type>(hook.attach_type);
  net::Fd link(bpf_link_create(program, cgroup, type, nullptr));
  if (!link) return fail(cat("cannot attach ", hook.name, ": ", std::strerror(errno)));
  return pin(link.get(), path);
}

}  // namespace

Result<std::string> cgroup2_root() {
  std::ifstream in("/proc/mounts");
  for (std::string line; std::getline(in, line);) {
    auto fields = split(line, ' ');
    if (fields.size() > 2 && fields[2] == "cgroup2") return std::string(fields[1]);
  }
  return fail("no cgroup2 file system is mounted, says /proc/mounts");
}

Result<void> attach_socket_programs(const Object& object, const Pins& pins,
                                    const std::string& cgroup) {
  net::Fd folder(open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail(cat("cgroup ", cgroup, ": ", std::strerror(errno)));
  struct statfs system{};
  if (fstatfs(folder.get(), &system) != 0 || system.f_type != CGROUP2_SUPER_MAGIC) {
    return fail(cat("cgroup ", cgroup, ": is not a folder of a cgroup2 file system"));
  }
  struct stat info{};
  fstat(folder.get(), &info);  // kernfs: the inode number is the cgroup's id
  for (const SocketHook& hook : socket_hooks()) {
    int program = object.program_fd(hook.name);
    if (program < 0) continue;
    Result<void> attached = attach_one(hook, program, pins, folder.get(), info.st_ino);
    if (!attached) return fail(cat("cgroup ", cgroup), attached.error());
  }
  return {};
}

std::vector<std::string> missing_socket_programs(const Object& object, const Pins& pins,
                                                 const std::string& cgroup) {
  struct stat info{};
  stat(cgroup.c_str(), &info);
  std::vector<std::string> missing;
  for (const SocketHook& hook : socket_hooks()) {
    const int program = object.program_fd(hook.name);
    if (program < 0) continue;
    bpf_prog_info wanted{};
    bpf_link_info held{};
    uint32_t length = sizeof wanted;
    bpf_obj_get_info_by_fd(program, &wanted, &length);
    const net::Fd link(bpf_obj_get(pins.link(hook.name).c_str()));
    length = sizeof held;
    const bool there = link && bpf_obj_get_info_by_fd(link.get(), &held, &length) == 0 &&
                       held.prog_id == wanted.id && held.cgroup.cgroup_id == info.st_ino;
    if (!there) missing.push_back(hook.name);
  }
  return missing;
}

}  // namespace fairlead::dataplane::ebpf

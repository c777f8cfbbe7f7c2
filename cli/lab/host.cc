#include "cli/lab/host.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/text.h"
#include "net/netlink.h"
#include "net/netns.h"

namespace fairlead::cli {
namespace {

Result<std::pair<Ip, int>> parse_interface_address(const std::string& text) {
  const size_t slash = text.find('/');
  const auto ip = Ip::parse(text.substr(0, slash));
  const auto bits = parse_int(text.substr(slash + 1), 0, 128);
  if (!ip || !bits) return fail(cat("'", text, "' is not an address with a prefix length"));
  return std::pair(*ip, static_cast<int>(*bits));
}

Result<void> apply_inside(net::Netlink& netlink, const LabStep& step) {
  using Op = LabStep::Op;
  const auto& args = step.args;
  switch (step.op) {
    case Op::veth: {
      FL_TRY(const auto peer, net::Netns::open(args[1]));
      return netlink.add_veth(args[0], args[2], peer.fd());
    }
    case Op::bridge:
      return netlink.add_bridge(args[0]);
    case Op::enslave:
      return netlink.set_master(args[0], args[1]);
    case Op::up:
      return netlink.set_up(args[0]);
    case Op::address: {
      FL_TRY(const auto address, parse_interface_address(args[1]));
      return netlink.add_address(args[0], address.first, address.second);
    }
    case Op::route: {
      net::RouteRequest route;
      route.destination = *Cidr::parse(args[0]);
      if (!args[1].empty()) route.gateway = Ip::parse(args[1]);
      route.link = args[2];
      return netlink.add_route(route);
    }
    case Op::sysctl:
      return net::write_sysctl(args[0], args[1]);
    case Op::add_namespace:
      break;
  }
  return fail("not a step inside a namespace");
}

// Field 22 of /proc/PID/stat, counted behind the command name, which may hold spaces.
uint64_t start_ticks(int pid) {
  std::ifstream in(cat("/proc/", pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22 && fields >> field; ++i) {
    if (i == 3 && field == "Z") return 0;  // ended, only not yet waited for
  }
  return static_cast<uint64_t>(parse_int(field, 0).value_or(0));
}

Result<void> write_file(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool ok =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!ok) return fail(cat(path, ": ", std::strerror(error)));
  return {};
}

// In the child between fork and exec: system calls only, the exit code says which one failed.
[[noreturn]] void become(const ProcessSpec& spec, int netns, int log, char* const* argv) {
  setsid();
  if (netns >= 0 && setns(netns, CLONE_NEWNET) != 0) _exit(121);
  if (log >= 0) {
    dup2(log, 1);
    dup2(log, 2);
  }
  const int null = ::open("/dev/null", O_RDONLY);
  dup2(null, 0);
  for (int fd = 3; fd < 256; ++fd) ::close(fd);
  execv(spec.argv[0].c_str(), argv);
  _exit(122);
}

class RealLabHost final : public LabHost {
 public:
  Result<void> apply(const LabStep& step) override {
    if (step.op == LabStep::Op::add_namespace) {
      FL_TRY([[maybe_unused]] const auto created, net::Netns::create(step.netns));
      return {};
    }
    FL_TRY(const auto netns, net::Netns::open(step.netns));
    FL_TRY(const auto scope, net::NetnsScope::enter(netns));
    FL_TRY(auto netlink, net::Netlink::open());
    if (auto done = apply_inside(netlink, step); !done) {
      return fail(step.to_string(), done.error());
    }
    return {};
  }

  std::vector<std::string> namespaces(std::string_view prefix) override {
    std::vector<std::string> names = net::Netns::names();
    std::erase_if(names, [&](const std::string& name) { return !name.starts_with(prefix); });
    return names;
  }

  Result<void> remove_namespace(const std::string& name) override {
    return net::Netns::remove(name);
  }

  Result<void> make_cgroup(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return fail(cat("cgroup ", path, ": ", error.message()));
    return {};
  }

  Result<void> remove_cgroups(const std::string& path) override {
    // Deepest first; a cgroup is removed by rmdir alone. The kernel lets go of ended processes a
    // moment after they are gone.
    for (int attempt = 0;; ++attempt) {
      std::vector<std::filesystem::path> folders;
      std::error_code error;
      for (auto it = std::filesystem::recursive_directory_iterator(path, error);
           it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
        if (it->is_directory(error)) folders.push_back(it->path());
      }
      std::ranges::reverse(folders);
      folders.emplace_back(path);
      bool busy = false;
      for (const auto& folder : folders) {
        if (::rmdir(folder.c_str()) != 0 && errno != ENOENT) busy = true;
      }
      if (!busy) return {};
      if (attempt == 40) return fail(cat("cgroup ", path, ": still in use"));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }

  Result<ProcessId> spawn(const ProcessSpec& spec) override {
    net::Fd netns;
    if (!spec.netns.empty()) {
      netns = net::Fd(::open(net::Netns::path(spec.netns).c_str(), O_RDONLY | O_CLOEXEC));
      if (!netns) return fail(cat(spec.name, ": no namespace ", spec.netns));
    }
    const net::Fd log(::open(spec.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    std::vector<char*> argv;
    for (const auto& word : spec.argv) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    // The child waits on this pipe until it is in its cgroup: hooks of the cgroup then see every
    // socket of the process.
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) != 0) return fail(cat(spec.name, ": ", std::strerror(errno)));
    const net::Fd gate_read(gate[0]);
    net::Fd gate_write(gate[1]);
    const pid_t pid = fork();
    if (pid < 0) return fail(cat(spec.name, ": fork: ", std::strerror(errno)));
    if (pid == 0) {
      ::close(gate[1]);
      char byte;
      [[maybe_unused]] const ssize_t got = ::read(gate[0], &byte, 1);
      become(spec, netns.get(), log.get(), argv.data());
    }
    if (!spec.cgroup.empty()) {
      if (auto moved = write_file(spec.cgroup + "/cgroup.procs", cat(pid)); !moved) {
        ::kill(pid, SIGKILL);
        return fail(spec.name, moved.error());
      }
    }
    gate_write.reset();
    return ProcessId{pid, start_ticks(pid)};
  }

  bool alive(const ProcessId& process) override {
    if (process.pid <= 0 || process.start_ticks == 0) return false;
    waitpid(process.pid, nullptr, WNOHANG);  // one of our own children, if this run started it
    return start_ticks(process.pid) == process.start_ticks;
  }

  Result<void> end(const ProcessId& process, int signal, int wait_ms) override {
    if (!alive(process)) return {};
    if (::kill(process.pid, signal) != 0 && errno != ESRCH) {
      return fail(cat("process ", process.pid, ": ", std::strerror(errno)));
    }
    for (int waited = 0; waited < wait_ms; waited += 10) {
      if (!alive(process)) return {};
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (wait_ms > 0 && alive(process)) {
      ::kill(process.pid, SIGKILL);
      for (int i = 0; i < 200 && alive(process); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
    return {};
  }
};

}  // namespace

std::unique_ptr<LabHost> make_lab_host() { return std::make_unique<RealLabHost>(); }

std::string cgroup2_root() {
  std::ifstream mounts("/proc/mounts");
  for (std::string device, path, type, rest; mounts >> device >> path >> type;) {
    std::getline(mounts, rest);
    if (type == "cgroup2") return path;
  }
  return "";
}

}  // namespace fairlead::cli

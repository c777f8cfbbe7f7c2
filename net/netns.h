// Network namespaces with a name, laid out as iproute2 does it: /run/netns/NAME is a bind mount, so
// `ip netns exec NAME` and `nsenter --net=/run/netns/NAME` work on them (ip-netns(8)).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/fd.h"

namespace fairlead::net {

// A namespace held open: it lives as long as this, its name, or a process inside.
class Netns {
 public:
  // Creates the namespace and brings its loopback up. It has no other link. The name must be new,
  // 1 to 63 of [A-Za-z0-9._-], not starting with '.' or '-'.
  static Result<Netns> create(const std::string& name);
  static Result<Netns> open(const std::string& name);
  static Result<Netns> current();  // of the calling thread

  int fd() const { return fd_.get(); }

  // Takes the name away; no error when there is none. The namespace ends with its last user.
  static Result<void> remove(const std::string& name);
  static bool exists(const std::string& name);
  static std::vector<std::string> names();           // sorted
  static std::string path(const std::string& name);  // "/run/netns/NAME"

 private:
  explicit Netns(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

// The calling thread is inside `netns` from enter() to destruction, which must be on the same
// thread. Sockets keep the namespace in which they were opened.
class NetnsScope {
 public:
  static Result<NetnsScope> enter(const Netns& netns);
  NetnsScope(NetnsScope&&) noexcept = default;
  NetnsScope& operator=(NetnsScope&&) = delete;
  ~NetnsScope();

 private:
  explicit NetnsScope(Fd home) : home_(std::move(home)) {}
  Fd home_;
};

// write_sysctl("net/ipv4/ip_forward", "1"): in the calling thread's namespace for net/ keys.
Result<void> write_sysctl(std::string_view key, std::string_view value);
Result<std::string> read_sysctl(std::string_view key);  // without the newline

}  // namespace fairlead::net

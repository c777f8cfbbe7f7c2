// Network namespaces for tests with real packets, without a name and without an uplink: they end
// with the test.
#pragma once

#include <sys/types.h>
#include <functional>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/fd.h"

namespace fairlead::dataplane {

// Why namespaces and nf_tables cannot be used here; "" when they can. Leaves the caller where it
// was.
std::string why_no_namespaces();

// Something that a test needs and this machine may lack.
struct Missing {
  std::string (*why)() = nullptr;    // "" when it is there
  const char* required = "CI=true";  // where this is in the environment its lack is a failure
};
bool is_required(const Missing& missing);

// GTEST_SKIP with the reason, or a failure.
#define SKIP_WHERE_MISSING(what)                                                     \
  if (const ::fairlead::dataplane::Missing missing = what; missing.why != nullptr) { \
    if (const std::string why = missing.why(); !why.empty()) {                       \
      if (::fairlead::dataplane::is_required(missing)) FAIL() << why;                \
      GTEST_SKIP() << "NOT RUN: " << why;                                            \
    }                                                                                \
  }

#define SKIP_WITHOUT_NAMESPACES() \
  SKIP_WHERE_MISSING(::fairlead::dataplane::Missing{&::fairlead::dataplane::why_no_namespaces})

// The calling thread in a new namespace, with loopback up, until destruction.
class FreshNetns {
 public:
  FreshNetns();
  ~FreshNetns();
  FreshNetns(const FreshNetns&) = delete;
  FreshNetns& operator=(const FreshNetns&) = delete;

 private:
  net::Fd home_;
};

// A node's namespace with others on veth pairs around it, each with a /24 and a /64 of its own and
// the node as its router. Everything belongs to this process.
class NetnsLab {
 public:
  NetnsLab();
  ~NetnsLab();

  // A namespace `name` whose first address is 10.<net>.0.2 (fd00:<net>::2) and whose router, the
  // node, has .1. `extra` are more last bytes.
  void add(const std::string& name, int net, const std::vector<int>& extra = {});

  // Runs `body` on a thread of its own inside a namespace ("node" is the middle one).
  template <class Body>
  void in(const std::string& name, Body body) {
    run_inside(name, [&] { body(); });
  }

 private:
  void run_inside(const std::string& name, const std::function<void()>& body);

  std::map<std::string, net::Fd> spaces_;
};

// Runs a shell command in the caller's namespace; the test fails when it does.
void shell(const std::string& command);

}  // namespace fairlead::dataplane

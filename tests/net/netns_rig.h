// Network namespaces of a test's own, without uplink, gone when the test ends.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "base/text.h"
#include "net/netlink.h"
#include "net/netns.h"

namespace fairlead::net {

class TestNetns {
 public:
  explicit TestNetns(const std::string& role)
      : name(cat("fltest-", ::getpid(), "-", role)), netns(Netns::create(name)) {}
  ~TestNetns() { EXPECT_TRUE(Netns::remove(name).has_value()); }

  std::string name;
  Result<Netns> netns;
};

// Says loudly when this machine does not allow namespaces; in CI that is a failure.
inline bool can_make_namespaces() {
  TestNetns probe("probe");
  if (probe.netns) return true;
  const char* ci = std::getenv("CI");
  if (ci != nullptr && std::string_view(ci) == "true") {
    ADD_FAILURE() << "network namespaces are needed in CI: " << probe.netns.error().message;
  }
  std::cerr << "SKIPPED, NOTHING WAS TESTED: " << probe.netns.error().message << "\n";
  return false;
}

#define NEED_NAMESPACES() \
  if (!can_make_namespaces()) GTEST_SKIP() << "no network namespaces on this machine"

inline std::map<std::string, LinkInfo> by_name(Netlink& netlink) {
  std::map<std::string, LinkInfo> found;
  const auto links = netlink.links();
  for (const LinkInfo& link : *links) found[link.name] = link;
  return found;
}

#define ASSERT_OK(expression)                                        \
  do {                                                               \
    const auto ok_result = (expression);                             \
    ASSERT_TRUE(ok_result.has_value()) << ok_result.error().message; \
  } while (false)

}  // namespace fairlead::net

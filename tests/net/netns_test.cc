// Network namespaces: names, and which thread is in which.
#include <algorithm>
#include <fstream>
#include <thread>

#include "net/netlink.h"
#include "tests/net/netns_rig.h"

namespace fairlead::net {
namespace {

TEST(Netns, NamesAreListedAndRemoved) {
  NEED_NAMESPACES();
  const std::string name = cat("fltest-", ::getpid(), "-named");
  ASSERT_OK(Netns::create(name));
  EXPECT_TRUE(Netns::exists(name));
  const auto names = Netns::names();
  EXPECT_NE(std::ranges::find(names, name), names.end());
  EXPECT_FALSE(Netns::create(name).has_value()) << "the name is taken";
  EXPECT_TRUE(Netns::open(name).has_value());
  ASSERT_OK(Netns::remove(name));
  ASSERT_OK(Netns::remove(name));
  EXPECT_FALSE(Netns::exists(name));
  EXPECT_FALSE(Netns::open(name).has_value());
}

TEST(Netns, BadNamesAreRefused) {
  for (const std::string name : {"", ".", "..", "a/b", "-x", ".x", "a b", "x\n"}) {
    const auto result = Netns::create(name);
    ASSERT_FALSE(result.has_value()) << name;
    EXPECT_NE(result.error().message.find("network namespace name"), std::string::npos);
    EXPECT_FALSE(Netns::open(name).has_value());
    EXPECT_FALSE(Netns::remove(name).has_value());
  }
  EXPECT_FALSE(Netns::create(std::string(64, 'a')).has_value());
}

// A crash between making the file and mounting the namespace on it leaves an empty file.
TEST(Netns, FileThatIsNoNamespaceIsNoneAndGivesWay) {
  NEED_NAMESPACES();
  const std::string name = cat("fltest-", ::getpid(), "-left");
  {
    std::ofstream(Netns::path(name)) << "";
  }
  EXPECT_FALSE(Netns::exists(name));
  const auto names = Netns::names();
  EXPECT_EQ(std::ranges::find(names, name), names.end());
  const auto opened = Netns::open(name);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().message,
            cat("network namespace ", name, ": ", Netns::path(name), " is no namespace"));
  ASSERT_OK(Netns::create(name));
  EXPECT_TRUE(Netns::exists(name));
  ASSERT_OK(Netns::remove(name));
  {
    std::ofstream(Netns::path(name)) << "";
  }
  ASSERT_OK(Netns::remove(name));
  EXPECT_EQ(::access(Netns::path(name).c_str(), F_OK), -1) << "it is removed like any other";
}

TEST(Netns, NameMayHave63Characters) {
  NEED_NAMESPACES();
  std::string name = cat("fltest-", ::getpid(), "-");
  name.resize(63, 'n');
  ASSERT_OK(Netns::create(name));
  EXPECT_TRUE(Netns::exists(name));
  ASSERT_OK(Netns::remove(name));
}

TEST(Netns, ScopeSwitchesOnlyTheCallingThreadAndBack) {
  NEED_NAMESPACES();
  TestNetns space("a");
  auto inside = [] {
    auto netlink = Netlink::open().value();
    return by_name(netlink).contains("mark0");
  };
  {
    const auto scope = NetnsScope::enter(*space.netns);
    ASSERT_TRUE(scope.has_value());
    auto netlink = Netlink::open().value();
    ASSERT_OK(netlink.add_bridge("mark0"));
    EXPECT_TRUE(inside());
    bool other = true;
    std::thread([&] {
      // A new thread starts in its creator's namespace; one that was there before would not.
      const auto home = NetnsScope::enter(*space.netns);
      other = inside();
    }).join();
    EXPECT_TRUE(other);
  }
  EXPECT_FALSE(inside());
}

TEST(Netns, SysctlsBelongToTheNamespace) {
  NEED_NAMESPACES();
  TestNetns space("a");
  const auto scope = NetnsScope::enter(*space.netns);
  ASSERT_OK(write_sysctl("net/ipv4/ip_forward", "1"));
  EXPECT_EQ(read_sysctl("net/ipv4/ip_forward").value(), "1");
  ASSERT_OK(write_sysctl("net/ipv4/ip_forward", "0"));
  EXPECT_EQ(read_sysctl("net/ipv4/ip_forward").value(), "0");
  EXPECT_FALSE(write_sysctl("net/ipv4/ip_forward", "many").has_value());
  EXPECT_FALSE(write_sysctl("net/no/such", "1").has_value());
  EXPECT_FALSE(write_sysctl("../etc/passwd", "1").has_value());
  EXPECT_FALSE(read_sysctl("").has_value());
}

}  // namespace
}  // namespace fairlead::net

#include "net/netlink_generic.h"

#include <gtest/gtest.h>
#include <linux/genetlink.h>

#include <cerrno>
#include <set>

#include "base/text.h"

namespace fairlead::net {
namespace {

TEST(NetlinkAttributes, ComeBackAsTheyWent) {
  NetlinkWriter writer;
  writer.put_u16(1, 0x1234);
  writer.put_u32(2, 0xdeadbeef);
  writer.put_text(3, "rr");
  writer.put(4, "");
  writer.put(5, "12345");
  EXPECT_EQ(writer.bytes().size() % 4, 0u);
  NetlinkReader reader(writer.bytes());
  EXPECT_EQ((*reader.next())->u16(), 0x1234);
  const auto number = *reader.next();
  EXPECT_EQ(number->u32(), 0xdeadbeefu);
  EXPECT_EQ(number->u16(), std::nullopt);  // of another size
  EXPECT_EQ((*reader.next())->text(), "rr");
  EXPECT_EQ((*reader.next())->payload, "");
  const auto last = *reader.next();
  EXPECT_EQ(last->type, 5);
  EXPECT_EQ(last->payload, "12345");
  EXPECT_FALSE(*reader.next());
  EXPECT_FALSE(*reader.next());
}

TEST(NetlinkAttributes, LengthsThatDoNotFitAreErrors) {
  const std::pair<std::string, std::string_view> cases[] = {
      {std::string("\x05\0\x01", 3), "netlink attribute: fewer than 4 bytes"},
      {std::string("\x03\0\x01\0", 4), "netlink attribute: length 3, expected 4 to 4"},
      {std::string("\x09\0\x01\0abcd", 8), "netlink attribute: length 9, expected 4 to 8"},
  };
  for (const auto& [bytes, message] : cases) {
    const auto next = NetlinkReader(bytes).next();
    ASSERT_FALSE(next);
    EXPECT_EQ(next.error().message, message);
  }
  // The last one need not be padded, and flag bits are no part of a type.
  const auto odd = NetlinkReader(std::string_view("\x05\0\x01\x80z", 5)).next();
  ASSERT_TRUE(odd && *odd);
  EXPECT_EQ((*odd)->type, 1);
  EXPECT_EQ((*odd)->payload, "z");
}

// The controller of generic netlink is a family of every kernel.
TEST(GenericNetlink, ListsFamilies) {
  auto netlink = GenericNetlink::open("nlctrl");
  ASSERT_TRUE(netlink) << netlink.error().message;
  std::set<std::string> names;
  const auto each = [&](std::string_view attributes) -> Result<void> {
    NetlinkReader reader(attributes);
    for (;;) {
      FL_TRY(const auto attribute, reader.next());
      if (!attribute) return {};
      if (attribute->type == CTRL_ATTR_FAMILY_NAME) names.emplace(attribute->text());
    }
  };
  for (int i = 0; i < 3; ++i) {
    names.clear();
    const auto listed = netlink->dump(CTRL_CMD_GETFAMILY, 2, "", each);
    ASSERT_TRUE(listed) << listed.error().message;
    EXPECT_EQ(*listed, 0);
    EXPECT_TRUE(names.contains("nlctrl"));
  }
  const auto stopped = netlink->dump(CTRL_CMD_GETFAMILY, 2, "",
                                     [](std::string_view) -> Result<void> { return fail("no"); });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().message, "no");
}

TEST(GenericNetlink, SaysWithWhatTheKernelRefused) {
  auto netlink = GenericNetlink::open("nlctrl");
  ASSERT_TRUE(netlink);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(*netlink->send(200, 2, ""), EOPNOTSUPP);
    NetlinkWriter writer;
    writer.put_text(CTRL_ATTR_FAMILY_NAME, "no_such_family");
    EXPECT_EQ(*netlink->send(CTRL_CMD_GETFAMILY, 2, writer.bytes()), ENOENT);
  }
  EXPECT_FALSE(GenericNetlink::open("no_such_family"));
}

}  // namespace
}  // namespace fairlead::net

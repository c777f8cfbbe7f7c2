#include "base/short_list.h"

#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/shared_text.h"
#include "gtest/gtest.h"

namespace fairlead {
namespace {

using Texts = ShortList<std::string>;

std::vector<std::string> items(const Texts& list) { return {list.begin(), list.end()}; }

TEST(ShortList, IsEmptyByDefaultAndSmall) {
  const Texts none, of_nothing = {};
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.size(), 0u);
  EXPECT_EQ(none.begin(), none.end());
  EXPECT_EQ(none, of_nothing);
  static_assert(sizeof(Texts) == 8 && sizeof(ShortList<Ip>) == 8);
}

TEST(ShortList, KeepsWhatIsAddedInOrder) {
  Texts list;
  std::vector<std::string> expected;
  for (int i = 0; i < 20; ++i) {
    // Long enough to be on the heap: the sanitizers see what is not given back.
    expected.push_back(std::to_string(i) + " and then some more letters than fit");
    list.push_back(expected.back());
    EXPECT_EQ(items(list), expected);
    EXPECT_EQ(list[static_cast<size_t>(i)], expected.back());
  }
  EXPECT_EQ(list.front(), expected.front());
  EXPECT_EQ(list.size(), 20u);
}

TEST(ShortList, CopiesAreOfTheirOwn) {
  Texts a = {"one", "two"};
  Texts copy = a;
  EXPECT_EQ(copy, a);
  copy.push_back("three");
  EXPECT_EQ(items(a), (std::vector<std::string>{"one", "two"}));
  EXPECT_NE(copy, a);
  *copy.begin() = "first";
  EXPECT_EQ(a.front(), "one");
}

TEST(ShortList, MovesLeaveNothingBehind) {
  Texts a = {"one"};
  const Texts b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is the promise
  EXPECT_EQ(b.front(), "one");
  a.push_back("again");
  EXPECT_EQ(a.size(), 1u);
}

TEST(ShortList, MayBeAssignedToItself) {
  Texts list = {"one", "two"};
  const Texts& same = list;
  list = same;
  EXPECT_EQ(items(list), (std::vector<std::string>{"one", "two"}));
  list.push_back(list.front());
  EXPECT_EQ(list[2], "one");
}

TEST(ShortList, ComparesItemByItem) {
  using Ips = ShortList<Ip>;
  const Ip a = Ip::v4(1), b = Ip::v4(2);
  EXPECT_EQ((Ips{a, b}), (Ips{a, b}));
  EXPECT_NE((Ips{a, b}), (Ips{b, a}));
  EXPECT_NE((Ips{a, b}), (Ips{a}));
  EXPECT_NE((Ips{}), (Ips{a}));
  EXPECT_TRUE((Ips{a, b}).contains(b));
  EXPECT_FALSE((Ips{a}).contains(b));
}

TEST(ShortList, DestroysItsItemsOnce) {
  const auto held = std::make_shared<int>(1);
  {
    ShortList<std::shared_ptr<int>> list = {held, held};
    list.push_back(held);
    EXPECT_EQ(held.use_count(), 4);
    list = {};
    EXPECT_EQ(held.use_count(), 1);
    list.push_back(held);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ShortListDeathTest, NobodyReadsBeyondItsEnd) {
  const Texts list = {"one"};
  EXPECT_DEATH(list[1], "at < size");
  EXPECT_DEATH(Texts().front(), "at < size");
}

}  // namespace
}  // namespace fairlead

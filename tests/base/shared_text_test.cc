#include "base/shared_text.h"

#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "base/text.h"
#include "gtest/gtest.h"

namespace fairlead {
namespace {

TEST(SharedText, IsEmptyByDefaultAndOwnsNothing) {
  const SharedText none, from_literal = "", from_string = std::string();
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.view(), "");
  EXPECT_EQ(none, from_literal);
  EXPECT_TRUE(none.same_as(from_string));
  static_assert(sizeof(SharedText) == 8);
}

TEST(SharedText, CopiesShareWhatEqualOnesDoNot) {
  const SharedText a = "node-1", copy = a, other = "node-1";
  EXPECT_TRUE(copy.same_as(a));
  EXPECT_FALSE(other.same_as(a));
  EXPECT_EQ(other, a);
}

TEST(SharedText, ComparesWithAnyText) {
  const SharedText text = "b";
  EXPECT_TRUE(text == "b");
  EXPECT_TRUE("b" == text);
  EXPECT_TRUE(text == std::string("b"));
  EXPECT_TRUE(std::string_view("c") != text);
  EXPECT_LT(SharedText("a"), text);
  EXPECT_TRUE(text < std::string("ba"));
  EXPECT_GT(text, SharedText());
}

TEST(SharedText, KeepsBytesAsTheyAre) {
  const std::string bytes("a\0b\xff", 4);
  const SharedText text = bytes;
  EXPECT_EQ(text.str(), bytes);
  const std::string large(100'000, 'x');
  EXPECT_EQ(SharedText(large).view(), large);
}

TEST(SharedText, OutlivesWhereItCameFrom) {
  SharedText kept;
  {
    std::string source = "short-lived name of a node";
    const SharedText first = source;
    source.assign(source.size(), '-');
    kept = first;
  }
  EXPECT_EQ(kept, "short-lived name of a node");
}

TEST(SharedText, AssignsMovesAndSurvivesItself) {
  SharedText a = "one", b = "two";
  a = b;
  EXPECT_TRUE(a.same_as(b));
  const SharedText& itself = a;
  a = itself;
  EXPECT_EQ(a, "two");
  b = std::move(a);
  EXPECT_EQ(b, "two");
  b = "three";
  EXPECT_EQ(b, "three");
  b = {};
  EXPECT_TRUE(b.empty());
}

TEST(SharedText, StandsWhereTextStands) {
  const SharedText text = "zone-a";
  EXPECT_EQ(cat("in ", text, "!"), "in zone-a!");
  std::ostringstream out;
  out << text;
  EXPECT_EQ(out.str(), "zone-a");
  std::set<SharedText, std::less<>> known = {text, "zone-b"};
  EXPECT_TRUE(known.contains(std::string_view("zone-b")));
  EXPECT_FALSE(known.contains("zone-c"));
}

TEST(SharedText, ThreadsMayHoldAndLetGo) {
  const SharedText text = "shared by many";
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([text] {
      for (int round = 0; round < 10'000; ++round) {
        const SharedText copy = text;
        ASSERT_EQ(copy.view().size(), 14u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(text, "shared by many");
}

}  // namespace
}  // namespace fairlead

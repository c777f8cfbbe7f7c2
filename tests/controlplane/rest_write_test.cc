// What every kind of write shares: dry run, a disk that refuses, and writes that overtake each
// other.
#include <gmock/gmock.h>

#include "rest_support.h"
namespace fairlead::controlplane {
namespace {
using testing::HasSubstr;
TEST_F(RestWriteTest, DryRunChangesNothing) {
  Answer made = rig.call(cat("POST ", kServices, "?dryRun=All"),
                         R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}})");
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(rig.call(cat("GET ", kServices, "/s")).status, 404);
  ASSERT_EQ(rig.call(cat("POST ", kMaps), map_text("a")).status, 201);
  uint64_t before = rig.store.revision();
  EXPECT_EQ(rig.call(cat("PATCH ", kMaps, "/a?dryRun=All"), R"({"data":{"k":"w"}})", kMerge)
                .text("data", "k"),
            "w");
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "/a"), R"({"dryRun":["All"]})").status, 200);
  EXPECT_EQ(rig.call(cat("DELETE ", kMaps, "/a?dryRun=All")).status, 200);
  EXPECT_EQ(rig.call(cat("GET ", kMaps, "/a")).text("data", "k"), "v");
  EXPECT_EQ(rig.store.revision(), before);
}
TEST_F(RestWriteTest, AFailedCommitIsAnErrorAndGivesAddressesBack) {
  auto disk = std::make_shared<FakeDisk>();
  RestRig other(disk);
  disk->fail_with("database or disk is full");
  std::string body =
      R"({"metadata":{"name":"s"},"spec":{"clusterIP":"10.96.0.77","ports":[{"port":80}]}})";
  Answer refused = other.call(cat("POST ", kServices), body);
  EXPECT_EQ(refused.status, 500);
  EXPECT_THAT(refused.text("message"), HasSubstr("database or disk is full"));
  EXPECT_EQ(other.call("GET /readyz").status, 500);
  EXPECT_EQ(other.call("GET /livez").status, 200);
  EXPECT_EQ(other.call(cat("GET ", kServices, "/s")).status, 404);
  disk->fail_with("");
  EXPECT_EQ(other.call(cat("POST ", kServices), body).status, 201);
  EXPECT_EQ(other.call("GET /readyz").status, 200);
}
TEST_F(RestWriteTest, WritesInFlightBuildOnEachOther) {
  auto disk = std::make_shared<FakeDisk>();
  RestRig slow(disk);
  disk->delay_ms = 30;
  std::vector<std::shared_ptr<Answer>> answers;
  answers.push_back(slow.send(slow.request(cat("POST ", kMaps), map_text("a"))));
  for (int i = 0; i < 10; ++i)
    answers.push_back(slow.send(
        slow.request(cat("PATCH ", kMaps, "/a"), cat(R"({"data":{"k)", i, R"(":"v"}})"), kMerge)));
  answers.push_back(slow.send(slow.request(cat("POST ", kMaps), map_text("a"))));
  slow.settle();
  EXPECT_EQ(answers.front()->status, 201);
  for (int i = 1; i <= 10; ++i) EXPECT_EQ(answers[static_cast<size_t>(i)]->status, 200);
  EXPECT_EQ(answers.back()->status, 409);
  EXPECT_EQ(find(slow.call(cat("GET ", kMaps, "/a")).document(), "data")->get_object().size(), 11U);
}

}  // namespace
}  // namespace fairlead::controlplane

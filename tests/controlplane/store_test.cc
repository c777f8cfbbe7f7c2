// The store above the disk: revisions, compare and swap, group commit, failures.
#include "controlplane/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store_support.h"

namespace fairlead::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class StoreTest : public testing::Test {
 protected:
  StoreTest() { start(); }
  void start(Store::Options options = {}) {
    rig.reset();
    rig = std::make_unique<StoreRig>(std::make_unique<FakeLog>(disk), options);
    ASSERT_TRUE(rig->load());
    maps = &rig->row("configmaps");
  }
  bool put(std::string_view name, uint64_t expected, std::string_view data = "v") {
    return rig->store.put(*maps, expected, config_map("default", name, data), rig->keep(answers));
  }
  bool remove(std::string_view name, uint64_t expected) {
    return rig->store.remove(*maps, expected, "default", name, rig->keep(answers));
  }
  ObjectPtr get(std::string_view name) { return rig->store.get(*maps, "default", name); }

  std::shared_ptr<FakeDisk> disk = std::make_shared<FakeDisk>();
  std::unique_ptr<StoreRig> rig;
  const Resource* maps = nullptr;
  std::vector<std::string> answers;
};

TEST_F(StoreTest, AnswersAndShowsAWriteOnlyWhenItIsDurable) {
  disk->delay_ms = 20;
  ASSERT_TRUE(put("a", 0));
  EXPECT_EQ(get("a"), nullptr);
  EXPECT_NE(rig->store.head(*maps, "default", "a"), nullptr);
  EXPECT_THAT(answers, IsEmpty());
  rig->settle();
  EXPECT_THAT(answers, ElementsAre("a@1"));
  ASSERT_NE(get("a"), nullptr);
  EXPECT_EQ(get("a")->revision, 1U);
  EXPECT_EQ(find_string(parsed(get("a")->text), "metadata", "resourceVersion"), "1");
}

struct SwapCase {
  const char* what;
  std::string name;
  uint64_t expected;
  bool removal;
  bool accepted;
};

class StoreSwapTest : public StoreTest, public testing::WithParamInterface<SwapCase> {};

// The store holds a@3 (written thrice) and knew b, which is gone.
INSTANTIATE_TEST_SUITE_P(Table, StoreSwapTest,
                         testing::Values(SwapCase{"UpdateFromTheHead", "a", 3, false, true},
                                         SwapCase{"UpdateFromAnOlderState", "a", 2, false, false},
                                         SwapCase{"UpdateFromTheFuture", "a", 9, false, false},
                                         SwapCase{"CreateWhatExists", "a", 0, false, false},
                                         SwapCase{"CreateWhatIsGone", "b", 0, false, true},
                                         SwapCase{"UpdateWhatIsGone", "b", 4, false, false},
                                         SwapCase{"RemoveTheHead", "a", 3, true, true},
                                         SwapCase{"RemoveAnOlderState", "a", 1, true, false},
                                         SwapCase{"RemoveWhatIsGone", "b", 4, true, false},
                                         SwapCase{"RemoveWhatNeverWas", "c", 0, true, false}),
                         [](const auto& param) { return std::string(param.param.what); });

TEST_P(StoreSwapTest, ComparesWithTheHead) {
  const SwapCase& c = GetParam();
  for (bool durable : {false, true}) {
    SCOPED_TRACE(durable ? "from the committed state" : "from writes on their way");
    disk = std::make_shared<FakeDisk>();
    start();
    put("a", 0);
    put("a", 1);
    put("a", 2);
    put("b", 0);
    remove("b", 4);
    if (durable) rig->settle();
    EXPECT_EQ(c.removal ? remove(c.name, c.expected) : put(c.name, c.expected), c.accepted);
    rig->settle();
    EXPECT_EQ(rig->store.revision(), c.accepted ? 6U : 5U);
  }
}

TEST_F(StoreTest, TakesWhatQueuedUpAsOneTransaction) {
  disk->delay_ms = 30;
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(put(cat("m", i), 0));
  rig->settle();
  EXPECT_EQ(answers.size(), 50U);
  EXPECT_LE(disk->transactions, 4U);
  EXPECT_EQ(rig->store.revision(), 50U);
}

TEST_F(StoreTest, LimitsTheSizeOfATransaction) {
  start({.max_batch = 10});
  disk->delay_ms = 5;
  for (int i = 0; i < 45; ++i) ASSERT_TRUE(put(cat("m", i), 0));
  rig->settle();
  EXPECT_GE(disk->transactions, 5U);
}

TEST_F(StoreTest, TellsEachRevisionInOrderWithTheStateBefore) {
  put("a", 0, "1");
  put("b", 0, "1");
  put("a", 1, "2");
  remove("a", 3);
  put("a", 0, "3");
  rig->settle();
  EXPECT_THAT(rig->told(),
              ElementsAre("ADDED default/a@1", "ADDED default/b@2", "MODIFIED default/a@3",
                          "DELETED default/a@4", "ADDED default/a@5"));
  EXPECT_EQ(rig->events[2].before->revision, 1U);
  EXPECT_EQ(rig->events[3].before->revision, 3U);
  // A deletion tells the last state, with the revision of the deletion.
  json::value last = parsed(rig->events[3].object->text);
  EXPECT_EQ(find_string(last, "data", "k"), "2");
  EXPECT_EQ(find_string(last, "metadata", "resourceVersion"), "4");
}

TEST_F(StoreTest, ExtractsLabelsAndSelectableFields) {
  const Resource& pods = rig->row("pods");
  rig->store.put(pods, 0,
                 parsed(R"({"metadata":{"name":"p","namespace":"n","labels":{"z":"1","a":"2"}},
                            "spec":{"nodeName":"n1","hostNetwork":true},
                            "status":{"phase":"Running"}})"),
                 rig->ignore());
  rig->settle();
  ObjectPtr pod = rig->store.get(pods, "n", "p");
  ASSERT_NE(pod, nullptr);
  EXPECT_THAT(pod->labels, ElementsAre(testing::Pair("a", "2"), testing::Pair("z", "1")));
  std::vector<std::string> shown;
  for (size_t i = 0; i < pods.fields.size(); ++i)
    if (!pod->fields[i].empty()) shown.push_back(cat(pods.fields[i].label, "=", pod->fields[i]));
  EXPECT_THAT(shown,
              ElementsAre("spec.nodeName=n1", "spec.hostNetwork=true", "status.phase=Running"));
}

TEST_F(StoreTest, UndoesEveryPendingWriteWhenACommitFails) {
  put("a", 0, "old");
  rig->settle();
  int rollbacks = 0;
  rig->store.on_rollback([&] {
    ++rollbacks;
    EXPECT_EQ(rig->store.head(*maps, "default", "a")->revision, 1U);
  });
  answers.clear();
  disk->fail_with("database or disk is full");
  disk->delay_ms = 20;
  put("a", 1, "new");
  put("a", 2, "newer");  // builds on a write that will not happen
  rig->loop.run_once(std::chrono::milliseconds(5));
  put("b", 0);
  rig->settle();
  EXPECT_THAT(answers, testing::Each(HasSubstr("disk is full")));
  EXPECT_EQ(answers.size(), 3U);
  EXPECT_EQ(rollbacks, 1);
  EXPECT_EQ(get("a")->revision, 1U);
  EXPECT_EQ(get("b"), nullptr);
  EXPECT_THAT(rig->store.trouble(), HasSubstr("disk is full"));
  EXPECT_THAT(rig->sink.text(), HasSubstr("disk is full"));

  disk->fail_with("");
  answers.clear();
  ASSERT_TRUE(put("a", 1, "again"));
  rig->settle();
  EXPECT_THAT(answers, ElementsAre("a@2"));
  EXPECT_EQ(rig->store.trouble(), "");
}

TEST_F(StoreTest, SettlesAfterEverythingBefore) {
  disk->delay_ms = 5;
  put("a", 0);
  rig->store.settle(rig->keep(answers));
  put("b", 0);
  rig->settle();
  EXPECT_THAT(answers, ElementsAre("a@1", "settled", "b@2"));
}

TEST_F(StoreTest, ComesBackAfterARestartWithItsHistory) {
  put("a", 0, "1");
  put("a", 1, "2");
  put("b", 0, "1");
  remove("b", 3);
  rig->settle();
  std::vector<std::string> before = rig->told();
  start();
  EXPECT_EQ(rig->told(), before);
  EXPECT_EQ(rig->store.revision(), 4U);
  EXPECT_EQ(find_string(parsed(get("a")->text), "data", "k"), "2");
  EXPECT_EQ(get("b"), nullptr);
  answers.clear();
  ASSERT_TRUE(put("b", 0));
  rig->settle();
  EXPECT_THAT(answers, ElementsAre("b@5"));
}

TEST_F(StoreTest, WritesWhatIsQueuedBeforeItGoes) {
  disk->delay_ms = 5;
  for (int i = 0; i < 20; ++i) put(cat("m", i), 0);
  rig.reset();
  EXPECT_EQ(disk->records.size(), 20U);
  EXPECT_THAT(answers, IsEmpty());  // nobody is there to hear them
}

TEST_F(StoreTest, CompactsTheLogButKeepsItsHistoryWindow) {
  start({.keep_revisions = 10, .compact_every = 20});
  uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(put("a", last, cat(i)));
    ++last;
    if (i % 5 == 0) rig->settle();
  }
  rig->settle();
  uint64_t compacted = rig->store.compacted();
  EXPECT_GE(compacted, 70U);
  EXPECT_LE(compacted, 90U);
  start({.keep_revisions = 10, .compact_every = 20});
  EXPECT_EQ(get("a")->revision, 100U);
  EXPECT_EQ(rig->store.compacted(), compacted);
  EXPECT_LE(rig->events.size(), 40U);
  EXPECT_GE(rig->events.size(), 10U);
}

struct BadRecord {
  const char* what;
  std::string key, value, complaint;
};

class StoreBadRecordTest : public testing::TestWithParam<BadRecord> {};

INSTANTIATE_TEST_SUITE_P(
    Table, StoreBadRecordTest,
    testing::Values(BadRecord{"UnknownKind", "widgets/d/a", "{}", "unknown kind: widgets/d/a"},
                    BadRecord{"BrokenKey", "configmaps", "{}", "unknown kind"},
                    BadRecord{"NotJson", "configmaps/d/a", "{\"metadata\":", "configmaps/d/a"},
                    BadRecord{"NotAnObject", "configmaps/d/a", "[]", "not an object"},
                    BadRecord{"NoMetadata", "configmaps/d/a", "{}", "not an object of that name"},
                    BadRecord{"TextAsMetadata", "configmaps/d/a", R"({"metadata":"a"})",
                              "not an object of that name"},
                    BadRecord{"NoName", "configmaps/d/", R"({"metadata":[]})",
                              "not an object of that name"},
                    BadRecord{"NumberAsName", "configmaps/d/7", R"({"metadata":{"name":7}})",
                              "not an object of that name"},
                    BadRecord{"OtherName", "configmaps/d/a", R"({"metadata":{"name":"b"}})",
                              "not an object of that name"}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(StoreBadRecordTest, IsAnErrorThatNamesIt) {
  auto disk = std::make_shared<FakeDisk>();
  disk->records.push_back(
      {7, 0, GetParam().key, std::make_shared<const std::string>(GetParam().value)});
  StoreRig rig(std::make_unique<FakeLog>(disk));
  Result<void> loaded = rig.load();
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, HasSubstr("revision 7"));
  EXPECT_THAT(loaded.error().message, HasSubstr(GetParam().complaint));
}

}  // namespace
}  // namespace fairlead::controlplane

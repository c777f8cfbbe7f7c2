// History, watchers, selectors, bookmarks, slow readers.
#include "controlplane/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <algorithm>

#include "store_support.h"

namespace fairlead::controlplane {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// What a watcher got, as "ADDED a@1".
struct Stream {
  std::vector<std::string> lines;
  std::vector<std::string> raw;
  size_t unsent = 0;
  bool finished = false, aborted = false;
  std::shared_ptr<bool> destroyed = std::make_shared<bool>(false);
  std::function<void()> gone;
};

class FakeSink final : public WatchSink {
 public:
  explicit FakeSink(Stream& stream) : stream_(stream), destroyed_(stream.destroyed) {}
  ~FakeSink() override { *destroyed_ = true; }  // maybe after the stream
  void write(std::string_view bytes) override {
    ASSERT_TRUE(bytes.ends_with('\n'));
    stream_.raw.emplace_back(bytes);
    json::value event = parsed(bytes);
    const json::value& object = *find(event, "object");
    stream_.lines.push_back(cat(find_string(event, "type"), " ",
                                find_string(object, "metadata", "name"), "@",
                                find_string(object, "metadata", "resourceVersion")));
  }
  size_t unsent_bytes() const override { return stream_.unsent; }
  void finish() override { stream_.finished = true; }
  void abort() override { stream_.aborted = true; }
  void on_gone(std::function<void()> gone) override { stream_.gone = std::move(gone); }

 private:
  Stream& stream_;
  std::shared_ptr<bool> destroyed_;
};

class HubTest : public testing::Test {
 protected:
  HubTest() : hub(make({})) {
    rig.load().value();
    maps = &rig.row("configmaps");
  }
  std::unique_ptr<Hub> make(Hub::Options options) {
    return std::make_unique<Hub>(rig.loop, rig.table, clock, rig.registry, options);
  }
  // Commits one change and publishes it.
  void set(std::string_view name, std::string_view labels = "{}", std::string_view ns = "d") {
    ObjectPtr head = rig.store.head(*maps, ns, name);
    rig.store.put(*maps, head ? head->revision : 0, config_map(ns, name, "v", labels),
                  rig.ignore());
    publish();
  }
  void remove(std::string_view name) {
    rig.store.remove(*maps, rig.store.head(*maps, "d", name)->revision, "d", name, rig.ignore());
    publish();
  }
  void publish() {
    rig.settle();
    for (; published < rig.events.size(); ++published) hub->publish(rig.events[published]);
  }
  WatchRequest request(uint64_t after = 0) {
    return {.resource = maps, .after = after, .timeout = std::chrono::hours(1)};
  }
  WatchRequest labelled(std::string_view selector, uint64_t after = 0) {
    WatchRequest out = request(after);
    out.selection.labels = *LabelSelector::parse(selector);
    return out;
  }
  uint64_t watch(WatchRequest wanted, Stream& stream) {
    return hub->watch(std::move(wanted), rig.store.objects(*maps), rig.store.revision(),
                      std::make_unique<FakeSink>(stream));
  }
  void turn(int milliseconds) {
    auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (std::chrono::steady_clock::now() < until)
      rig.loop.run_once(std::chrono::milliseconds(2));
  }

  StoreRig rig{std::make_unique<FakeLog>(std::make_shared<FakeDisk>())};
  FakeClock clock;
  std::unique_ptr<Hub> hub;
  const Resource* maps = nullptr;
  size_t published = 0;
};

TEST_F(HubTest, SendsWhatExistsAndThenChanges) {
  set("a");
  set("b");
  Stream stream;
  watch(request(), stream);
  EXPECT_THAT(stream.lines, ElementsAre("ADDED a@1", "ADDED b@2"));
  set("a");
  remove("b");
  set("c");
  EXPECT_THAT(stream.lines,
              ElementsAre("ADDED a@1", "ADDED b@2", "MODIFIED a@3", "DELETED b@4", "ADDED c@5"));
}

TEST_F(HubTest, ResumesAfterARevision) {
  set("a");
  set("b");
  set("a");
  remove("b");
  Stream stream;
  watch(request(2), stream);
  EXPECT_THAT(stream.lines, ElementsAre("MODIFIED a@3", "DELETED b@4"));
  Stream newest;
  watch(request(4), newest);
  EXPECT_THAT(newest.lines, IsEmpty());
}

TEST_F(HubTest, KeepsToItsNamespaceAndResource) {
  Stream stream;
  WatchRequest wanted = request();
  wanted.selection.ns = "d";
  watch(wanted, stream);
  Stream other;
  WatchRequest secrets = request();
  secrets.resource = &rig.row("secrets");
  hub->watch(secrets, rig.store.objects(*secrets.resource), 0, std::make_unique<FakeSink>(other));
  set("a", "{}", "elsewhere");
  set("a", "{}", "d");
  EXPECT_THAT(stream.lines, ElementsAre("ADDED a@2"));
  EXPECT_THAT(other.lines, IsEmpty());
}

struct Step {
  const char* labels;  // nullptr: delete
  const char* told;    // to a watcher of app=web; "" = nothing
};
struct Walk {
  const char* what;
  std::vector<Step> steps;
};

class HubSelectorWalkTest : public HubTest, public testing::WithParamInterface<Walk> {};

constexpr const char* kWeb = R"({"app":"web"})";
constexpr const char* kWebTwo = R"({"app":"web","v":"2"})";
constexpr const char* kOther = R"({"app":"db"})";

INSTANTIATE_TEST_SUITE_P(
    Table, HubSelectorWalkTest,
    testing::Values(
        Walk{"Stays", {{kWeb, "ADDED a@1"}, {kWebTwo, "MODIFIED a@2"}}},
        Walk{"Leaves", {{kWeb, "ADDED a@1"}, {kOther, "DELETED a@2"}, {kOther, ""}}},
        Walk{"Enters", {{kOther, ""}, {kWeb, "ADDED a@2"}}},
        Walk{"ComesBack", {{kWeb, "ADDED a@1"}, {kOther, "DELETED a@2"}, {kWeb, "ADDED a@3"}}},
        Walk{"GoesWhileSelected", {{kWeb, "ADDED a@1"}, {nullptr, "DELETED a@2"}}},
        Walk{"GoesUnseen", {{kOther, ""}, {nullptr, ""}}},
        Walk{"LeavesThenGoes", {{kWeb, "ADDED a@1"}, {kOther, "DELETED a@2"}, {nullptr, ""}}}),
    [](const auto& param) { return std::string(param.param.what); });

TEST_P(HubSelectorWalkTest, TellsLiveAndFromHistoryAlike) {
  Stream live;
  set("first");
  watch(labelled("app=web"), live);
  std::vector<std::string> wanted;
  uint64_t shift = 1;  // the object above took a revision
  for (const Step& step : GetParam().steps) {
    if (step.labels != nullptr)
      set("a", step.labels);
    else
      remove("a");
    std::string told = step.told;
    if (!told.empty()) {
      size_t at = told.find('@') + 1;
      wanted.push_back(told.substr(0, at) +
                       cat(*parse_int(told.substr(at)) + static_cast<int64_t>(shift)));
    }
  }
  EXPECT_EQ(live.lines, wanted);
  Stream replayed;
  watch(labelled("app=web", 1), replayed);
  EXPECT_EQ(replayed.lines, wanted);
}

TEST_F(HubTest, ALeavingObjectIsToldAsItWasLastSelected) {
  Stream stream;
  watch(labelled("app=web"), stream);
  set("a", kWeb);
  set("a", kOther);
  json::value event = parsed(stream.raw.at(1));
  EXPECT_EQ(find_string(event, "object", "metadata", "labels", "app"), "web");
  EXPECT_EQ(find_string(event, "object", "metadata", "resourceVersion"), "2");
}

TEST_F(HubTest, GivesTheStateOfAPastRevision) {
  set("a");
  set("b");
  set("a");
  remove("b");
  set("c");
  const Objects& now = rig.store.objects(*maps);
  auto names = [&](uint64_t revision) {
    std::vector<std::string> out;
    std::optional<Objects> then = hub->at(*maps, now, revision);
    for (const ObjectPtr& object : then.value())
      out.push_back(cat(object->name, "@", object->revision));
    return join(out, " ");
  };
  EXPECT_EQ(names(0), "");
  EXPECT_EQ(names(1), "a@1");
  EXPECT_EQ(names(2), "a@1 b@2");
  EXPECT_EQ(names(3), "a@3 b@2");
  EXPECT_EQ(names(4), "a@3");
  EXPECT_EQ(names(5), "a@3 c@5");
}

TEST_F(HubTest, ForgetsHistoryBeyondItsBounds) {
  hub = make({.min_history = 2, .max_history = 5, .history_bytes = 1 << 20});
  for (int i = 0; i < 12; ++i) set("a");
  EXPECT_EQ(hub->floor(*maps), 7U);
  EXPECT_FALSE(hub->at(*maps, rig.store.objects(*maps), 6));
  EXPECT_TRUE(hub->at(*maps, rig.store.objects(*maps), 7));
  EXPECT_EQ(hub->floor(rig.row("secrets")), 0U);
}

TEST_F(HubTest, HistoryIsBoundedInBytesButKeepsTheLeast) {
  hub = make({.min_history = 3, .max_history = 1000, .history_bytes = 1200});
  for (int i = 0; i < 50; ++i) set("a");
  EXPECT_GE(hub->floor(*maps), 40U);
  EXPECT_LE(hub->floor(*maps), 47U);
}

TEST_F(HubTest, ACompactedLogRaisesTheFloor) {
  for (int i = 0; i < 5; ++i) set("a");
  hub->set_floor(3);
  EXPECT_EQ(hub->floor(*maps), 3U);
  EXPECT_FALSE(hub->at(*maps, rig.store.objects(*maps), 2));
  EXPECT_TRUE(hub->at(*maps, rig.store.objects(*maps), 3));
}

TEST_F(HubTest, WaitsForASlowReaderAndThenGoesOn) {
  Stream stream;
  watch(request(), stream);
  stream.unsent = 1 << 20;
  for (int i = 0; i < 100; ++i) set("a");
  EXPECT_THAT(stream.lines, IsEmpty());
  stream.unsent = 0;
  turn(30);
  EXPECT_EQ(stream.lines.size(), 100U);
  EXPECT_EQ(stream.lines.back(), "MODIFIED a@100");
  EXPECT_FALSE(stream.aborted);
}

TEST_F(HubTest, ClosesAReaderThatStaysSlow) {
  hub = make({.max_queue = 20});
  Stream slow, quick;
  watch(request(), slow);
  watch(request(), quick);
  slow.unsent = 1 << 20;
  for (int i = 0; i < 30; ++i) set("a");
  EXPECT_TRUE(slow.aborted);
  EXPECT_TRUE(*slow.destroyed);
  EXPECT_FALSE(slow.finished);
  EXPECT_EQ(quick.lines.size(), 30U);
  EXPECT_EQ(hub->watchers(), 1U);
}

TEST_F(HubTest, ALargeInitialStateIsNotHeldAgainstAWatcher) {
  hub = make({.max_queue = 5});
  for (int i = 0; i < 50; ++i) set(cat("m", i));
  Stream stream;
  stream.unsent = 1 << 20;
  watch(request(), stream);
  set("late");
  EXPECT_FALSE(stream.aborted);
  stream.unsent = 0;
  turn(30);
  EXPECT_EQ(stream.lines.size(), 51U);
  EXPECT_EQ(stream.lines.back(), "ADDED late@51");
}

TEST_F(HubTest, MarksTheEndOfTheInitialState) {
  set("a");
  Stream stream;
  WatchRequest wanted = request();
  wanted.initial_events_end = true;
  watch(wanted, stream);
  EXPECT_THAT(stream.lines, ElementsAre("ADDED a@1", "BOOKMARK @1"));
  EXPECT_THAT(stream.raw.back(), HasSubstr(R"("k8s.io/initial-events-end":"true")"));
}

TEST_F(HubTest, SendsBookmarksThatCarryOnlyARevision) {
  hub = make({.bookmark_every = std::chrono::milliseconds(10)});
  Stream with, without;
  WatchRequest wanted = request();
  wanted.bookmarks = true;
  watch(wanted, with);
  watch(request(), without);
  set("a");
  turn(40);
  // On a slow machine a bookmark of the empty store may come before the object.
  const auto added = std::ranges::find(with.lines, "ADDED a@1");
  ASSERT_GE(with.lines.end() - added, 3);
  const auto at = static_cast<size_t>(added - with.lines.begin()) + 1;
  EXPECT_EQ(with.lines[at], "BOOKMARK @1");
  EXPECT_THAT(with.raw[at], HasSubstr(R"("kind":"ConfigMap")"));
  EXPECT_THAT(without.lines, ElementsAre("ADDED a@1"));
}

TEST_F(HubTest, EndsAStreamCleanlyAtItsTimeoutWithALastBookmark) {
  Stream stream;
  WatchRequest wanted = request();
  wanted.bookmarks = true;
  wanted.timeout = std::chrono::milliseconds(20);
  watch(wanted, stream);
  set("a");
  turn(60);
  EXPECT_TRUE(stream.finished);
  EXPECT_TRUE(*stream.destroyed);
  EXPECT_THAT(stream.lines, testing::Contains(testing::StartsWith("BOOKMARK")));
  EXPECT_EQ(hub->watchers(), 0U);
}

TEST_F(HubTest, ForgetsAWatcherWhoseReaderHasGone) {
  Stream stream;
  watch(request(), stream);
  stream.gone();
  turn(5);
  EXPECT_EQ(hub->watchers(), 0U);
  EXPECT_TRUE(*stream.destroyed);
  EXPECT_FALSE(stream.aborted);
}

TEST_F(HubTest, SendsEveryWatcherTheSameBytes) {
  std::vector<Stream> streams(200);
  for (Stream& stream : streams) watch(request(), stream);
  set("a");
  for (const Stream& stream : streams) EXPECT_EQ(stream.raw, streams.front().raw);
}

TEST_F(HubTest, ATableHasItsColumnsInTheFirstEventOnly) {
  set("a");
  Stream stream;
  WatchRequest wanted = request();
  wanted.view.form = View::Form::table;
  watch(wanted, stream);
  set("b");
  ASSERT_EQ(stream.raw.size(), 2U);
  EXPECT_THAT(stream.raw[0], HasSubstr(R"("columnDefinitions":[{"name":"Name")"));
  EXPECT_THAT(stream.raw[1], HasSubstr(R"("columnDefinitions":null)"));
  EXPECT_THAT(stream.raw[1], HasSubstr(R"("kind":"Table")"));
}

}  // namespace
}  // namespace fairlead::controlplane

// The log on a real disk: damage, locks, full disks, kill -9.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <random>

#include "controlplane/store_log.h"
#include "store_support.h"

namespace fairlead::controlplane {
namespace {

using testing::HasSubstr;

std::shared_ptr<const std::string> text(std::string value) {
  return std::make_shared<const std::string>(std::move(value));
}

struct Loaded {
  StoreLog::Position position;
  std::vector<LogRecord> records;
  std::map<std::string, std::string> state() const {
    std::map<std::string, std::string> out;
    for (const LogRecord& record : records) {
      if (record.value)
        out[record.key] = *record.value;
      else
        out.erase(record.key);
    }
    return out;
  }
};

Loaded load(StoreLog& log) {
  Loaded out;
  Result<StoreLog::Position> position = log.load([&](LogRecord record) -> Result<void> {
    out.records.push_back(std::move(record));
    return {};
  });
  EXPECT_TRUE(position.has_value()) << position.error().message;
  if (position) out.position = *position;
  return out;
}

std::unique_ptr<StoreLog> open(const std::string& path) {
  auto log = open_sqlite_log(path);
  EXPECT_TRUE(log.has_value()) << log.error().message;
  return log ? std::move(*log) : nullptr;
}

TEST(StoreSqliteTest, KeepsRecordsAcrossOpenings) {
  TempDir dir;
  std::vector<LogRecord> batch = {{1, 0, "configmaps/d/a", text("{\"x\":\"\\u0000 ü\"}")},
                                  {2, 1, "configmaps/d/a", text(std::string("a\0b", 3))},
                                  {3, 2, "configmaps/d/a", nullptr}};
  {
    auto log = open(dir / "store.db");
    ASSERT_TRUE(log->append(batch));
  }
  auto log = open(dir / "store.db");
  Loaded loaded = load(*log);
  ASSERT_EQ(loaded.records.size(), 3U);
  for (size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(loaded.records[i].revision, batch[i].revision);
    EXPECT_EQ(loaded.records[i].previous, batch[i].previous);
    EXPECT_EQ(loaded.records[i].key, batch[i].key);
    ASSERT_EQ(loaded.records[i].value == nullptr, batch[i].value == nullptr);
    if (batch[i].value) {
      EXPECT_EQ(*loaded.records[i].value, *batch[i].value);
    }
  }
  EXPECT_EQ(loaded.position.revision, 3U);
}

TEST(StoreSqliteTest, AppendsAllOfABatchOrNothing) {
  TempDir dir;
  auto log = open(dir / "store.db");
  ASSERT_TRUE(log->append(std::vector<LogRecord>{{1, 0, "configmaps/d/a", text("1")}}));
  Result<void> outcome = log->append(std::vector<LogRecord>{
      {2, 0, "configmaps/d/b", text("2")}, {1, 0, "configmaps/d/c", text("again revision 1")}});
  ASSERT_FALSE(outcome);
  EXPECT_THAT(outcome.error().message, HasSubstr("configmaps/d/c"));
  ASSERT_TRUE(log->append(std::vector<LogRecord>{{2, 0, "configmaps/d/d", text("4")}}));
  EXPECT_EQ(load(*log).state(),
            (std::map<std::string, std::string>{{"configmaps/d/a", "1"}, {"configmaps/d/d", "4"}}));
}

TEST(StoreSqliteTest, CompactionKeepsTheStateAndForgetsTheRest) {
  TempDir dir;
  auto log = open(dir / "store.db");
  std::vector<LogRecord> records;
  std::map<std::string, uint64_t> last;
  std::mt19937 random(7);
  for (uint64_t revision = 1; revision <= 5000; ++revision) {
    std::string key = cat("configmaps/d/m", random() % 50);
    bool gone = last[key] != 0 && random() % 4 == 0;
    records.push_back({revision, last[key], key, gone ? nullptr : text(cat(revision))});
    last[key] = gone ? 0 : revision;
  }
  ASSERT_TRUE(log->append(records));
  auto before = load(*log).state();
  ASSERT_TRUE(log->compact(4000));
  Loaded after = load(*log);
  EXPECT_EQ(after.state(), before);
  EXPECT_EQ(after.position.compacted, 4000U);
  EXPECT_LE(after.records.size(), 1000U + 50U);
  for (const LogRecord& record : after.records)
    EXPECT_TRUE(record.value || record.revision > 4000) << record.revision;
  ASSERT_TRUE(log->compact(5000));
  EXPECT_EQ(load(*log).state(), before);
  EXPECT_EQ(load(*log).position.revision, 5000U);  // also when the last record was a deletion
}

TEST(StoreSqliteTest, RefusesAFileThatAnotherServerUses) {
  TempDir dir;
  auto first = open(dir / "store.db");
  auto second = open_sqlite_log(dir / "store.db");
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("is another server running on it?"));
  EXPECT_THAT(second.error().message, HasSubstr(dir / "store.db"));
}

TEST(StoreSqliteTest, SaysWhatIsWrongWithAFile) {
  TempDir dir;
  {
    std::ofstream(dir / "text.db") << std::string(5000, 'x');
    std::ofstream(dir / "dir-is-not-there") << "";
  }
  struct Case {
    std::string path, complaint;
  };
  for (const Case& c : {Case{dir / "text.db", "file is not a database"},
                        Case{dir / "missing/store.db", "unable to open database file"},
                        Case{dir.path(), "unable to open database file"}}) {
    auto log = open_sqlite_log(c.path);
    ASSERT_FALSE(log) << c.path;
    EXPECT_THAT(log.error().message, HasSubstr(c.complaint));
    EXPECT_THAT(log.error().message, HasSubstr(c.path));
  }
}

TEST(StoreSqliteTest, FindsDamageWhenItOpens) {
  TempDir dir;
  {
    auto log = open(dir / "store.db");
    std::vector<LogRecord> records;
    for (uint64_t i = 1; i <= 500; ++i)
      records.push_back({i, 0, cat("configmaps/d/m", i), text(std::string(1000, 'x'))});
    ASSERT_TRUE(log->append(records));
  }
  {
    // Pages in the middle of the table's tree become noise.
    std::fstream file(dir / "store.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(20 * 4096);
    file << std::string(8 * 4096, '\x5a');
  }
  auto log = open_sqlite_log(dir / "store.db");
  ASSERT_FALSE(log);
  EXPECT_THAT(log.error().message, testing::AnyOf(HasSubstr("damaged"), HasSubstr("malformed")));
}

// A full disk, played by a limit on the size of files.
TEST(StoreSqliteTest, SurvivesAFullDisk) {
  TempDir dir;
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    auto log = open_sqlite_log(dir / "store.db");
    if (!log) ::_exit(1);
    std::vector<LogRecord> small{{1, 0, "configmaps/d/a", text("first")}};
    if (!(*log)->append(small)) ::_exit(2);
    rlimit full{200 * 1024, 200 * 1024};
    ::setrlimit(RLIMIT_FSIZE, &full);
    std::vector<LogRecord> large{{2, 0, "configmaps/d/b", text(std::string(1 << 20, 'x'))}};
    Result<void> refused = (*log)->append(large);
    if (refused || refused.error().message.find("store") == std::string::npos) ::_exit(3);
    std::vector<LogRecord> next{{2, 0, "configmaps/d/c", text("after")}};
    if (!(*log)->append(next)) ::_exit(4);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  auto log = open(dir / "store.db");
  EXPECT_EQ(load(*log).state(), (std::map<std::string, std::string>{{"configmaps/d/a", "first"},
                                                                    {"configmaps/d/c", "after"}}));
}

// A child writes through a whole Store as fast as it can and reports each acknowledged change on a
// pipe. It is killed at a random moment; what it reported must be there, each transaction whole.
struct Acknowledged {
  uint64_t revision;
  uint32_t key;      // object number
  uint32_t counter;  // its content; 0: deleted
};

[[noreturn]] void write_until_killed(const std::string& path, int report, unsigned seed) {
  auto log = open_sqlite_log(path);
  if (!log) ::_exit(1);
  StoreRig rig(std::move(*log), {.keep_revisions = 200, .compact_every = 100});
  if (!rig.load()) ::_exit(2);
  const Resource& maps = rig.row("configmaps");
  std::mt19937 random(seed);
  uint32_t counter = 1 + static_cast<uint32_t>(rig.store.revision());
  for (;;) {
    for (int i = 0; i < 16; ++i) {
      auto key = static_cast<uint32_t>(random() % 40);
      std::string name = cat("m", key);
      ObjectPtr head = rig.store.head(maps, "d", name);
      bool removal = head && random() % 5 == 0;
      uint32_t content = removal ? 0 : counter++;
      auto done = [report, key, content](const Result<ObjectPtr>& outcome) {
        if (!outcome) ::_exit(3);
        Acknowledged line{(*outcome)->revision, key, content};
        if (::write(report, &line, sizeof line) != sizeof line) ::_exit(4);
      };
      uint64_t expected = head ? head->revision : 0;
      if (removal)
        rig.store.remove(maps, expected, "d", name, done);
      else
        rig.store.put(maps, expected,
                      config_map("d", name, cat(content, ":", std::string(random() % 3000, 'p'))),
                      done);
    }
    rig.loop.run_once(std::chrono::milliseconds(1));
  }
}

TEST(StoreSqliteTest, KillAtAnyMomentLosesNothingAcknowledgedAndKeepsNothingHalf) {
  TempDir dir;
  std::mt19937 random(static_cast<unsigned>(::getpid()));
  std::map<uint32_t, Acknowledged> model;  // the newest acknowledged change of each object
  uint64_t acknowledged = 0;
  for (int round = 0; round < 8; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::close(ends[0]);
      write_until_killed(dir / "store.db", ends[1], random());
    }
    ::close(ends[1]);
    ::usleep(20'000 + random() % 150'000);
    ::kill(child, SIGKILL);
    Acknowledged line{};
    while (::read(ends[0], &line, sizeof line) == sizeof line) {
      model[line.key] = line;
      acknowledged = std::max(acknowledged, line.revision);
    }
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer ended by itself: " << WEXITSTATUS(status);

    StoreRig rig(open(dir / "store.db"));
    ASSERT_TRUE(rig.load());
    ASSERT_GE(rig.store.revision(), acknowledged);
    const Resource& maps = rig.row("configmaps");
    std::map<uint32_t, Acknowledged> found;
    for (const ObjectPtr& object : rig.store.objects(maps)) {
      std::string data(find_string(parsed(object->text), "data", "k"));
      auto key = static_cast<uint32_t>(*parse_int(object->name.substr(1)));
      auto content = static_cast<uint32_t>(*parse_int(data.substr(0, data.find(':'))));
      found[key] = {object->revision, key, content};
    }
    for (const auto& [key, known] : model) {
      auto present = found.find(key);
      if (present == found.end()) {
        // Deleted: by the acknowledged change itself, or by one that was not acknowledged yet.
        bool deleted = std::ranges::any_of(rig.events, [&](const StoreEvent& event) {
          return event.deleted && event.revision >= known.revision &&
                 event.object->name == cat("m", key);
        });
        EXPECT_TRUE(known.counter == 0 || deleted)
            << "m" << key << "@" << known.revision << " is lost";
        continue;
      }
      EXPECT_GE(present->second.revision, known.revision) << "m" << key << " went back";
      if (present->second.revision == known.revision) {
        EXPECT_EQ(present->second.counter, known.counter) << "m" << key;
      }
    }
    for (auto& [key, present] : found) model[key] = present;
    std::erase_if(model, [&](const auto& entry) { return !found.contains(entry.first); });
  }
  EXPECT_GT(acknowledged, 100U);
}

}  // namespace
}  // namespace fairlead::controlplane

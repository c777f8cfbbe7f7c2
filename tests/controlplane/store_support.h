// What the control plane's tests share: a temporary folder, documents, and a store on a loop.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/json.h"
#include "base/log.h"
#include "base/text.h"
#include "controlplane/store.h"
#include "controlplane/store_fake.h"

namespace fairlead::controlplane {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "fairlead-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return cat(path_, "/", name); }

 private:
  std::string path_;
};

inline json::value parsed(std::string_view text) {
  Result<json::value> value = parse_json(text);
  EXPECT_TRUE(value.has_value()) << text << ": " << (value ? "" : value.error().message);
  return value ? *std::move(value) : json::value();
}

inline json::value config_map(std::string_view ns, std::string_view name,
                              std::string_view data = "v", std::string_view labels = "{}") {
  return parsed(cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":")", name,
                    R"(","namespace":")", ns, R"(","labels":)", labels, R"(},"data":{"k":")", data,
                    R"("}})"));
}

// A store on a log, with what it tells kept.
class StoreRig {
 public:
  explicit StoreRig(std::unique_ptr<StoreLog> log, Store::Options options = {})
      : store(loop, table, std::move(log), Log(sink), registry, options) {}

  Result<void> load() {
    return store.load([this](const StoreEvent& event) { events.push_back(event); });
  }
  const Resource& row(std::string_view plural) const {
    for (const Resource& resource : table.all())
      if (resource.plural == plural) return resource;
    std::abort();
  }
  // Turns the loop until nothing is on its way to the disk.
  void settle() {
    for (int turn = 0; store.pending() > 0 && turn < 10'000; ++turn)
      loop.run_once(std::chrono::milliseconds(10));
    EXPECT_EQ(store.pending(), 0U);
  }
  Store::Done keep(std::vector<std::string>& answers) {
    return [&answers](Result<ObjectPtr> outcome) {
      answers.push_back(!outcome   ? outcome.error().message
                        : *outcome ? cat((*outcome)->name, "@", (*outcome)->revision)
                                   : "settled");
    };
  }
  Store::Done ignore() {
    return [](const Result<ObjectPtr>&) {};
  }
  // "ADDED default/a@1" per event.
  std::vector<std::string> told() const {
    std::vector<std::string> out;
    for (const StoreEvent& event : events)
      out.push_back(cat(event.deleted  ? "DELETED "
                        : event.before ? "MODIFIED "
                                       : "ADDED ",
                        event.object->ns, "/", event.object->name, "@", event.revision));
    return out;
  }

  net::EventLoop loop;
  ResourceTable table;
  MemoryLogSink sink;
  Registry registry;
  std::vector<StoreEvent> events;
  Store store;
};

}  // namespace fairlead::controlplane

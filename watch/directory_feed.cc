#include "base/check.h"
#include "base/text.h"
#include "watch/feed.h"
#include "watch/file_events.h"
#include "watch/manifest_folder.h"
#include "watch/store.h"

namespace fairlead::watch {
namespace {

// Writers touch several files in a row, and each file several times.
constexpr Duration gather = std::chrono::milliseconds(20);

api::Schema load_schema() {
  auto schema = api::Schema::load();
  CHECK(schema);  // it is part of the binary
  return *std::move(schema);
}

class DirectoryFeed final : public Feed {
 public:
  DirectoryFeed(net::EventLoop& loop, std::string directory, FeedOptions options, const Log& log,
                TickSink sink)
      : loop_(loop),
        directory_(std::move(directory)),
        options_(std::move(options)),
        log_(log.named("watch")),
        folder_(directory_, load_schema(), options_.settle),
        store_(loop, options_.coalesce, std::move(sink)),
        events_(loop, [this] { soon(gather); }) {
    soon(Duration::zero());
  }

  FeedStatus status() const override {
    FeedStatus out;
    out.source = cat("directory ", directory_);
    out.synced = store_.is_open();
    out.last_event = last_event_;
    out.errors = folder_.errors();
    for (const std::string* error : {&folder_error_, &watch_error_}) {
      if (!error->empty()) out.errors.push_back(*error);
    }
    out.bad_objects = folder_.bad_objects();
    return out;
  }

 private:
  // The next look, at `delay` from now or earlier if one is due earlier.
  void soon(Duration delay) {
    const MonoTime due = loop_.now() + delay;
    if (timer_ && due_ <= due) return;
    due_ = due;
    timer_ = loop_.after(delay, [this] { look(); });
  }

  // The next regular look is set first, so that no way out of this function ends the feed.
  void look() {
    soon(options_.rescan);
    FileEvents::Seen seen = events_.take();
    pending_.finished.merge(seen.finished);
    for (const std::string& path : seen.writing) pending_.finished.erase(path);
    const auto look = folder_.look(pending_);
    if (!look) return complain(folder_error_, look.error().message);
    folder_error_.clear();
    pending_ = {};
    follow(look->folders);
    if (look->unsettled) soon(options_.settle);
    if (look->changed || !store_.is_open()) deliver();
  }

  // Folders are watched after they were listed: what came in between is found by a second look.
  void follow(const std::vector<std::string>& folders) {
    const bool more = folders != folders_;
    folders_ = folders;
    if (const auto followed = events_.follow(folders); !followed) {
      complain(watch_error_, followed.error().message);
    } else {
      watch_error_.clear();
    }
    if (more) soon(gather);
  }

  // Everything is offered to the store, which sees by itself what is new: folders are small.
  void deliver() {
    last_event_ = loop_.now();
    const auto objects = folder_.objects();
    for (const api::KindInfo& kind : api::kinds()) {
      if (!wants(kind.kind)) continue;
      std::set<api::ObjectKey> keys;
      for (auto at = objects.lower_bound({kind.kind, {}});
           at != objects.end() && at->first.kind == kind.kind; ++at) {
        keys.insert(at->first.key);
        store_.put(at->second);
      }
      store_.retain(kind.kind, keys);
    }
    const auto errors = status();
    for (const auto& list : {errors.errors, errors.bad_objects}) {
      for (const std::string& error : list) log_.warn("manifest", {{"error", error}});
    }
    if (!store_.is_open()) store_.open();
  }

  bool wants(api::Kind kind) const {
    const auto& kinds = options_.kinds;
    return kinds.empty() || std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  }

  void complain(std::string& place, const std::string& message) {
    if (place == message) return;
    place = message;
    log_.warn(message);
  }

  net::EventLoop& loop_;
  std::string directory_;
  FeedOptions options_;
  Log log_;
  ManifestFolder folder_;
  Store store_;
  FileEvents events_;
  FileEvents::Seen pending_;  // kept over a look that failed
  std::vector<std::string> folders_;
  net::Timer timer_;
  MonoTime due_{};
  MonoTime last_event_{};
  std::string folder_error_, watch_error_;
};

}  // namespace

std::unique_ptr<Feed> make_directory_feed(net::EventLoop& loop, std::string directory,
                                          FeedOptions options, const Log& log, TickSink sink) {
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  return std::make_unique<DirectoryFeed>(loop, std::move(directory), std::move(options), log,
                                         std::move(sink));
}

}  // namespace fairlead::watch

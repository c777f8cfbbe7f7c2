#include "watch/file_events.h"

#include <sys/epoll.h>
#include <sys/inotify.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace fairlead::watch {
namespace {

constexpr uint32_t wanted = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO |
                            IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB;

}  // namespace

FileEvents::FileEvents(net::EventLoop& loop, std::function<void()> something)
    : something_(std::move(something)), inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (inotify_) {
    readable_ = loop.watch(inotify_.get(), EPOLLIN, [this](uint32_t) { on_readable(); });
  }
}

// inotify_add_watch gives the same descriptor for a folder that is watched already.
Result<void> FileEvents::follow(const std::vector<std::string>& folders) {
  if (!inotify_) return fail(cat("inotify: ", std::strerror(errno)));
  std::map<int, std::string> now;
  Result<void> outcome;
  for (const std::string& folder : folders) {
    const int watch = inotify_add_watch(inotify_.get(), folder.c_str(), wanted | IN_ONLYDIR);
    if (watch >= 0) {
      now[watch] = folder;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      outcome = fail(cat(folder, ": cannot be watched: ", std::strerror(errno)));
    }
  }
  for (const auto& [watch, folder] : folders_) {
    if (!now.contains(watch)) inotify_rm_watch(inotify_.get(), watch);
  }
  folders_ = std::move(now);
  return outcome;
}

// An overflow of the kernel's queue loses names, not the wake-up; the look that follows compares
// all files by time and size anyway.
void FileEvents::on_readable() {
  alignas(inotify_event) char buffer[16 * 1024];
  for (;;) {
    const ssize_t got = ::read(inotify_.get(), buffer, sizeof buffer);
    if (got <= 0) break;
    for (const char* at = buffer; at < buffer + got;) {
      inotify_event event;
      std::memcpy(&event, at, sizeof event);
      note(event.wd, event.mask, event.len > 0 ? at + sizeof event : "");
      at += sizeof event + event.len;
    }
  }
  something_();
}

// Opening with O_TRUNC is a modification, so a file is "writing" from its first harm on.
void FileEvents::note(int watch, uint32_t mask, const char* name) {
  const auto folder = folders_.find(watch);
  if (folder == folders_.end() || *name == '\0') return;
  std::string path = cat(folder->second, '/', std::string_view(name));
  if (mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) {
    seen_.writing.erase(path);
    seen_.finished.insert(std::move(path));
  } else if (mask & (IN_MODIFY | IN_CREATE)) {
    seen_.finished.erase(path);
    seen_.writing.insert(std::move(path));
  }
}

}  // namespace fairlead::watch

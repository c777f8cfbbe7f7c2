// What inotify(7) says about the files below a folder. Belongs to one loop.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/event_loop.h"
#include "net/fd.h"

namespace fairlead::watch {

class FileEvents {
 public:
  struct Seen {
    std::set<std::string> writing;   // were written to, and not closed since
    std::set<std::string> finished;  // were closed after writing, or moved here
  };

  // `something` runs after events came; take() then has them.
  FileEvents(net::EventLoop& loop, std::function<void()> something);

  // Watches exactly these folders from now on. An error means that some could not be watched.
  Result<void> follow(const std::vector<std::string>& folders);
  Seen take() { return std::exchange(seen_, {}); }

 private:
  void on_readable();
  void note(int watch, uint32_t mask, const char* name);

  std::function<void()> something_;
  net::Fd inotify_;
  net::Watch readable_;
  std::map<int, std::string> folders_;  // by watch descriptor
  Seen seen_;
};

}  // namespace fairlead::watch

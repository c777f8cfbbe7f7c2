// Stream: one direction of a TCP connection, moved by splice(2) through a pipe, so that its bytes
// are not copied into this process.
#pragma once

#include <cstdint>
#include <vector>

#include "net/fd.h"

namespace fairlead::dataplane::userspace {

struct Pipe {
  net::Fd read, write;
  explicit operator bool() const { return static_cast<bool>(read); }
};

// Empty pipes for later: a direction has one only while it holds bytes.
class PipePool {
 public:
  Pipe take();  // none left to have (file descriptors, pipe memory): an empty one
  void give(Pipe pipe);

 private:
  static constexpr size_t most_kept = 64;
  std::vector<Pipe> free_;
};

// Its owner watches the two sockets, which are non-blocking, and calls pump() when one is ready.
class Stream {
 public:
  enum class Outcome { ok, failed };

  // Moves what is there now, or a good part of it. What was read and cannot be written stays in the
  // pipe, and nothing more is read: that is the backpressure.
  Outcome pump(int from, int to, PipePool& pipes);

  // `from` has been reset: what came before that is passed on, and no end.
  void rescue(int from, int to, PipePool& pipes);

  bool wants_read() const { return held_ == 0 && !ended_; }
  bool wants_write() const { return held_ != 0; }
  bool ended() const { return ended_; }  // `from` has said all, and all was passed on
  uint64_t bytes() const { return bytes_; }

 private:
  enum class Moved { all, some, nothing, failed };
  Moved move(int from, int to, PipePool& pipes);

  Pipe pipe_;  // none, or with bytes in it
  size_t held_ = 0;
  bool ended_ = false;
  uint64_t bytes_ = 0;
};

}  // namespace fairlead::dataplane::userspace

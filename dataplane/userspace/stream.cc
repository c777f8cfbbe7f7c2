#include "dataplane/userspace/stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace fairlead::dataplane::userspace {
namespace {

constexpr size_t largest_move = 1 << 20;  // more than a pipe holds
constexpr int rounds = 8;                 // per call, so that others have their turn
constexpr unsigned splice_flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

}  // namespace

Pipe PipePool::take() {
  if (!free_.empty()) {
    Pipe pipe = std::move(free_.back());
    free_.pop_back();
    return pipe;
  }
  int fds[2];
  if (::pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return {};
  return {net::Fd(fds[0]), net::Fd(fds[1])};
}

void PipePool::give(Pipe pipe) {
  if (free_.size() < most_kept) free_.push_back(std::move(pipe));
}

Stream::Outcome Stream::move(int from, int to, PipePool& pipes, bool pass_end) {
  for (int i = 0; i < rounds && !ended_; ++i) {
    if (held_ == 0) {
      if (!pipe_) pipe_ = pipes.take();
      if (!pipe_) return Outcome::failed;
      const ssize_t got =
          ::splice(from, nullptr, pipe_.write.get(), nullptr, largest_move, splice_flags);
      if (got < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) break;
        return Outcome::failed;
      }
      if (got == 0) {
        // ENOTCONN: `to` has gone; its own watch says so.
        if (pass_end) ::shutdown(to, SHUT_WR);
        ended_ = pass_end;
        break;
      }
      held_ = static_cast<size_t>(got);
      continue;
    }
    const ssize_t put = ::splice(pipe_.read.get(), nullptr, to, nullptr, held_, splice_flags);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return Outcome::failed;
    }
    held_ -= static_cast<size_t>(put);
    bytes_ += static_cast<uint64_t>(put);
  }
  if (held_ == 0 && pipe_) pipes.give(std::exchange(pipe_, Pipe{}));
  return Outcome::ok;
}

}  // namespace fairlead::dataplane::userspace

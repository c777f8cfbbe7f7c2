#include "dataplane/userspace/stream.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace fairlead::dataplane::userspace {
namespace {

constexpr size_t largest_move = 1 << 20;  // more than a pipe holds
constexpr size_t little = 1 << 14;        // a read of less is followed by no second one
constexpr int rounds = 4;                 // per call, so that others have their turn
constexpr unsigned splice_flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

bool is_temporary(int error) { return error == EAGAIN || error == EINTR; }

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

// One read and one write.
Stream::Moved Stream::move(int from, int to, PipePool& pipes) {
  if (held_ == 0) {
    if (!pipe_) pipe_ = pipes.take();
    if (!pipe_) return Moved::failed;
    const ssize_t got =
        ::splice(from, nullptr, pipe_.write.get(), nullptr, largest_move, splice_flags);
    if (got < 0) return is_temporary(errno) ? Moved::nothing : Moved::failed;
    ended_ = got == 0;
    held_ = static_cast<size_t>(got);
    if (ended_) return Moved::nothing;
  }
  const size_t had = held_;
  const ssize_t put = ::splice(pipe_.read.get(), nullptr, to, nullptr, held_, splice_flags);
  if (put < 0) return is_temporary(errno) ? Moved::nothing : Moved::failed;
  held_ -= static_cast<size_t>(put);
  bytes_ += static_cast<uint64_t>(put);
  // So little at once was all that was there, as a rule; if not, its watch says so.
  return held_ == 0 && had < little ? Moved::all : Moved::some;
}

Stream::Outcome Stream::pump(int from, int to, PipePool& pipes) {
  Moved moved = Moved::some;
  for (int i = 0; i < rounds && !ended_ && moved == Moved::some; ++i) {
    moved = move(from, to, pipes);
  }
  if (held_ == 0 && pipe_) pipes.give(std::exchange(pipe_, Pipe{}));
  return moved == Moved::failed ? Outcome::failed : Outcome::ok;
}

void Stream::rescue(int from, int to, PipePool& pipes) {
  for (int i = 0; i < rounds && !ended_; ++i) {
    const Moved moved = move(from, to, pipes);
    if (moved == Moved::nothing || moved == Moved::failed) break;
  }
  if (held_ == 0 && pipe_) pipes.give(std::exchange(pipe_, Pipe{}));
}

}  // namespace fairlead::dataplane::userspace

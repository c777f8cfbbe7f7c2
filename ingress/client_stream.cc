#include "ingress/client_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace fairlead::ingress {
namespace {

Io io_of(ssize_t result) {
  if (result > 0) return {Io::State::ok, static_cast<size_t>(result)};
  if (result == 0) return {Io::State::end};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {Io::State::again};
  return {Io::State::error};
}

}  // namespace

Gather::Gather(std::string_view first, std::string_view second) {
  for (const std::string_view part : {first, second}) {
    if (!part.empty()) parts_[count_++] = {const_cast<char*>(part.data()), part.size()};
  }
}

Io read_socket(int fd, std::span<char> into) {
  ssize_t result;
  do {
    result = ::recv(fd, into.data(), into.size(), 0);
  } while (result < 0 && errno == EINTR);
  return io_of(result);
}

Io write_socket(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  ssize_t result;
  do {
    result = ::sendmsg(fd, &message, MSG_NOSIGNAL);
  } while (result < 0 && errno == EINTR);
  return io_of(result);
}

void SslFree::operator()(ssl_st* session) const { SSL_free(session); }

Io ClientStream::tls_result(int result) {
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {Io::State::again};
    case SSL_ERROR_ZERO_RETURN:
      return {Io::State::end};
    default:
      ERR_clear_error();
      return {Io::State::error};
  }
}

Io ClientStream::read(std::span<char> into) {
  if (session_ == nullptr) return read_socket(fd_.get(), into);
  ERR_clear_error();
  size_t bytes = 0;
  const int result = SSL_read_ex(session_.get(), into.data(), into.size(), &bytes);
  if (result == 1) {
    read_wants_write_ = false;
    return {Io::State::ok, bytes};
  }
  read_wants_write_ = SSL_want_write(session_.get());
  return tls_result(result);
}

Io ClientStream::write(const iovec* parts, int count) {
  if (session_ == nullptr) return write_socket(fd_.get(), parts, count);
  ERR_clear_error();
  // One record for a small head and the body behind it.
  constexpr size_t record_bytes = 16 * 1024;
  char record[record_bytes];
  const char* data = static_cast<const char*>(parts[0].iov_base);
  size_t size = parts[0].iov_len;
  if (count > 1 && size < record_bytes) {
    std::memcpy(record, data, size);
    for (int i = 1; i < count; ++i) {
      const size_t more = std::min(parts[i].iov_len, record_bytes - size);
      std::memcpy(record + size, parts[i].iov_base, more);
      size += more;
    }
    data = record;
  }
  size_t bytes = 0;
  const int result = SSL_write_ex(session_.get(), data, size, &bytes);
  if (result == 1) return {Io::State::ok, bytes};
  const Io io = tls_result(result);
  return io.state == Io::State::end ? Io{Io::State::error} : io;
}

void ClientStream::shutdown_write() {
  if (session_ != nullptr && SSL_is_init_finished(session_.get())) {
    ERR_clear_error();
    SSL_shutdown(session_.get());
    ERR_clear_error();
  }
  ::shutdown(fd_.get(), SHUT_WR);
}

void ClientStream::reset_on_close() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void ClientStream::close() {
  session_.reset();
  fd_.reset();
}

}  // namespace fairlead::ingress

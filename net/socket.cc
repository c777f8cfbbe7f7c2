#include "net/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/text.h"

namespace fairlead::net {
namespace {

constexpr int backlog = 4096;  // the kernel cuts it to net.core.somaxconn

std::unexpected<Error> fail_errno(std::string_view what, std::string_view where) {
  const int error = errno;
  return fail(cat(what, " ", where, ": ", errno_text(error)));
}

Result<RawAddress> raw_unix(const std::string& path) {
  RawAddress raw;
  auto* un = reinterpret_cast<sockaddr_un*>(&raw.storage);
  if (path.empty() || path.size() >= sizeof un->sun_path) {
    return fail(cat("unix socket path \"", path, "\": expected 1 to ", sizeof un->sun_path - 1,
                    " bytes, it has ", path.size()));
  }
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.c_str(), path.size() + 1);
  raw.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return raw;
}

// A wildcard IPv6 socket takes both families; where the namespace has no IPv6 it becomes an IPv4
// one.
Result<Fd> open_bound(const SocketAddress& address, int type, bool reuse_port) {
  const RawAddress raw = to_raw(address);
  Fd fd(::socket(raw.storage.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const bool wildcard6 = address.ip == Ip{};
  if (!fd && wildcard6 && errno == EAFNOSUPPORT) {
    return open_bound({Ip::v4(0), address.port}, type, reuse_port);
  }
  if (!fd) return fail_errno("cannot open a socket for", address.to_string());
  const int on = 1, off = 0;
  if (type == SOCK_STREAM) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (reuse_port) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  if (raw.storage.ss_family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, wildcard6 ? &off : &on, sizeof on);
  }
  if (::bind(fd.get(), raw.get(), raw.size) != 0) {
    if (wildcard6 && errno == EADDRNOTAVAIL) {
      return open_bound({Ip::v4(0), address.port}, type, reuse_port);
    }
    return fail_errno("cannot bind", address.to_string());
  }
  return fd;
}

// Answers leave at once, and a peer that vanished without a word is noticed within two minutes: a
// watch may wait for hours without sending anything itself.
void tune_tcp(int fd) {
  const int on = 1, idle_s = 60, interval_s = 15, probes = 4;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
  ::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

Result<Fd> finish_connect(Fd fd, const RawAddress& raw, std::string_view where) {
  if (::connect(fd.get(), raw.get(), raw.size) != 0 && errno != EINPROGRESS) {
    return fail_errno("cannot connect to", where);
  }
  return fd;
}

// True when the file at `path` may be replaced: there is none, or a socket without a listener.
Result<void> clear_stale_socket(const std::string& path, const RawAddress& raw) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) return {};  // bind reports what is wrong with the folder
  if (!S_ISSOCK(info.st_mode)) {
    return fail(cat("cannot listen on ", path, ": a file that is no socket is there"));
  }
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const bool refused = ::connect(probe.get(), raw.get(), raw.size) != 0 && errno == ECONNREFUSED;
  if (!refused) return fail(cat("cannot listen on ", path, ": the socket is in use"));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("cannot replace", path);
  return {};
}

}  // namespace

std::string errno_text(int error) { return std::generic_category().message(error); }

RawAddress to_raw(const SocketAddress& address) {
  RawAddress raw;
  if (address.ip.is_v4()) {
    auto* in = reinterpret_cast<sockaddr_in*>(&raw.storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(address.port);
    in->sin_addr.s_addr = htonl(address.ip.to_v4());
    raw.size = sizeof *in;
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&raw.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(address.port);
    std::memcpy(&in6->sin6_addr, address.ip.bytes.data(), 16);
    raw.size = sizeof *in6;
  }
  return raw;
}

SocketAddress from_raw(const sockaddr_storage& raw) {
  SocketAddress address{Ip::v4(0), 0};
  if (raw.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(raw);
    address = {Ip::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  } else if (raw.ss_family == AF_INET6) {
    const auto& in6 = reinterpret_cast<const sockaddr_in6&>(raw);
    std::memcpy(address.ip.bytes.data(), &in6.sin6_addr, 16);
    address.port = ntohs(in6.sin6_port);
  }
  return address;
}

Result<SocketAddress> local_address(int fd) {
  sockaddr_storage raw{};
  socklen_t size = sizeof raw;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &size) != 0) {
    return fail_errno("getsockname of", "a socket");
  }
  return from_raw(raw);
}

Result<Fd> listen_tcp(const SocketAddress& address, bool reuse_port) {
  FL_TRY(Fd fd, open_bound(address, SOCK_STREAM, reuse_port));
  tune_tcp(fd.get());  // accepted sockets inherit it
  if (::listen(fd.get(), backlog) != 0) {
    return fail_errno("cannot listen on", address.to_string());
  }
  return fd;
}

Result<Fd> bind_udp(const SocketAddress& address, bool reuse_port) {
  return open_bound(address, SOCK_DGRAM, reuse_port);
}

Result<Fd> listen_unix(const std::string& path, int mode) {
  FL_TRY(const RawAddress raw, raw_unix(path));
  FL_TRY_VOID(clear_stale_socket(path, raw));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket for", path);
  // The mode is right before anybody can connect: nobody can until listen().
  if (::bind(fd.get(), raw.get(), raw.size) != 0) return fail_errno("cannot bind", path);
  if (::chmod(path.c_str(), static_cast<mode_t>(mode)) != 0) return fail_errno("chmod", path);
  if (::listen(fd.get(), backlog) != 0) return fail_errno("cannot listen on", path);
  return fd;
}

Result<Fd> start_connect(const SocketAddress& address) {
  const RawAddress raw = to_raw(address);
  Fd fd(::socket(raw.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket for", address.to_string());
  tune_tcp(fd.get());
  return finish_connect(std::move(fd), raw, address.to_string());
}

Result<Fd> start_connect_unix(const std::string& path) {
  FL_TRY(const RawAddress raw, raw_unix(path));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket for", path);
  return finish_connect(std::move(fd), raw, path);
}

}  // namespace fairlead::net

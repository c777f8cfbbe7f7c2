#include "dataplane/userspace/sockets.h"

#include <linux/filter.h>
#include <linux/in6.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

constexpr int backlog = 4096;  // the kernel cuts it to net.core.somaxconn

void set(const net::Fd& fd, int level, int name, int value) {
  ::setsockopt(fd.get(), level, name, &value, sizeof value);
}

std::unexpected<Error> fail_errno(std::string_view what, const SocketAddress& where) {
  return fail(cat(what, " ", where.to_string(), ": ", net::errno_text(errno)));
}

// `free`: the address may be one that no link has. For IPv6 a local route is not enough.
Result<net::Fd> open_bound(const SocketAddress& address, int type, bool free = false) {
  const net::RawAddress raw = net::to_raw(address);
  net::Fd fd(::socket(raw.storage.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket for", address);
  if (type == SOCK_DGRAM) {
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    // Beside a server of this node that has the port on every address, as the cluster DNS does.
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  }
  if (free) {
    set(fd, IPPROTO_IP, IP_FREEBIND, 1);
    if (raw.storage.ss_family == AF_INET6) set(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
  }
  if (::bind(fd.get(), raw.get(), raw.size) != 0) return fail_errno("cannot bind", address);
  return fd;
}

// To ::ffff:127.0.0.1: bound to an IPv6 address, a socket would become IPV6_V6ONLY.
Result<net::Fd> open_captured(int type) {
  const Ip loopback = Ip::v4(0x7f000001);
  net::Fd fd(::socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return open_bound({loopback, 0}, type);
  set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  std::memcpy(&name.sin6_addr, loopback.bytes.data(), loopback.bytes.size());
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0) {
    return fail_errno("cannot bind a socket for both families to", {loopback, 0});
  }
  return fd;
}

}  // namespace

Result<net::Fd> open_captured_tcp() {
  FL_TRY(net::Fd fd, open_captured(SOCK_STREAM));
  // Accepted sockets inherit these. They have the port that was dialled, also while they wait in
  // TIME_WAIT: without SO_REUSEADDR nobody on this node could bind it. A client that vanished
  // without a word is noticed.
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  probe_silence(fd);
  if (::listen(fd.get(), backlog) != 0) {
    return fail(cat("cannot listen for captured connections: ", net::errno_text(errno)));
  }
  return fd;
}

Result<net::Fd> open_captured_udp() {
  FL_TRY(net::Fd fd, open_captured(SOCK_DGRAM));
  set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1);
  set(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1);
  set(fd, SOL_SOCKET, SO_RCVBUF, 4 << 20);  // cut to net.core.rmem_max
  return fd;
}

Result<net::Fd> open_dropping(int type) {
  FL_TRY(net::Fd fd, open_captured(type));
  sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);  // so many bytes of each packet pass
  const sock_fprog program{1, &nothing};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      (type == SOCK_STREAM && ::listen(fd.get(), 1) != 0)) {
    return fail(cat("cannot make a socket that drops: ", net::errno_text(errno)));
  }
  return fd;
}

Result<net::Fd> open_answering_udp(const SocketAddress& dialled) {
  return open_bound(dialled, SOCK_DGRAM, true);
}

Result<net::Fd> connect_udp(const SocketAddress& backend) {
  const net::RawAddress raw = net::to_raw(backend);
  net::Fd fd(::socket(raw.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket for", backend);
  if (::connect(fd.get(), raw.get(), raw.size) != 0) {
    return fail_errno("cannot connect to", backend);
  }
  return fd;
}

Result<net::Fd> connect_tcp(const SocketAddress& backend) {
  const net::RawAddress raw = net::to_raw(backend);
  net::Fd fd(::socket(raw.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("cannot open a socket for", backend);
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (::connect(fd.get(), raw.get(), raw.size) != 0 && errno != EINPROGRESS) {
    return fail_errno("cannot connect to", backend);
  }
  return fd;
}

void probe_silence(const net::Fd& tcp) {
  const int idle_s = 60, interval_s = 15, probes = 4;
  set(tcp, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(tcp, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
  set(tcp, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
  set(tcp, IPPROTO_TCP, TCP_KEEPCNT, probes);
}

SocketAddress dialled_address(const msghdr& message) {
  for (const cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(part))) {
    const bool v4 = part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_ORIGDSTADDR &&
                    part->cmsg_len >= CMSG_LEN(sizeof(sockaddr_in));
    const bool v6 = part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_ORIGDSTADDR &&
                    part->cmsg_len >= CMSG_LEN(sizeof(sockaddr_in6));
    if (!v4 && !v6) continue;
    sockaddr_storage raw{};
    std::memcpy(&raw, CMSG_DATA(part), v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    const SocketAddress address = net::from_raw(raw);
    // Of an IPv4 datagram the AF_INET6 socket may say both; the mapped one is the same address.
    if (address.port != 0) return address;
  }
  return {};
}

void reset_on_close(const net::Fd& fd) {
  const linger now{1, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace fairlead::dataplane::userspace

// Non-blocking, close-on-exec sockets, and the kernel's form of an address.
#pragma once

#include <sys/socket.h>

#include <string>

#include "base/ip.h"
#include "base/result.h"
#include "net/fd.h"

namespace fairlead::net {

struct RawAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

RawAddress to_raw(const SocketAddress& address);      // AF_INET for IPv4, else AF_INET6
SocketAddress from_raw(const sockaddr_storage& raw);  // 0.0.0.0:0 when it is neither
Result<SocketAddress> local_address(int fd);

std::string errno_text(int error);  // "Connection refused"

// `::` also takes IPv4, and means every IPv4 address where the namespace has no IPv6.
// `reuse_port`: several sockets share the port, one per worker.
Result<Fd> listen_tcp(const SocketAddress& address, bool reuse_port = false);
Result<Fd> bind_udp(const SocketAddress& address, bool reuse_port = false);

// Replaces a stale socket file, one that nobody listens on; a file that is no socket, or a socket
// in use, is an error. `mode` as chmod.
Result<Fd> listen_unix(const std::string& path, int mode);

// Connection under way: writable when it is made or has failed (SO_ERROR says).
Result<Fd> start_connect(const SocketAddress& address);
Result<Fd> start_connect_unix(const std::string& path);

}  // namespace fairlead::net

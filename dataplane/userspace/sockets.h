// The sockets of the forwarder. All are non-blocking and close-on-exec, in the namespace of the
// calling thread.
#pragma once

#include <sys/socket.h>

#include "base/ip.h"
#include "base/result.h"
#include "net/fd.h"
#include "net/socket.h"

namespace fairlead::dataplane::userspace {

// Bound to loopback, where only the capture finds them, and for both families: an AF_INET6 socket
// that is not IPV6_V6ONLY may be assigned to IPv4 packets (bpf_sk_assign()). Where there is no
// IPv6, for IPv4 only.
Result<net::Fd> open_captured_tcp();
Result<net::Fd> open_captured_udp();  // also says to which address each datagram was sent

// Sends answers from the address that a client dialled. Several may have one address; none of them
// ever receives anything there, because the capture comes first. A server of another user, or
// without SO_REUSEPORT, that has the port on every address stands in the way.
Result<net::Fd> open_answering_udp(const SocketAddress& dialled);
Result<net::Fd> connect_udp(const SocketAddress& backend);

// The address that a datagram was sent to, out of its control messages (ip(7), IP_RECVORIGDSTADDR;
// IPV6_RECVORIGDSTADDR). Port 0 when it is not there.
SocketAddress dialled_address(const msghdr& message);

// Closing it sends RST instead of FIN.
void reset_on_close(const net::Fd& fd);

}  // namespace fairlead::dataplane::userspace

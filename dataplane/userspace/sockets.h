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

// The same, but what the kernel gives to it is gone without a word: a SYN gets neither an answer
// nor RST.
Result<net::Fd> open_dropping(int type);

// Sends answers from the address that a client dialled. Several may have one address; none of them
// ever receives anything there, because the capture comes first. A server of another user, or
// without SO_REUSEPORT, that has the port on every address stands in the way.
Result<net::Fd> open_answering_udp(const SocketAddress& dialled);
Result<net::Fd> connect_udp(const SocketAddress& backend);
Result<net::Fd> connect_tcp(const SocketAddress& backend);  // begun: writable says that it is over

// From now on a peer that vanished without a word is noticed, in two minutes.
void probe_silence(const net::Fd& tcp);

// The address that a datagram was sent to, out of its control messages (ip(7), IP_RECVORIGDSTADDR;
// IPV6_RECVORIGDSTADDR). Port 0 when it is not there.
SocketAddress dialled_address(const msghdr& message);

// Closing it sends RST instead of FIN.
void reset_on_close(const net::Fd& fd);

}  // namespace fairlead::dataplane::userspace

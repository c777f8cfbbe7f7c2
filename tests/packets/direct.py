"""Direct server return: what the node that was dialled sends on, and what the backend's node makes of
it."""
import struct

from frames import (BACKEND, BACKEND6, CLIENT, CLIENT6, MASQ, NODE, NODE6, POD, POD6, ROUTER,
                    ROUTER6, VIP, Case, checksum, frame, icmp, ip, ip4, ip6, requoted, tcp, tcp_packet, udp,
                    udp_packet)

FAR, FAR6, OTHER, OTHER6 = "10.2.1.2", "fd04::2", "192.0.2.3", "fd02::3"
LB, LB6, CLIENT_B = "203.0.113.1", "fd03::1", "192.0.2.10"
FIN, SYN, ACK, RST, SYN_ACK = 1, 2, 16, 4, 18
NOPS = bytes([1, 1, 1, 0])
MORE = 0x2000


def services(node, node6, own, more=""):
    """As this node has them; `own`: backends are on it."""
    v4, v6 = (BACKEND, BACKEND6) if own else (FAR, FAR6)
    here = "*" if own else ""
    return f"""node {node}
node {node6}
pods 10.1.0.0/16
pods fd01::/48
services 10.96.0.0/16
{more}default/web TCP {VIP}:80,node:30080,lb:{LB}:80 -> {v4}:8080{here} dsr
default/web6 TCP [fd96::10]:80,node6:30080,lb:[{LB6}]:80 -> [{v6}]:8080{here} dsr
default/dns UDP {VIP}:53,node:30053,lb:{LB}:53 -> {v4}:8053{here} dsr
default/dns6 UDP [fd96::10]:53,node6:30053 -> [{v6}]:8053{here} dsr
default/plain TCP 10.96.0.11:80,node:30090 -> {v4}:8090{here}
default/itself TCP 10.96.0.12:80,node:30081 -> {FAR}:8081 dsr
default/full TCP 10.96.0.13:80,node:30082 -> {FAR}:8082 dsr
default/full6 TCP [fd96::13]:80,node6:30082 -> [{FAR6}]:8082 dsr
default/local TCP 10.96.0.14:80,node:30083 -> {BACKEND}:8083* dsr
default/strict TCP 10.96.0.15:80,node:30084! -> {BACKEND}:8084*,{FAR}:8084 dsr
default/lone UDP 10.96.0.16:53,node:30055 -> {FAR}:8055 dsr
default/pod TCP 10.96.0.17:80,node:30085 -> {FAR}:8085 dsr
"""


def word4(address, port, kind=0x9e, size=8):
    return struct.pack("!BBH4s", kind, size, port, ip(address))


def word6(address, port, following, units=2, kind=0x1e, size=18, pad=1):
    return struct.pack("!BBBB16sHBB", following, units, kind, size, ip(address), port, pad, 0)


def told(src, dst, sport, dport, address, port, flags=SYN, before=b"", payload=None):
    """From the node that was dialled, with its word; `before`: options that the client had."""
    v6 = ":" in src
    if payload is None:
        protocol, data = 6, tcp(src, dst, sport, dport, flags)
    else:
        protocol, data = 17, udp(src, dst, sport, dport, payload=payload)
    if v6:
        return frame(ip6(src, dst, 60, word6(address, port, protocol) + data))
    return frame(ip4(src, dst, protocol, data, options=word4(address, port) + before))


def dialled():
    case = Case("dsr_dialled", "Direct return: what the node sends on that a client dials.",
                services(NODE, NODE6, False))

    def goes(what, src, dst, port, backend, backend_port, sport=40000):
        case.step("ingress", what, frame(tcp_packet(src, dst, sport, port)), "ok",
                  told(src, backend, sport, backend_port, dst, port))
        case.same("egress", "with the client's address",
                  told(src, backend, sport, backend_port, dst, port))

    def masqueraded(what, src, dst, port, backend, backend_port, make=tcp_packet, **more):
        v6 = ":" in src
        node = NODE6 if v6 else NODE
        case.step("ingress", what, frame(make(src, dst, 5000, port, **more)), "ok",
                  frame(make(src, backend, 5000, backend_port, **more)))
        case.step("egress", "as the node", frame(make(src, backend, 5000, backend_port, **more)),
                  "ok", frame(make(node, backend, MASQ, backend_port, **more)))

    for client, node, lb, far in ((CLIENT, NODE, LB, FAR), (CLIENT6, NODE6, LB6, FAR6)):
        goes("a node port", client, node, 30080, far, 8080)
        goes("again: nobody answered", client, node, 30080, far, 8080)
        case.step("ingress", "later packets need no word",
                  frame(tcp_packet(client, node, 40000, 30080, ACK, ack=7)), "ok",
                  frame(tcp_packet(client, far, 40000, 8080, ACK, ack=7)))
        goes("a load balancer", client, lb, 80, far, 8080, sport=40001)
        case.step("ingress", "to the same backend by another way, with the same port",
                  frame(tcp_packet(client, lb, 40000, 80)), "drop")
        case.step("ingress", "the client closes",
                  frame(tcp_packet(client, node, 40000, 30080, FIN | ACK, ack=7)), "ok",
                  frame(tcp_packet(client, far, 40000, 8080, FIN | ACK, ack=7)))
        case.step("ingress", "now the other way is free",
                  frame(tcp_packet(client, lb, 40000, 80)), "ok",
                  told(client, far, 40000, 8080, lb, 80))
    masqueraded("a ClusterIP", CLIENT, VIP, 80, FAR, 8080)
    masqueraded("a service without", CLIENT, NODE, 30090, FAR, 8090)
    masqueraded("a backend of this node", CLIENT, NODE, 30083, BACKEND, 8083)
    masqueraded("a backend that dials itself", FAR, NODE, 30081, FAR, 8081)
    masqueraded("a pod of this node", POD, NODE, 30085, FAR, 8085)
    case.step("ingress", "policy Local", frame(tcp_packet(CLIENT, NODE, 5000, 30084)), "ok",
              frame(tcp_packet(CLIENT, BACKEND, 5000, 8084)))
    options(case, masqueraded)
    datagrams(case)
    errors(case)
    case.step("ingress", "nobody but a node has a word to say",
              told(CLIENT, NODE, 6000, 30080, LB, 80), "drop")
    case.same("ingress", "nor to a load balancer", told(CLIENT, LB, 6000, 80, NODE, 30080))
    case.write()


def options(case, masqueraded):
    def with_options(count):
        def make(src, dst, sport, dport):
            return ip4(src, dst, 6, tcp(src, dst, sport, dport, SYN), options=NOPS * count)
        return make

    def hop_by_hop(src, dst, sport, dport):
        hop = bytes([6, 0, 1, 4, 0, 0, 0, 0])
        return ip6(src, dst, 0, hop + tcp(src, dst, sport, dport, SYN))
    for count in (1, 8):
        case.step("ingress", f"behind {count * 4} bytes of options, in front of them",
                  frame(with_options(count)(CLIENT, NODE, 41000 + count, 30080)), "ok",
                  told(CLIENT, FAR, 41000 + count, 8080, NODE, 30080, before=NOPS * count))
    masqueraded("no room for an option", CLIENT, NODE, 30082, FAR, 8082, with_options(9))
    masqueraded("hop-by-hop options stay the first", CLIENT6, NODE6, 30082, FAR6, 8082, hop_by_hop)


def datagrams(case):
    for client, node, far in ((CLIENT, NODE, FAR), (CLIENT6, NODE6, FAR6)):
        for what in ("a datagram", "and the next"):
            case.step("ingress", what,
                      frame(udp_packet(client, node, 40000, 30053, payload=what.encode())), "ok",
                      told(client, far, 40000, 8053, node, 30053, payload=what.encode()))
    payload = bytes(range(64))
    before = udp(CLIENT, NODE, 40002, 30053, payload=payload)
    after = udp(CLIENT, FAR, 40002, 8053, payload=payload)
    case.step("ingress", "the first fragment", frame(ip4(CLIENT, NODE, 17, before[:40],
                                                         fragment=MORE)), "ok",
              frame(ip4(CLIENT, FAR, 17, after[:40], fragment=MORE, options=word4(NODE, 30053))))
    case.step("ingress", "a later one", frame(ip4(CLIENT, NODE, 17, before[40:], fragment=5)),
              "ok", frame(ip4(CLIENT, FAR, 17, after[40:], fragment=5)))
    masked = ip4(CLIENT, NODE, 17, udp(CLIENT, NODE, 5000, 30055), options=NOPS * 9)
    sent = ip4(CLIENT, FAR, 17, udp(CLIENT, FAR, 5000, 8055), options=NOPS * 9)
    case.step("ingress", "no room in the first datagram", frame(masked), "ok", frame(sent))
    case.step("egress", "as the node", frame(sent), "ok",
              frame(ip4(NODE, FAR, 17, udp(NODE, FAR, MASQ, 8055), options=NOPS * 9)))
    again = ip4(CLIENT, NODE, 6, tcp(CLIENT, NODE, 41001, 30080, SYN), options=NOPS * 9)
    case.step("ingress", "no room in a repeated SYN: it goes without", frame(again), "ok",
              frame(ip4(CLIENT, FAR, 6, tcp(CLIENT, FAR, 41001, 8080, SYN), options=NOPS * 9)))
    late = ip4(CLIENT, NODE, 17, udp(CLIENT, NODE, 40000, 30053), options=NOPS * 9)
    case.step("ingress", "no room in a later one: it goes without", frame(late), "ok",
              frame(ip4(CLIENT, FAR, 17, udp(CLIENT, FAR, 40000, 8053), options=NOPS * 9)))


def errors(case):
    big = told(CLIENT, FAR, 40000, 8053, NODE, 30053, payload=b"a datagram")[14:]
    quoted = ip4(CLIENT, NODE, 17, b"", options=word4(NODE, 30053))
    quoted = quoted[:2] + big[2:4] + quoted[4:10] + b"\0\0" + quoted[12:]
    quoted = renewed(quoted) + struct.pack("!HH", 40000, 30053) + big[32:]
    case.step("egress", "too big for its way: the sender is told to leave room for the word",
              frame(icmp(NODE, CLIENT, 3, 4, 1500, big)), "ok",
              frame(icmp(NODE, CLIENT, 3, 4, 1492, quoted)))
    case.step("egress", "another error", frame(icmp(NODE, CLIENT, 3, 1, 1500, big)), "ok",
              frame(icmp(NODE, CLIENT, 3, 1, 1500, quoted)))
    small = tcp_packet(CLIENT, FAR, 41001, 8080, ACK, ack=7)
    case.step("egress", "too big, and had no word",
              frame(icmp(ROUTER, CLIENT, 3, 4, 1500, small)), "ok",
              frame(icmp(ROUTER, CLIENT, 3, 4, 1500,
                         requoted(small, CLIENT, NODE, 41001, 30080))))
    big = told(CLIENT6, FAR6, 40000, 8053, NODE6, 30053, payload=b"a datagram")[14:]
    quoted = big[:24] + ip(NODE6) + big[40:64] + struct.pack("!HH", 40000, 30053) + big[68:]
    case.step("egress", "too big, IPv6", frame(icmp(NODE6, CLIENT6, 2, 0, 1500, big)), "ok",
              frame(icmp(NODE6, CLIENT6, 2, 0, 1476, quoted)))
    answer = tcp_packet(NODE, CLIENT, 30080, 40000, SYN_ACK, ack=7)
    case.step("ingress", "an error about an answer, which never was here",
              frame(icmp(ROUTER, NODE, 3, 4, 1400, answer)), "ok",
              frame(icmp(ROUTER, FAR, 3, 4, 1400, requoted(answer, FAR, CLIENT, 8080, 40000))))
    answer = tcp_packet(NODE6, CLIENT6, 30080, 40000, SYN_ACK, ack=7)
    case.step("ingress", "the same over IPv6",
              frame(icmp(ROUTER6, NODE6, 2, 0, 1400, answer)), "ok",
              frame(icmp(ROUTER6, FAR6, 2, 0, 1400,
                         requoted(answer, FAR6, CLIENT6, 8080, 40000))))


def renewed(header):
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:]


def answered():
    case = Case("dsr_backend", "Direct return: what the backend's node makes of another's word.",
                services(OTHER, OTHER6, True))

    def taken(what, src, dst, sport, dport, address, port, **more):
        clean = dict(more)
        before = clean.pop("before", b"")
        data = clean.get("payload")
        if data is not None:
            after = udp_packet(src, dst, sport, dport, payload=data)
        elif before:
            after = ip4(src, dst, 6, tcp(src, dst, sport, dport, SYN), options=before)
        else:
            after = tcp_packet(src, dst, sport, dport)
        case.step("ingress", what, told(src, dst, sport, dport, address, port, **more), "ok",
                  frame(after))

    def refused(what, dst=BACKEND, dport=8080, address=NODE, port=30080, sport=45000):
        case.step("ingress", what, told(CLIENT, dst, sport, dport, address, port), "drop")

    for client, node, backend, lb in ((CLIENT, NODE, BACKEND, LB),
                                      (CLIENT6, NODE6, BACKEND6, LB6)):
        taken("a node port of another node", client, backend, 40000, 8080, node, 30080)
        case.step("egress", "the answer", frame(tcp_packet(backend, client, 8080, 40000, SYN_ACK)),
                  "ok", frame(tcp_packet(node, client, 30080, 40000, SYN_ACK)))
        case.same("ingress", "the client's next, by the other node",
                  frame(tcp_packet(client, backend, 40000, 8080, ACK)))
        taken("the same again", client, backend, 40000, 8080, node, 30080)
        case.step("ingress", "another way, while that one lives",
                  told(client, backend, 40000, 8080, lb, 80), "drop")
        case.step("egress", "it ends", frame(tcp_packet(backend, client, 8080, 40000, RST)), "ok",
                  frame(tcp_packet(node, client, 30080, 40000, RST)))
        taken("now another way is free", client, backend, 40000, 8080, lb, 80)
        case.step("egress", "a load balancer's answer",
                  frame(tcp_packet(backend, client, 8080, 40000, SYN_ACK)), "ok",
                  frame(tcp_packet(lb, client, 80, 40000, SYN_ACK)))
        case.step("egress", "the backend closes",
                  frame(tcp_packet(backend, client, 8080, 40000, FIN | ACK)), "ok",
                  frame(tcp_packet(lb, client, 80, 40000, FIN | ACK)))
        taken("and the first way is free again", client, backend, 40000, 8080, node, 30080)
        for what in ("a datagram", "and the next"):
            taken(what, client, backend, 40000, 8053, node, 30053, payload=what.encode())
        case.step("egress", "its answer", frame(udp_packet(backend, client, 8053, 40000)), "ok",
                  frame(udp_packet(node, client, 30053, 40000)))
    case.step("ingress", "a datagram by another way, while that one lives",
              told(CLIENT, BACKEND, 40000, 8053, LB, 53, payload=b"query"), "drop")
    taken("in front of other options", CLIENT, BACKEND, 40003, 8080, NODE, 30080, before=NOPS)
    fragments_of(case)
    refused("a service that does not have direct return", dport=8090, port=30090)
    refused("a port that no service has", port=30099)
    refused("a ClusterIP", address=VIP, port=80)
    refused("not one of its backends", dport=22)
    refused("not a host's address", address="127.0.0.1")
    refused("many hosts' address", address="224.0.0.1")
    refused("nobody's address", address="0.0.0.0")
    refused("an address of this node", address=OTHER)
    refused("a pod's address", address=POD)
    refused("an address of the service range", address="10.96.7.7")
    case.step("ingress", "IPv6: many hosts' address",
              told(CLIENT6, BACKEND6, 45000, 8080, "ff02::1", 30080), "drop")
    case.step("ingress", "IPv6: a pod's address",
              told(CLIENT6, BACKEND6, 45000, 8080, POD6, 30080), "drop")
    case.same("ingress", "on its way to another node", told(CLIENT, FAR, 45000, 8081, NODE, 30081))
    case.same("ingress", "not the beginning of a connection",
              told(CLIENT, BACKEND, 45001, 8080, NODE, 30080, flags=ACK))
    case.same("egress", "of which nothing is known",
              frame(tcp_packet(BACKEND, CLIENT, 8080, 45001, ACK)))
    malformed(case)
    case.write()


def networks():
    case = Case("dsr_networks", "Direct return: nodes are where they are said to be.",
                services(OTHER, OTHER6, True,
                         "nodes 192.0.2.0/25\nnodes 203.0.113.128/25\nnodes fd02::/64\n"))
    believed_of(case, (
        (CLIENT, BACKEND, NODE, True), (CLIENT, BACKEND, "203.0.113.200", True),
        (CLIENT, BACKEND, "203.0.113.100", False), (CLIENT, BACKEND, "192.0.2.129", False),
        (CLIENT6, BACKEND6, NODE6, True), (CLIENT6, BACKEND6, "fd02:0:0:1::1", False)))
    case.step("ingress", "a load balancer is nowhere", told(CLIENT, BACKEND, 39999, 8080, LB, 80),
              "ok", frame(tcp_packet(CLIENT, BACKEND, 39999, 8080)))
    case.write()
    case = Case("dsr_networks_by_family", "Direct return: IPv6 nodes may be anywhere, which says "
                                          "nothing of IPv4.",
                services(OTHER, OTHER6, True, "nodes ::/0\nnodes 192.0.2.0/25\n"))
    believed_of(case, (
        (CLIENT, BACKEND, NODE, True), (CLIENT, BACKEND, "203.0.113.200", False),
        (CLIENT6, BACKEND6, NODE6, True), (CLIENT6, BACKEND6, "fd02:0:0:1::1", True)))
    case.write()


def believed_of(case, words):
    for src, backend, address, believed in words:
        sport = 40000 + len(case.text) % 9999
        before = told(src, backend, sport, 8080, address, 30080)
        if believed:
            case.step("ingress", f"a node port of {address}", before, "ok",
                      frame(tcp_packet(src, backend, sport, 8080)))
        else:
            case.step("ingress", f"a node port of {address}", before, "drop")


def fragments_of(case):
    payload = bytes(range(64))
    data = udp(CLIENT_B, BACKEND, 40002, 8053, payload=payload)
    word = word4(NODE, 30053)
    case.step("ingress", "the first fragment",
              frame(ip4(CLIENT_B, BACKEND, 17, data[:40], fragment=MORE, options=word)), "ok",
              frame(ip4(CLIENT_B, BACKEND, 17, data[:40], fragment=MORE)))
    case.step("ingress", "a later one, with a copy of the word",
              frame(ip4(CLIENT_B, BACKEND, 17, data[40:], fragment=5, options=word)), "ok",
              frame(ip4(CLIENT_B, BACKEND, 17, data[40:], fragment=5)))
    case.same("ingress", "a later one of nothing that is known",
              frame(ip4(CLIENT_B, BACKEND, 17, data[40:], fragment=5, ident=99, options=word)))


def malformed(case):
    def option(what, word):
        data = tcp(CLIENT, BACKEND, 46000, 8080, SYN)
        case.same("ingress", what, frame(ip4(CLIENT, BACKEND, 6, data, options=word)))

    def header(what, word):
        data = tcp(CLIENT6, BACKEND6, 46000, 8080, SYN)
        case.same("ingress", what, frame(ip6(CLIENT6, BACKEND6, 60, word + data)))
    option("an option of another length", word4(NODE, 30080, size=7))
    option("an option of another type", word4(NODE, 30080, kind=0x5e))
    option("an option that is not the first", NOPS + word4(NODE, 30080))
    option("half an option", word4(NODE, 30080)[:4])
    whole = frame(ip4(CLIENT, BACKEND, 6, tcp(CLIENT, BACKEND, 46000, 8080, SYN),
                      options=word4(NODE, 30080)))
    case.same("ingress", "a packet that ends in the option", whole[:38])
    header("a header of another length", word6(NODE6, 30080, 6, units=3) + bytes(8))
    header("an option of another type", word6(NODE6, 30080, 6, kind=0x5e))
    header("an option of another length", word6(NODE6, 30080, 6, size=17))
    header("without padding", word6(NODE6, 30080, 6, pad=0))
    header("an IPv4 address", word6("::ffff:192.0.2.1", 30080, 6))
    case.same("egress", "none of them was believed",
              frame(tcp_packet(BACKEND, CLIENT, 8080, 46000, SYN_ACK)))


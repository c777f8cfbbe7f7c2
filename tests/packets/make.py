#!/usr/bin/env python3
"""Writes the packet files beside it: each case says what it means here, in addresses and ports, and
becomes bytes there. usage: make.py"""
import struct

import again
import direct
from frames import (BACKEND, BACKEND6, CLIENT, CLIENT6, ETHERNET, MASQ, NODE, NODE6, POD, POD6,
                    ROUTER, ROUTER6, VIP, VIP6, Case, answer, frame, icmp, ip4, ip6, packet,
                    requoted, tcp, tcp_packet, udp, udp_packet)


def node_port(name, about, client, node, backend, make, port, backend_port):
    case = Case(name, about)
    case.step("ingress", "the client's first packet", frame(make(client, node, 40000, port)), "ok",
              frame(make(client, backend, 40000, backend_port)))
    case.step("egress", "on its way to the backend it becomes the node's",
              frame(make(client, backend, 40000, backend_port)), "ok",
              frame(make(node, backend, MASQ, backend_port)))
    case.step("ingress", "the answer is the client's again",
              frame(make(backend, node, backend_port, MASQ)), "ok",
              frame(make(backend, client, backend_port, 40000)))
    case.step("egress", "and comes from where the client sent to",
              frame(make(backend, client, backend_port, 40000)), "ok",
              frame(make(node, client, port, 40000)))
    case.step("ingress", "the second packet", frame(make(client, node, 40000, port)), "ok",
              frame(make(client, backend, 40000, backend_port)))
    case.write()


def cluster_ip():
    case = Case("cluster_ip", "A pod of this node is not masqueraded; UDP keeps \"no checksum\".")
    for pod, vip, backend in ((POD, VIP, BACKEND), (POD6, VIP6, BACKEND6)):
        case.step("ingress", "to the service", frame(udp_packet(pod, vip, 5000, 53)), "ok",
                  frame(udp_packet(pod, backend, 5000, 8053)))
        case.same("egress", "nothing to do on the way out",
                  frame(udp_packet(pod, backend, 5000, 8053)))
        case.step("egress", "the answer", frame(udp_packet(backend, pod, 8053, 5000)), "ok",
                  frame(udp_packet(vip, pod, 53, 5000)))
        case.step("ingress", "an empty datagram", frame(udp_packet(pod, vip, 5003, 53, payload=b"")),
                  "ok", frame(udp_packet(pod, backend, 5003, 8053, payload=b"")))
    case.step("ingress", "no checksum", frame(udp_packet(POD, VIP, 5001, 53, check=0)), "ok",
              frame(udp_packet(POD, BACKEND, 5001, 8053, check=0)))
    case.step("ingress", "hairpin", frame(udp_packet(BACKEND, VIP, 5002, 53)), "ok",
              frame(udp_packet(BACKEND, BACKEND, 5002, 8053)))
    case.step("egress", "a backend that reaches itself is masqueraded",
              frame(udp_packet(BACKEND, BACKEND, 5002, 8053)), "ok",
              frame(udp_packet(NODE, BACKEND, MASQ, 8053)))
    case.write()


def options():
    case = Case("options", "IPv4 options and IPv6 extension headers are stepped over.")
    nops = bytes([1, 1, 1, 0])
    case.step("ingress", "IPv4 with options",
              frame(ip4(POD, VIP, 6, tcp(POD, VIP, 5000, 80, 2), options=nops)), "ok",
              frame(ip4(POD, BACKEND, 6, tcp(POD, BACKEND, 5000, 8080, 2), options=nops)))
    hop = bytes([6, 0, 1, 4, 0, 0, 0, 0])
    both = bytes([60, 0, 1, 4, 0, 0, 0, 0]) + hop
    for name, extension, first in (("hop-by-hop", hop, 0), ("hop-by-hop, destination", both, 0)):
        port = 5000 + len(extension)
        case.step("ingress", name,
                  frame(ip6(POD6, VIP6, first, extension + tcp(POD6, VIP6, port, 80, 2))), "ok",
                  frame(ip6(POD6, BACKEND6, first,
                            extension + tcp(POD6, BACKEND6, port, 8080, 2))))
    endless = b"".join(bytes([60, 0, 1, 4, 0, 0, 0, 0]) for _ in range(7))
    case.same("ingress", "too many extension headers",
              frame(ip6(POD6, VIP6, 60, endless + hop + tcp(POD6, VIP6, 5900, 80, 2))))
    case.write()


def fragments():
    case = Case("fragments", "Later fragments follow the first one, which has the ports.")
    payload, more = bytes(range(64)), 0x2000

    def whole(src, dst, sport, dport):
        return udp(src, dst, sport, dport, payload=payload)
    before, after = whole(POD, VIP, 5000, 53), whole(POD, BACKEND, 5000, 8053)
    case.same("ingress", "a later one that comes first passes as it is",
              frame(ip4(POD, VIP, 17, before[40:], fragment=5, ident=99)))
    case.step("ingress", "first", frame(ip4(POD, VIP, 17, before[:40], fragment=more)), "ok",
              frame(ip4(POD, BACKEND, 17, after[:40], fragment=more)))
    case.step("ingress", "later", frame(ip4(POD, VIP, 17, before[40:], fragment=5)), "ok",
              frame(ip4(POD, BACKEND, 17, after[40:], fragment=5)))
    before, after = whole(POD6, VIP6, 5000, 53), whole(POD6, BACKEND6, 5000, 8053)

    def header(offset, last):
        return struct.pack("!BBHI", 17, 0, offset << 3 | (0 if last else 1), 0x1234)
    case.step("ingress", "first, IPv6", frame(ip6(POD6, VIP6, 44, header(0, False) + before[:40])),
              "ok", frame(ip6(POD6, BACKEND6, 44, header(0, False) + after[:40])))
    case.step("ingress", "later, IPv6", frame(ip6(POD6, VIP6, 44, header(5, True) + before[40:])),
              "ok", frame(ip6(POD6, BACKEND6, 44, header(5, True) + after[40:])))
    case.write()


def truncated():
    case = Case("truncated", "What ends too early, or is something else, passes as it is.")
    full = frame(tcp_packet(POD, VIP, 5000, 80))
    for length in (34, 36, 37):  # test_run itself wants a whole IP header
        case.same("ingress", f"IPv4 TCP, {length} bytes", full[:length])
    full6 = frame(tcp_packet(POD6, VIP6, 5000, 80))
    for length in (54, 56, 57):
        case.same("ingress", f"IPv6 TCP, {length} bytes", full6[:length])
    case.same("ingress", "an IPv4 header length of 16", full[:14] + b"\x44" + full[15:])
    case.same("ingress", "version 5 in an IPv4 frame", full[:14] + b"\x55" + full[15:])
    case.same("ingress", "ARP", ETHERNET + b"\x08\x06" + bytes(28))
    case.same("ingress", "ping", frame(icmp(POD, VIP, 8, 0, 1, b"payload ")))
    case.same("ingress", "an error about half a header",
              frame(icmp(ROUTER, NODE, 3, 1, 0, tcp_packet(NODE, BACKEND, MASQ, 8080)[:18])))
    case.same("ingress", "an error about an error", frame(icmp(
        ROUTER, NODE, 3, 1, 0, icmp(NODE, BACKEND, 3, 1, 0, b"x" * 28))))
    case.same("ingress", "an error about a later fragment", frame(icmp(
        ROUTER, NODE, 3, 1, 0, ip4(NODE, BACKEND, 6, bytes(16), fragment=5))))
    case.same("ingress", "the middle of a connection of which nobody saw the beginning",
              frame(tcp_packet(POD, VIP, 5000, 80, flags=0x18, ack=77, payload=b"hello")))
    case.same("ingress", "SCTP", frame(ip4(POD, VIP, 132, bytes(32))))
    case.same("ingress", "a reset that belongs to nothing",
              frame(tcp_packet(POD, VIP, 5000, 80, flags=4)))
    case.write()


def policies():
    lb, lb6, far = "203.0.113.1", "fd03::1", "10.2.1.2"
    case = Case("policies", "Who gets which backends, and who keeps an address.", f"""node {NODE}
node {NODE6}
node 192.0.2.3
ports-on {NODE}
ports-on {NODE6}
pods 10.1.0.0/16
pods fd01::/48
services 10.96.0.0/16
services fd96::/112
default/ext TCP 10.96.0.20:80,node:30080!,lb:{lb}:80! -> {BACKEND}:8080^,{far}:8080
default/in TCP 10.96.0.21:80! -> {BACKEND}:8080*
default/lb TCP 10.96.0.22:80,lb:{lb}:81 -> {BACKEND}:8081* from=192.0.2.8/30
default/lb6 TCP [fd96::22]:80,lb:[{lb6}]:81 -> [{BACKEND6}]:8081* from=fd02::/64
default/mine TCP 10.96.0.23:80,lb:{lb}:82 -> {BACKEND}:8082* from=192.0.2.3/32
default/out TCP 10.96.0.25:80 -> {far}:8085
default/empty TCP 10.96.0.24:80,node:30081! -> {far}:8080 if-empty=drop
""")

    def goes(what, src, dst, port, backend, backend_port, source=None, source_port=5000):
        case.step("ingress", what, frame(tcp_packet(src, dst, 5000, port)), "ok",
                  frame(tcp_packet(src, backend, 5000, backend_port)))
        case.step("egress", "as the node" if source else "with its own address",
                  frame(tcp_packet(src, backend, 5000, backend_port)),
                  *(("ok", frame(tcp_packet(source, backend, MASQ, backend_port)))
                    if source else ("same",)))

    def dropped(what, src, dst, port):
        case.step("ingress", what, frame(tcp_packet(src, dst, 5000, port)), "drop")

    goes("outside, policy Local: a local one", CLIENT, NODE, 30080, BACKEND, 8080)
    goes("a pod, policy Local: any", POD, NODE, 30080, far, 8080)
    goes("a pod, policy Local, load balancer", "10.1.2.3", lb, 80, far, 8080)
    goes("the node, policy Local", "192.0.2.3", lb, 80, far, 8080, NODE)
    goes("outside to its ClusterIP: any", "192.0.2.7", "10.96.0.25", 80, far, 8085, NODE)
    goes("outside, internal policy Local", "192.0.2.6", "10.96.0.21", 80, BACKEND, 8080, NODE)
    goes("a pod, internal policy Local", "10.1.2.4", "10.96.0.21", 80, BACKEND, 8080)
    goes("inside the source ranges", CLIENT, lb, 81, BACKEND, 8081, NODE)
    goes("inside the source ranges, IPv6", CLIENT6, lb6, 81, BACKEND6, 8081, NODE6)
    dropped("outside the source ranges", "192.0.2.12", lb, 81)
    dropped("outside the source ranges: a pod", POD, lb, 81)
    dropped("outside the source ranges, IPv6", POD6, lb6, 81)
    goes("the source ranges are the load balancer's only", POD, "10.96.0.22", 80, BACKEND, 8081)
    dropped("the address that it dials, and no address of the node in the ranges", lb, lb, 81)
    goes("the address that it dials, and the node is in the ranges", lb, lb, 82, BACKEND, 8082, NODE)
    dropped("policy Local without local backends", CLIENT, NODE, 30081)
    dropped("an address that no service has", POD, "10.96.0.99", 80)
    dropped("an address that no service has, IPv6", POD6, "fd96::99", 80)
    case.same("ingress", "an address of the node without NodePorts",
              frame(tcp_packet(CLIENT, "192.0.2.3", 5000, 30080)))
    case.write()


def masquerade_all():
    case = Case("masquerade_all", "Everything to a ClusterIP leaves as the node.", f"""node {NODE}
pods 10.1.0.0/16
masquerade-all
default/web TCP {VIP}:80 -> {BACKEND}:8080
""")
    case.step("ingress", "a pod", frame(tcp_packet(POD, VIP, 5000, 80)), "ok",
              frame(tcp_packet(POD, BACKEND, 5000, 8080)))
    case.step("egress", "as the node", frame(tcp_packet(POD, BACKEND, 5000, 8080)), "ok",
              frame(tcp_packet(NODE, BACKEND, MASQ, 8080)))
    case.write()


def with_options(node, client, backend):
    sent = tcp(node, backend, MASQ, 8080, 2)
    quoted = struct.pack("!H", 40000) + sent[2:]
    if ":" in node:
        hop = bytes([6, 0, 1, 4, 0, 0, 0, 0])
        return ip6(node, backend, 0, hop + sent), ip6(client, backend, 0, hop + quoted)
    nops = bytes([1, 1, 1, 0])
    return ip4(node, backend, 6, sent, options=nops), ip4(client, backend, 6, quoted, options=nops)


def icmp_errors(name, client, node, backend, router, kind, code, rest):
    case = Case(name, "Errors about translated packets reach the sender in its own terms.")
    sent = tcp_packet(node, backend, MASQ, 8080)
    case.step("ingress", "a connection", frame(tcp_packet(client, node, 40000, 30080)), "ok",
              frame(tcp_packet(client, backend, 40000, 8080)))
    case.step("egress", "masqueraded", frame(tcp_packet(client, backend, 40000, 8080)), "ok",
              frame(sent))
    inner = requoted(sent, client, backend, 40000, 8080)
    case.step("ingress", "a router's error about what the node sent",
              frame(icmp(router, node, kind, code, rest, sent)), "ok",
              frame(icmp(router, client, kind, code, rest, inner)))
    case.step("egress", "names the service when it leaves",
              frame(icmp(router, client, kind, code, rest, inner)), "ok",
              frame(icmp(router, client, kind, code, rest,
                         requoted(inner, client, node, 40000, 30080))))
    case.step("egress", "the backend's own error is the service's",
              frame(icmp(backend, client, kind, code, rest, inner)), "ok",
              frame(icmp(node, client, kind, code, rest,
                         requoted(inner, client, node, 40000, 30080))))
    before, after = with_options(node, client, backend)
    case.step("ingress", "an error about a packet with options or extension headers",
              frame(icmp(router, node, kind, code, rest, before)), "ok",
              frame(icmp(router, client, kind, code, rest, after)))
    reply = tcp_packet(node, client, 30080, 40000, flags=0x12)
    back = requoted(reply, backend, client, 8080, 40000)
    case.step("ingress", "an error about the answer", frame(icmp(router, node, kind, code, rest,
                                                                reply)), "ok",
              frame(icmp(router, backend, kind, code, rest, back)))
    case.step("egress", "reaches the backend", frame(icmp(router, backend, kind, code, rest, back)),
              "ok", frame(icmp(router, backend, kind, code, rest,
                               requoted(back, backend, node, 8080, MASQ))))
    case.write()


def refused():
    case = Case("refused", "A service without endpoints answers at once; one that has them, but "
                           "not for this traffic, does not.")
    for pod, vip in ((POD, "10.96.0.11"), (POD6, "fd96::11")):
        v6 = ":" in vip
        options = {"hops": 64} if v6 else {"ttl": 64, "ident": 0}
        for what, flags, data, rst in (
                ("SYN", 2, b"", {"flags": 0x14, "seq": 0, "ack": 1001}),
                ("SYN and push", 10, b"hello", {"flags": 0x14, "seq": 0, "ack": 1006}),
                ("SYN with data", 2, b"hi", {"flags": 0x14, "seq": 0, "ack": 1003}),
                ("SYN and FIN", 3, b"", {"flags": 0x14, "seq": 0, "ack": 1002})):
            before = tcp_packet(pod, vip, 5000, 80, flags, payload=data)
            reply = packet(vip, pod, 6, tcp(vip, pod, 80, 5000, **rst), **options)
            case.step("ingress", f"{what}: reset", frame(before), "redirect", answer(reply))
        before = udp_packet(pod, vip, 5000, 53, payload=b"a longer question")
        quoted = before[:48 if v6 else 28]
        kind, code = (1, 4) if v6 else (3, 3)
        reply = icmp(vip, pod, kind, code, 0, quoted)
        reply = packet(vip, pod, 58 if v6 else 1, reply[40 if v6 else 20:], **options)
        case.step("ingress", "datagram: port unreachable", frame(before), "redirect",
                  answer(reply))
        nothing = udp_packet(pod, vip, 5001, 53, payload=b"")
        reply = icmp(vip, pod, kind, code, 0, nothing)
        reply = packet(vip, pod, 58 if v6 else 1, reply[40 if v6 else 20:], **options)
        case.step("ingress", "an empty datagram", frame(nothing), "redirect", answer(reply))
    short = frame(tcp_packet(POD, "10.96.0.11", 5000, 80))
    case.step("ingress", "a frame with padding: it counts for nothing", short + bytes(6),
              "redirect", answer(ip4("10.96.0.11", POD, 6, tcp("10.96.0.11", POD, 80, 5000, 0x14,
                                                               seq=0, ack=1001), ttl=64, ident=0)))
    case.step("ingress", "a SYN that ends before its header does", short[:50], "drop")
    case.step("ingress", "a port that the service does not have",
              frame(tcp_packet(POD, VIP, 5000, 81)), "redirect",
              answer(ip4(VIP, POD, 6, tcp(VIP, POD, 81, 5000, 0x14, seq=0, ack=1001), ttl=64,
                         ident=0)))
    case.step("ingress", "policy", frame(tcp_packet(POD, "10.96.0.12", 5000, 80)), "drop")
    case.step("ingress", "with IP options there is no answer",
              frame(ip4(POD, "10.96.0.11", 6, tcp(POD, "10.96.0.11", 5000, 80, 2),
                        options=b"\1\1\1\0")), "drop")
    case.write()


node_port("tcp4", "A NodePort over IPv4, there and back.", CLIENT, NODE, BACKEND, tcp_packet, 30080,
          8080)
node_port("tcp6", "A NodePort over IPv6, there and back.", CLIENT6, NODE6, BACKEND6, tcp_packet,
          30080, 8080)
node_port("udp4", "A NodePort over UDP and IPv4.", CLIENT, NODE, BACKEND, udp_packet, 30053, 8053)
node_port("udp6", "A NodePort over UDP and IPv6.", CLIENT6, NODE6, BACKEND6, udp_packet, 30053,
          8053)
cluster_ip()
options()
fragments()
truncated()
icmp_errors("icmp4", CLIENT, NODE, BACKEND, ROUTER, 3, 4, 1400)
icmp_errors("icmp6", CLIENT6, NODE6, BACKEND6, ROUTER6, 2, 0, 1400)
refused()
policies()
masquerade_all()
again.direct()
again.masqueraded()
direct.dialled()
direct.answered()
direct.networks()

"""Frames from addresses and ports, with every checksum computed afresh, and the text of a packet
file."""
import ipaddress
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
CLIENT, NODE, POD, BACKEND, VIP = "192.0.2.9", "192.0.2.1", "10.1.2.2", "10.1.1.2", "10.96.0.10"
CLIENT6, NODE6, POD6, BACKEND6, VIP6 = "fd02::9", "fd02::1", "fd01::2:2", "fd01::1:2", "fd96::10"
ROUTER, ROUTER6 = "192.0.2.254", "fd02::254"
MASQ = 20000  # the only masquerade port of the test
ETHERNET = bytes.fromhex("020000000001" "020000000002")
SERVICES = f"""node {NODE}
node {NODE6}
pods 10.1.0.0/16
pods fd01::/48
default/web TCP {VIP}:80,node:30080 -> {BACKEND}:8080
default/web6 TCP [{VIP6}]:80,node6:30080 -> [{BACKEND6}]:8080
default/dns UDP {VIP}:53,node:30053 -> {BACKEND}:8053
default/dns6 UDP [{VIP6}]:53,node6:30053 -> [{BACKEND6}]:8053
default/none TCP 10.96.0.11:80 ->
default/none6 TCP [fd96::11]:80 ->
default/none-udp UDP 10.96.0.11:53 ->
default/none-udp6 UDP [fd96::11]:53 ->
default/policy TCP 10.96.0.12:80 -> drop
"""


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ip(address):
    return ipaddress.ip_address(address).packed


def pseudo(src, dst, protocol, length):
    if len(ip(src)) == 4:
        return ip(src) + ip(dst) + struct.pack("!BBH", 0, protocol, length)
    return ip(src) + ip(dst) + struct.pack("!II", length, protocol)


def tcp(src, dst, sport, dport, flags, seq=1000, ack=0, payload=b""):
    def build(check):
        return struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 0, check, 0) + payload
    return build(checksum(pseudo(src, dst, 6, 20 + len(payload)) + build(0)))


def udp(src, dst, sport, dport, payload=b"query", check=None, length=None):
    length = length or 8 + len(payload)

    def build(value):
        return struct.pack("!HHHH", sport, dport, length, value) + payload
    if check is None:
        check = checksum(pseudo(src, dst, 17, length) + build(0)) or 0xffff
    return build(check)


def ip4(src, dst, protocol, payload, options=b"", fragment=0, ident=7, ttl=63):
    words = 5 + len(options) // 4

    def build(check):
        return struct.pack("!BBHHHBBH4s4s", 0x40 | words, 0, words * 4 + len(payload), ident,
                           fragment, ttl, protocol, check, ip(src), ip(dst)) + options
    return build(checksum(build(0))) + payload


def ip6(src, dst, protocol, payload, hops=63):
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), protocol, hops, ip(src),
                       ip(dst)) + payload


def packet(src, dst, protocol, payload, **more):
    return (ip4 if len(ip(src)) == 4 else ip6)(src, dst, protocol, payload, **more)


def frame(datagram):
    return ETHERNET + (b"\x08\0" if datagram[0] >> 4 == 4 else b"\x86\xdd") + datagram


def answer(datagram):
    return ETHERNET[6:12] + ETHERNET[:6] + frame(datagram)[12:]


def tcp_packet(src, dst, sport, dport, flags=2, **more):
    return packet(src, dst, 6, tcp(src, dst, sport, dport, flags, **more))


def udp_packet(src, dst, sport, dport, **more):
    return packet(src, dst, 17, udp(src, dst, sport, dport, **more))


def icmp(src, dst, kind, code, rest, inner):
    v6 = len(ip(src)) == 16

    def build(check):
        return struct.pack("!BBHI", kind, code, check, rest) + inner
    head = pseudo(src, dst, 58, 8 + len(inner)) if v6 else b""
    return packet(src, dst, 58 if v6 else 1, build(checksum(head + build(0))))


def requoted(datagram, src, dst, sport, dport):
    """The datagram with other addresses and ports; its TCP or UDP checksum stays as it was."""
    if datagram[0] >> 4 == 4:
        head = ip4(src, dst, datagram[9], b"", ident=7, ttl=datagram[8])
        head = head[:2] + datagram[2:10] + b"\0\0" + head[12:]
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return head + struct.pack("!HH", sport, dport) + datagram[24:]
    return datagram[:8] + ip(src) + ip(dst) + struct.pack("!HH", sport, dport) + datagram[44:]


def lines(data):
    text = data.hex()
    return "".join(f"  {text[i:i + 64]}\n" for i in range(0, len(text), 64))


class Case:
    def __init__(self, name, about, services=SERVICES):
        self.name, self.text = name, f"# {about}\n{services}\n"

    def step(self, hook, what, before, verdict="ok", after=None):
        self.text += f"{hook} # {what}\n{lines(before)}"
        self.text += f"{verdict}\n" if after is None else f"{verdict}\n{lines(after)}"
        self.text += "\n"

    def same(self, hook, what, data):
        self.step(hook, what, data, "same")

    def write(self):
        (HERE / f"{self.name}.txt").write_text(self.text.rstrip("\n") + "\n")

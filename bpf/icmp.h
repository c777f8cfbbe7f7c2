// ICMP errors about a translated packet: the packet inside is turned back into what its sender
// sent, or nobody would know which connection is meant. The inner checksum of TCP or UDP is left
// alone, since receivers of an error cannot check it: most of the packet is missing.
#pragma once

#include "bpf/dsr.h"

static __always_inline void reversed(const struct fl_tuple* inner, __u8 hook,
                                     struct fl_tuple* out) {
  out->src = inner->dst;
  out->sport = inner->dport;
  out->dst = inner->src;
  out->dport = inner->sport;
  out->protocol = inner->protocol;
  out->hook = hook;
  out->pad = 0;
}

// Inner IPv4 address: its change and that of the inner header's checksum cancel out in the ICMP
// checksum. Ports always count, and over IPv6 so do both addresses, the outer one as part of the
// pseudo-header.
static __always_inline void icmp_checksum(struct __sk_buff* skb, const struct packet* p,
                                          const struct change* c, bool outer) {
  __u32 at = p->l4 + CHECKSUM_ICMP;
  if (c->from_port != c->to_port) bpf_l4_csum_replace(skb, at, c->from_port, c->to_port, 2);
  if (!p->ipv6) return;
  __s64 diff = difference(&c->from, &c->to);
  bpf_l4_csum_replace(skb, at, 0, diff, 0);
  if (outer) bpf_l4_csum_replace(skb, at, 0, diff, 0);
}

// "Too big", about a packet that this node has made bigger: its sender has to leave room for that.
static __noinline void leave_room(struct __sk_buff* skb, const struct packet* p,
                                  const struct packet* inner) {
  struct fl_frontend_key said;
  if (!read_word(skb, inner, &said)) return;
  __be32 type_code = 0, mtu = 0, less;
  if (bpf_skb_load_bytes(skb, p->l4, &type_code, 2)) return;
  if (bpf_skb_load_bytes(skb, p->l4 + 4, &mtu, sizeof mtu)) return;
  bool too_big = p->ipv6 ? type_code == bpf_htonl(2 << 24) : type_code == bpf_htonl(0x03040000);
  __u32 size = p->ipv6 ? DSR_SIZE6 : DSR_SIZE4, now = bpf_ntohl(mtu);
  if (!too_big || (p->ipv6 ? now : now & 0xffff) <= size) return;  // 0: an old router's
  less = bpf_htonl(now - size);
  bpf_l4_csum_replace(skb, p->l4 + CHECKSUM_ICMP, mtu, less, 4);
  bpf_skb_store_bytes(skb, p->l4 + 4, &less, sizeof less, 0);
}

// Ingress: the error goes to whoever sent the inner packet, so the outer destination and the inner
// source change. Egress: the inner destination, and the outer source if it is that same host.
static __noinline int icmp_error(struct __sk_buff* skb, struct packet* p) {
  struct packet inner = {};
  if (!parse(skb, p->l4 + 8, &inner, true) || inner.icmp_error) return PASS;
  __u8 hook = p->tuple.hook;
  struct fl_tuple key;
  reversed(&inner.tuple, hook, &key);
  struct fl_nat* nat = find_flow(&key);
  if (!nat) return PASS;
  bool ingress = hook == FL_INGRESS;
  struct change c = {.to = nat->ip, .to_port = nat->port};
  c.from = ingress ? inner.tuple.src : inner.tuple.dst;
  c.from_port = ingress ? inner.tuple.sport : inner.tuple.dport;
  bool outer = same_ip(ingress ? &p->tuple.dst : &p->tuple.src, &c.from);
  if (ingress && !outer) return PASS;
  if (nat->flags & FL_NAT_DSR) leave_room(skb, p, &inner);
  icmp_checksum(skb, p, &c, outer);
  if (c.from_port != c.to_port) {
    bpf_skb_store_bytes(skb, inner.l4 + (ingress ? 0 : 2), &c.to_port, 2, 0);
  }
  write_address(skb, inner.l3, inner.ipv6, ingress ? SOURCE : DESTINATION, &c);
  if (outer) write_address(skb, p->l3, p->ipv6, ingress ? DESTINATION : SOURCE, &c);
  count(FL_TC_ICMP);
  return PASS;
}

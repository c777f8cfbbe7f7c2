// Exchanging an address and a port in a packet, with every checksum that covers them.
#pragma once

#include "bpf/packet.h"

#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7)  // Linux 6.16
#endif

enum { CHECKSUM_IPV4 = 10, CHECKSUM_TCP = 16, CHECKSUM_UDP = 6, CHECKSUM_ICMP = 2 };

enum side { SOURCE, DESTINATION };

struct change {
  struct fl_ip from, to;
  __be16 from_port, to_port;
};

static __always_inline __s64 difference(const struct fl_ip* from, const struct fl_ip* to) {
  return bpf_csum_diff((__be32*)from->word, 16, (__be32*)to->word, 16, 0);
}

static __always_inline int address_offset(bool ipv6, enum side side) {
  if (ipv6) return side == SOURCE ? 8 : 24;
  return side == SOURCE ? 12 : 16;
}

// The address alone, and the IPv4 header's own checksum.
static __always_inline void write_address(struct __sk_buff* skb, __u32 l3, bool ipv6,
                                          enum side side, const struct change* c) {
  __u32 at = l3 + address_offset(ipv6, side);
  if (ipv6) {
    bpf_skb_store_bytes(skb, at, c->to.word, 16, 0);
    return;
  }
  bpf_l3_csum_replace(skb, l3 + CHECKSUM_IPV4, c->from.word[3], c->to.word[3], 4);
  bpf_skb_store_bytes(skb, at, &c->to.word[3], 4, 0);
}

// The pseudo-header part of a TCP or UDP checksum. Since 6.16 the kernel wants to know that no IPv6
// header checksum makes up for the change of the address; before, it refuses the flag.
static __always_inline void pseudo_checksum(struct __sk_buff* skb, __u32 at, bool ipv6,
                                            const struct change* c, __u64 flags) {
  __s64 diff = difference(&c->from, &c->to);
  flags |= BPF_F_PSEUDO_HDR;
  if (ipv6 && bpf_l4_csum_replace(skb, at, 0, diff, flags | BPF_F_IPV6) == 0) return;
  bpf_l4_csum_replace(skb, at, 0, diff, flags);
}

// A UDP checksum of zero over IPv4 means "none" and stays.
static __noinline void rewrite(struct __sk_buff* skb, const struct packet* p, enum side side,
                               const struct change* c) {
  if (p->fragment != LATER_FRAGMENT) {
    bool tcp = p->tuple.protocol == IPPROTO_TCP;
    __u32 at = p->l4 + (tcp ? CHECKSUM_TCP : CHECKSUM_UDP);
    __u64 flags = tcp ? 0 : BPF_F_MARK_MANGLED_0;
    pseudo_checksum(skb, at, p->ipv6, c, flags);
    if (c->from_port != c->to_port) {
      bpf_l4_csum_replace(skb, at, c->from_port, c->to_port, flags | 2);
      bpf_skb_store_bytes(skb, p->l4 + (side == SOURCE ? 0 : 2), &c->to_port, 2, 0);
    }
  }
  write_address(skb, p->l3, p->ipv6, side, c);
}

// "Connection refused" from tc: a service without endpoints answers in its own name, with RST to
// TCP and ICMP port unreachable to UDP, through the link that the packet came from. Packets with IP
// options or extension headers are dropped instead.
#pragma once

#include "bpf/rewrite.h"

struct tcp_header {
  __be16 sport, dport;
  __be32 seq, ack;
  __u8 offset, flags;
  __be16 window, checksum, urgent;
};

struct icmp_header {
  __u8 type, code;
  __u16 checksum;
  __be32 unused;
};

static __always_inline __u16 fold(__u32 sum) {
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return ~sum;
}

static __always_inline __u32 add(__u32 sum, const void* bytes, __u32 length) {
  return bpf_csum_diff(0, 0, (__be32*)bytes, length, sum);
}

// Mapped IPv4 addresses do as well as bare ones: 0xffff is zero in one's complement.
static __always_inline __u32 pseudo_header(const struct packet* p, __u32 length) {
  struct {
    struct fl_ip src, dst;
    __be32 length, protocol;
  } pseudo = {p->tuple.dst, p->tuple.src, bpf_htonl(length),
              bpf_htonl(p->tuple.protocol == IPPROTO_TCP ? IPPROTO_TCP : IPPROTO_ICMPV6)};
  return add(0, &pseudo, sizeof pseudo);
}

static __always_inline void answer_ethernet(struct __sk_buff* skb) {
  struct {
    __u8 dst[6], src[6];
  } in, out;
  if (bpf_skb_load_bytes(skb, 0, &in, sizeof in)) return;
  __builtin_memcpy(out.dst, in.src, 6);
  __builtin_memcpy(out.src, in.dst, 6);
  bpf_skb_store_bytes(skb, 0, &out, sizeof out, 0);
}

static __always_inline void answer_ip(struct __sk_buff* skb, const struct packet* p, __u32 payload,
                                      __u8 protocol) {
  if (p->ipv6) {
    struct ipv6_header h = {.version_class_flow = bpf_htonl(0x60000000),
                            .length = bpf_htons(payload),
                            .next = protocol,
                            .hops = 64,
                            .src = p->tuple.dst,
                            .dst = p->tuple.src};
    bpf_skb_store_bytes(skb, p->l3, &h, sizeof h, 0);
    return;
  }
  struct ipv4_header h = {.version_length = 0x45,
                          .length = bpf_htons(sizeof h + payload),
                          .ttl = 64,
                          .protocol = protocol,
                          .src = p->tuple.dst.word[3],
                          .dst = p->tuple.src.word[3]};
  h.checksum = fold(add(0, &h, sizeof h));
  bpf_skb_store_bytes(skb, p->l3, &h, sizeof h, 0);
}

// RFC 9293, 3.10.7.1: a segment to a closed port. It is a connection's first: is_opening().
static __always_inline bool answer_rst(struct __sk_buff* skb, const struct packet* p) {
  struct tcp_header in;
  __be16 length;
  if (bpf_skb_load_bytes(skb, p->l4, &in, sizeof in)) return false;
  if (bpf_skb_load_bytes(skb, p->l3 + (p->ipv6 ? 4 : 2), &length, 2)) return false;
  __u32 headers = (in.offset >> 4) * 4 + (p->ipv6 ? 0 : sizeof(struct ipv4_header));
  __u32 segment = bpf_ntohs(length) - headers + 1 + !!(in.flags & TCP_FIN);
  struct tcp_header out = {.sport = in.dport,
                           .dport = in.sport,
                           .ack = bpf_htonl(bpf_ntohl(in.seq) + segment),
                           .offset = 0x50,
                           .flags = TCP_RST | TCP_ACK};
  out.checksum = fold(add(pseudo_header(p, sizeof out), &out, sizeof out));
  if (bpf_skb_change_tail(skb, p->l4 + sizeof out, 0)) return false;
  bpf_skb_store_bytes(skb, p->l4, &out, sizeof out, 0);
  answer_ip(skb, p, sizeof out, IPPROTO_TCP);
  return true;
}

enum { QUOTED4 = sizeof(struct ipv4_header) + 8, QUOTED6 = sizeof(struct ipv6_header) + 8 };

// RFC 792 type 3 code 3, RFC 4443 type 1 code 4: the packet's headers, quoted.
static __always_inline bool answer_unreachable(struct __sk_buff* skb, const struct packet* p) {
  struct {
    struct icmp_header icmp;
    __u8 quoted[QUOTED6];
  } out = {};
  __u32 size = sizeof out.icmp + (p->ipv6 ? QUOTED6 : QUOTED4);
  if (p->ipv6) {
    if (bpf_skb_load_bytes(skb, p->l3, out.quoted, QUOTED6)) return false;
    out.icmp.type = 1;
    out.icmp.code = 4;
  } else {
    if (bpf_skb_load_bytes(skb, p->l3, out.quoted, QUOTED4)) return false;
    out.icmp.type = out.icmp.code = 3;
  }
  __u32 sum = p->ipv6 ? pseudo_header(p, size) : 0;
  out.icmp.checksum = fold(add(sum, &out, sizeof out));  // the rest is zero
  if (bpf_skb_change_tail(skb, p->l4 + size, 0)) return false;
  if (p->ipv6)
    bpf_skb_store_bytes(skb, p->l4, &out, sizeof out.icmp + QUOTED6, 0);
  else
    bpf_skb_store_bytes(skb, p->l4, &out, sizeof out.icmp + QUOTED4, 0);
  answer_ip(skb, p, size, p->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
  return true;
}

static __noinline int answer_refused(struct __sk_buff* skb, struct packet* p) {
  count(FL_TC_REJECTED);
  if (has_options(p)) return TC_ACT_SHOT;
  bool tcp = p->tuple.protocol == IPPROTO_TCP;
  if (!(tcp ? answer_rst(skb, p) : answer_unreachable(skb, p))) return TC_ACT_SHOT;
  answer_ethernet(skb);
  return bpf_redirect(skb->ifindex, 0);
}

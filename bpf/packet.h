// Finding the addresses and ports of a packet. A plain one, whose headers lie in the first part of
// its buffer, is read in place; from any other bytes are copied out with bpf_skb_load_bytes(),
// which checks every length, so that a truncated packet is "not ours" and never an error.
#pragma once

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>

#include "bpf/state.h"

// Others after us have their turn: TCX_NEXT for tcx, "the next filter" for clsact, and both are -1.
enum { PASS = TC_ACT_UNSPEC };

enum fragment { WHOLE, FIRST_FRAGMENT, LATER_FRAGMENT };

struct packet {
  struct fl_tuple tuple;  // as on the wire; hook is the caller's
  __u16 l3;               // offsets from the start of the frame
  __u16 l4;
  __u32 id;       // of a fragment
  __u8 fragment;  // enum fragment
  __u8 ipv6;
  __u8 tcp_flags;
  __u8 icmp_error;  // an error that carries a packet from l4 + 8 on
  __u8 room;        // right behind the fixed IP header, for what DSR puts there
  __u8 pad[3];
};

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

enum {
  MAX_IPV4_HEADER = 60,
  HOP_BY_HOP = 0,
  ROUTING = 43,
  FRAGMENT = 44,
  DESTINATION_OPTIONS = 60
};

struct ipv4_header {
  __u8 version_length, tos;
  __be16 length, id, fragment;
  __u8 ttl, protocol;
  __u16 checksum;
  __be32 src, dst;
};

struct ipv6_header {
  __be32 version_class_flow;
  __be16 length;
  __u8 next, hops;
  struct fl_ip src, dst;
};

// How many bytes DSR adds: an IPv4 option, or a destination options header.
enum { DSR_SIZE4 = 8, DSR_SIZE6 = 24 };

static __always_inline __u32 fixed_header(const struct packet* p) {
  return p->ipv6 ? sizeof(struct ipv6_header) : sizeof(struct ipv4_header);
}

// IPv4 options or IPv6 extension headers.
static __always_inline bool has_options(const struct packet* p) {
  return p->l4 != p->l3 + fixed_header(p);
}

// The first segment of a TCP connection.
static __always_inline bool is_opening(const struct packet* p) {
  return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline bool parse_ipv4(struct __sk_buff* skb, __u32 l3, struct packet* p) {
  struct ipv4_header h;
  if (bpf_skb_load_bytes(skb, l3, &h, sizeof h)) return false;
  __u32 length = (h.version_length & 15) * 4;
  if (h.version_length >> 4 != 4 || length < sizeof h) return false;
  p->tuple.src = mapped(h.src);
  p->tuple.dst = mapped(h.dst);
  p->tuple.protocol = h.protocol;
  p->ipv6 = 0;
  p->l4 = l3 + length;
  p->room = length <= MAX_IPV4_HEADER - DSR_SIZE4;
  p->id = h.id;
  __u16 offset = bpf_ntohs(h.fragment) & 0x1fff;
  bool more = h.fragment & bpf_htons(0x2000);
  p->fragment = offset ? LATER_FRAGMENT : more ? FIRST_FRAGMENT : WHOLE;
  return true;
}

struct extension {
  __u8 next, length;
  __be16 fragment;
  __be32 id;
};

// Hop-by-hop, routing, destination options and fragment headers (RFC 8200); more than six, one of
// which may be DSR's, or any other, and the packet is not ours.
static __always_inline bool parse_ipv6(struct __sk_buff* skb, __u32 l3, struct packet* p) {
  struct ipv6_header h;
  if (bpf_skb_load_bytes(skb, l3, &h, sizeof h)) return false;
  if ((h.version_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000)) return false;
  p->tuple.src = h.src;
  p->tuple.dst = h.dst;
  p->ipv6 = 1;
  p->room = h.next != HOP_BY_HOP;  // which has to stay the first
  p->fragment = WHOLE;
  __u32 at = l3 + sizeof h;
  __u8 next = h.next;
  for (int i = 0; i < 6; ++i) {
    if (next != HOP_BY_HOP && next != ROUTING && next != FRAGMENT && next != DESTINATION_OPTIONS) {
      break;
    }
    struct extension e;
    if (p->fragment == LATER_FRAGMENT) break;
    if (i == 5) p->room = 0;
    if (bpf_skb_load_bytes(skb, at, &e, sizeof e)) return false;
    if (next == FRAGMENT) {
      p->id = e.id;
      bool later = e.fragment & bpf_htons(0xfff8), more = e.fragment & bpf_htons(1);
      p->fragment = later ? LATER_FRAGMENT : more ? FIRST_FRAGMENT : WHOLE;
      at += 8;
    } else {
      at += (e.length + 1) * 8;
    }
    next = e.next;
  }
  p->tuple.protocol = next;
  p->l4 = at;
  return true;
}

static __always_inline bool is_icmp_error(const struct packet* p, __u8 type) {
  if (p->ipv6) return type >= 1 && type <= 4;    // RFC 4443
  return type == 3 || type == 11 || type == 12;  // RFC 792
}

static __always_inline bool parse_l4(struct __sk_buff* skb, struct packet* p) {
  __u8 protocol = p->tuple.protocol;
  if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) {
    if (bpf_skb_load_bytes(skb, p->l4, &p->tuple.sport, 4)) return false;
    if (protocol == IPPROTO_TCP) bpf_skb_load_bytes(skb, p->l4 + 13, &p->tcp_flags, 1);
    return true;
  }
  if (protocol == (p->ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
    __u8 type;
    if (bpf_skb_load_bytes(skb, p->l4, &type, 1)) return false;
    p->icmp_error = is_icmp_error(p, type);
    return p->icmp_error;
  }
  return false;
}

// Later fragments have no ports: they are remembered from the first one, which nearly always comes
// first. A fragment that overtakes it passes untranslated.
static __always_inline bool fragment_ports(struct packet* p) {
  struct fl_fragment_key key = {.src = p->tuple.src,
                                .dst = p->tuple.dst,
                                .id = p->id,
                                .protocol = p->tuple.protocol,
                                .hook = p->tuple.hook};
  if (p->fragment == FIRST_FRAGMENT) {
    struct fl_ports ports = {p->tuple.sport, p->tuple.dport};
    bpf_map_update_elem(&fragments, &key, &ports, BPF_ANY);
    return true;
  }
  struct fl_ports* ports = bpf_map_lookup_elem(&fragments, &key);
  if (!ports) {
    count(FL_TC_FRAGMENT_UNKNOWN);
    return false;
  }
  p->tuple.sport = ports->sport;
  p->tuple.dport = ports->dport;
  return true;
}

struct l4_start {
  __be16 sport, dport;
  __u8 between[9], tcp_flags;  // TCP: up to the flags
};

// IPv4 without options and fragments, IPv6 without extension headers, TCP and UDP. False: any
// other.
static __always_inline bool parse_plain(struct __sk_buff* skb, struct packet* p) {
  void* end = (void*)(long)skb->data_end;
  void* l3 = (void*)(long)skb->data + ETH_HLEN;
  struct l4_start* l4;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4_header* h = l3;
    l4 = (void*)(h + 1);
    if ((void*)(l4 + 1) > end || h->version_length != 0x45) return false;
    if (h->fragment & bpf_htons(0x3fff)) return false;
    p->tuple.src = mapped(h->src);
    p->tuple.dst = mapped(h->dst);
    p->tuple.protocol = h->protocol;
    p->ipv6 = 0;
    p->l4 = ETH_HLEN + sizeof *h;
  } else {
    struct ipv6_header* h = l3;
    l4 = (void*)(h + 1);
    if (skb->protocol != bpf_htons(ETH_P_IPV6) || (void*)(l4 + 1) > end) return false;
    if ((h->version_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000)) return false;
    p->tuple.src = h->src;
    p->tuple.dst = h->dst;
    p->tuple.protocol = h->next;
    p->ipv6 = 1;
    p->l4 = ETH_HLEN + sizeof *h;
  }
  p->room = 1;
  bool tcp = p->tuple.protocol == IPPROTO_TCP;
  if (!tcp && p->tuple.protocol != IPPROTO_UDP) return false;
  p->tuple.sport = l4->sport;
  p->tuple.dport = l4->dport;
  p->tcp_flags = tcp ? l4->tcp_flags : 0;
  return true;
}

// The packet at `l3`, which may be one inside an ICMP error. False: nothing for us. Not static: so
// the verifier looks at it once, and then at its callers with any packet that it may have found.
__noinline bool parse(struct __sk_buff* skb, __u32 l3, struct packet* p, bool inner) {
  if (!p) return false;
  p->l3 = l3;
  p->tuple.pad = 0;
  p->icmp_error = p->fragment = 0;
  p->id = 0;
  if (!inner && parse_plain(skb, p)) return true;
  p->tuple.sport = p->tuple.dport = 0;
  p->tcp_flags = 0;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    if (!parse_ipv4(skb, l3, p)) return false;
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    if (!parse_ipv6(skb, l3, p)) return false;
  } else {
    return false;
  }
  if (p->fragment == LATER_FRAGMENT) {
    __u8 protocol = p->tuple.protocol;
    if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return false;
    return !inner && fragment_ports(p);
  }
  if (!parse_l4(skb, p)) return false;
  if (p->fragment == FIRST_FRAGMENT && !inner && !p->icmp_error) return fragment_ports(p);
  return true;
}

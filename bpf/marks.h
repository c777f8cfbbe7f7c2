// Asking and setting the marks of bpf/shared/marks.h.
#pragma once

#include "bpf/packet.h"
#include "bpf/shared/marks.h"

MAP(marks, BPF_MAP_TYPE_ARRAY, __u32, struct fl_marks, 1, BPF_F_MMAPABLE);

static __always_inline struct fl_marks* get_marks(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&marks, &zero);
}

// The addresses of a packet whose header lies in the first part of its buffer, as nearly all do.
// `next`: the protocol, or over IPv6 the first extension header.
static __always_inline bool peek(struct __sk_buff* skb, struct fl_ip* src, struct fl_ip* dst,
                                 __u8* next) {
  void* end = (void*)(long)skb->data_end;
  void* l3 = (void*)(long)skb->data + ETH_HLEN;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4_header* h = l3;
    if ((void*)(h + 1) > end) return false;
    *src = mapped(h->src);
    *dst = mapped(h->dst);
    *next = h->protocol;
    return true;
  }
  struct ipv6_header* h = l3;
  if ((void*)(h + 1) > end) return false;
  *src = h->src;
  *dst = h->dst;
  *next = h->next;
  return true;
}

static __always_inline bool is_ip(const struct __sk_buff* skb) {
  return skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6);
}

// Ingress rewrites destinations, those of ICMP errors too.
static __always_inline bool may_matter_at_ingress(struct __sk_buff* skb) {
  struct fl_ip src, dst;
  __u8 next;
  struct fl_marks* m = get_marks();
  if (!is_ip(skb)) return false;
  if (!m || m->everything || !peek(skb, &src, &dst, &next)) return true;
  return m->slots[fl_address_slot(&dst)] || m->slots[fl_block_slot(&dst)];
}

// An ICMP error at egress may come from any router on the way; it may hide behind extensions.
static __always_inline bool may_matter_at_egress(struct __sk_buff* skb) {
  struct fl_ip src, dst;
  __u8 next;
  struct fl_marks* m = get_marks();
  if (!is_ip(skb)) return false;
  if (!m || m->everything || !peek(skb, &src, &dst, &next)) return true;
  if (next != IPPROTO_TCP && next != IPPROTO_UDP) return true;
  return m->slots[fl_pair_slot(&src, &dst)];
}

static __always_inline void set_mark(struct fl_marks* m, __u32 slot) {
  __u8 now = m->generation;
  if (m->slots[slot] != now) m->slots[slot] = now;
}

// Every conntrack entry is marked by those who write it: at ingress by its destination, at egress
// by both its addresses. `node`: the masquerade address, or null.
static __always_inline void mark_flow(const struct fl_ip* client, const struct fl_ip* dialled,
                                      const struct fl_ip* backend, const struct fl_ip* node) {
  struct fl_marks* m = get_marks();
  if (!m) return;
  set_mark(m, fl_address_slot(dialled));
  set_mark(m, fl_pair_slot(client, backend));
  if (node) set_mark(m, fl_address_slot(node));
}

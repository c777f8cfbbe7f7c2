// Asking and setting the marks of bpf/shared/marks.h.
#pragma once

#include "bpf/packet.h"
#include "bpf/shared/marks.h"

MAP(marks, BPF_MAP_TYPE_ARRAY, __u32, struct fl_marks, 1, BPF_F_MMAPABLE);

static __always_inline struct fl_marks* get_marks(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&marks, &zero);
}

static __always_inline bool is_marked(const struct fl_marks* m, struct fl_ip dst) {
  if (!m->slots[fl_block_slot(&dst)]) return false;
  return m->slots[fl_address_slot(&dst)] || m->slots[fl_range_slot(&dst)];
}

static __always_inline bool is_pair_marked(const struct fl_marks* m, struct fl_ip src,
                                           struct fl_ip dst, __u8 protocol) {
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return true;
  return m->slots[fl_pair_slot(&src, &dst)];
}

// The questions are about the fixed header, which lies in the first part of the
// buffer of nearly all packets; others may matter. Ingress rewrites
// destinations, those of ICMP errors too, and hears the word of DSR, which is
// in an option. The families part early: for IPv4 the compiler knows most of
// the hash.
static __always_inline bool may_matter_at_ingress(struct __sk_buff* skb) {
  struct fl_marks* m = get_marks();
  if (!m || m->everything) return true;
  void *l3 = (void*)(long)skb->data + ETH_HLEN, *end = (void*)(long)skb->data_end;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4_header* h = l3;
    if ((void*)(h + 1) > end || h->version_length != 0x45) return true;
    return is_marked(m, mapped(h->dst));
  }
  if (skb->protocol != bpf_htons(ETH_P_IPV6)) return false;
  struct ipv6_header* h = l3;
  if ((void*)(h + 1) > end || h->next == DESTINATION_OPTIONS) return true;
  return is_marked(m, h->dst);
}

// An ICMP error at egress may come from any router on the way; it may hide
// behind extensions.
static __always_inline bool may_matter_at_egress(struct __sk_buff* skb) {
  struct fl_marks* m = get_marks();
  if (!m || m->everything) return true;
  void *l3 = (void*)(long)skb->data + ETH_HLEN, *end = (void*)(long)skb->data_end;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    struct ipv4_header* h = l3;
    if ((void*)(h + 1) > end) return true;
    return is_pair_marked(m, mapped(h->src), mapped(h->dst), h->protocol);
  }
  if (skb->protocol != bpf_htons(ETH_P_IPV6)) return false;
  struct ipv6_header* h = l3;
  if ((void*)(h + 1) > end) return true;
  return is_pair_marked(m, h->src, h->dst, h->next);
}

static __always_inline void set_mark(struct fl_marks* m, __u32 slot) {
  __u8 now = m->generation;
  if (m->slots[slot] != now) m->slots[slot] = now;
}

static __always_inline void set_address_mark(struct fl_marks* m, const struct fl_ip* ip) {
  set_mark(m, fl_address_slot(ip));
  set_mark(m, fl_block_slot(ip));
}

// Every conntrack entry is marked by those who write it: at ingress by its
// destination, at egress by both its addresses. `node`: the masquerade address,
// or null.
static __always_inline void mark_flow(const struct fl_ip* client, const struct fl_ip* dialled,
                                      const struct fl_ip* backend, const struct fl_ip* node) {
  struct fl_marks* m = get_marks();
  if (!m) return;
  set_address_mark(m, dialled);
  set_mark(m, fl_pair_slot(client, backend));
  if (node) set_address_mark(m, node);
}

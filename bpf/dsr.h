// Direct server return, by an option in the IP header. The node that is dialled sends the client's
// packet on to the backend's node as it is, but for the destination, and beside it a word: what the
// client dialled. The backend's node takes the word out and lets the answers leave from there.
//
// IPv4: an option that is copied to fragments (RFC 791), as the first. IPv6: a destination options
// header right behind the fixed one (RFC 8200), which hosts that do not know the option step over.
// Both types are for experiments (RFC 4727).
#pragma once

#include "bpf/flow.h"
#include "bpf/rewrite.h"

enum { DSR_OPTION4 = 0x9e, DSR_OPTION6 = 0x1e, DSR_DATA6 = 18, PADN = 1 };

struct dsr_option4 {
  __u8 type, size;
  __be16 port;
  __be32 ip;
};
_Static_assert(sizeof(struct dsr_option4) == DSR_SIZE4, "no padding");

struct dsr_header6 {
  __u8 next, units;  // of 8 bytes behind the first 8
  __u8 type, size;
  struct fl_ip ip;
  __be16 port;
  __u8 pad_type, pad_size;
};
_Static_assert(sizeof(struct dsr_header6) == DSR_SIZE6, "no padding");

// What an option changes of an IPv4 header, as a whole number of words for its checksum.
struct ipv4_change {
  __u8 version_length, tos;
  __be16 length;
  struct dsr_option4 option;
};

// What a header behind it changes of an IPv6 header.
struct ipv6_change {
  __be16 length;
  __u8 next, hops;
};

enum { IPV6_CHANGE = 4 };  // where it begins

static __always_inline bool read_word4(struct __sk_buff* skb, const struct packet* p,
                                       struct fl_frontend_key* said) {
  struct dsr_option4 option;
  if (p->l4 < p->l3 + sizeof(struct ipv4_header) + sizeof option) return false;
  if (bpf_skb_load_bytes(skb, p->l3 + sizeof(struct ipv4_header), &option, sizeof option)) {
    return false;
  }
  if (option.type != DSR_OPTION4 || option.size != sizeof option) return false;
  said->ip = mapped(option.ip);
  said->port = option.port;
  return true;
}

static __always_inline bool read_word6(struct __sk_buff* skb, const struct packet* p,
                                       struct fl_frontend_key* said) {
  struct ipv6_change head;
  struct dsr_header6 h;
  if (bpf_skb_load_bytes(skb, p->l3 + IPV6_CHANGE, &head, sizeof head)) return false;
  if (head.next != DESTINATION_OPTIONS || p->l4 < p->l3 + sizeof(struct ipv6_header) + sizeof h) {
    return false;
  }
  if (bpf_skb_load_bytes(skb, p->l3 + sizeof(struct ipv6_header), &h, sizeof h)) return false;
  if (h.units != sizeof h / 8 - 1 || h.type != DSR_OPTION6 || h.size != DSR_DATA6) return false;
  if (h.pad_type != PADN || h.pad_size != 0) return false;
  said->ip = h.ip;
  said->port = h.port;
  return !is_v4(&h.ip);
}

// Does the packet say what its client dialled? `said`: the key of that frontend, by address.
static __always_inline bool read_word(struct __sk_buff* skb, const struct packet* p,
                                      struct fl_frontend_key* said) {
  said->protocol = p->tuple.protocol;
  said->scope = FL_SCOPE_ADDRESS;
  return p->ipv6 ? read_word6(skb, p, said) : read_word4(skb, p, said);
}

// The option's bytes are zero before and after, outside this function: so the sum of the whole
// header stays what it was.
static __always_inline void change4(struct __sk_buff* skb, const struct packet* p,
                                    struct ipv4_change* before, struct ipv4_change* after) {
  __s64 diff = bpf_csum_diff((__be32*)before, sizeof *before, (__be32*)after, sizeof *after, 0);
  bpf_l3_csum_replace(skb, p->l3 + CHECKSUM_IPV4, 0, diff, 0);
  bpf_skb_store_bytes(skb, p->l3, after, 4, 0);
  bpf_skb_store_bytes(skb, p->l3 + sizeof(struct ipv4_header), &after->option, DSR_SIZE4, 0);
}

static __always_inline bool add_word4(struct __sk_buff* skb, const struct packet* p) {
  struct ipv4_change before = {}, after;
  if (bpf_skb_load_bytes(skb, p->l3, &before, 4)) return false;
  after = before;
  __u32 length = bpf_ntohs(before.length) + DSR_SIZE4;
  after.version_length += DSR_SIZE4 / 4;
  after.length = bpf_htons(length);
  after.option.type = DSR_OPTION4;
  after.option.size = DSR_SIZE4;
  after.option.port = p->tuple.dport;
  after.option.ip = p->tuple.dst.word[3];
  if (length > 65535 || bpf_skb_adjust_room(skb, DSR_SIZE4, BPF_ADJ_ROOM_NET, 0)) return false;
  change4(skb, p, &before, &after);
  return true;
}

static __always_inline bool remove_word4(struct __sk_buff* skb, const struct packet* p) {
  struct ipv4_change before, after = {};
  __u32 option = p->l3 + sizeof(struct ipv4_header);
  if (bpf_skb_load_bytes(skb, p->l3, &before, 4)) return false;
  if (bpf_skb_load_bytes(skb, option, &before.option, DSR_SIZE4)) return false;
  after.version_length = before.version_length - DSR_SIZE4 / 4;
  after.tos = before.tos;
  after.length = bpf_htons(bpf_ntohs(before.length) - DSR_SIZE4);
  change4(skb, p, &before, &after);
  return bpf_skb_adjust_room(skb, -DSR_SIZE4, BPF_ADJ_ROOM_NET, 0) == 0;
}

static __always_inline bool add_word6(struct __sk_buff* skb, const struct packet* p) {
  struct ipv6_change head;
  if (bpf_skb_load_bytes(skb, p->l3 + IPV6_CHANGE, &head, sizeof head)) return false;
  struct dsr_header6 h = {.next = head.next,
                          .units = sizeof h / 8 - 1,
                          .type = DSR_OPTION6,
                          .size = DSR_DATA6,
                          .ip = p->tuple.dst,
                          .port = p->tuple.dport,
                          .pad_type = PADN};
  __u32 length = bpf_ntohs(head.length) + DSR_SIZE6;
  head.next = DESTINATION_OPTIONS;
  head.length = bpf_htons(length);
  if (length > 65535 || bpf_skb_adjust_room(skb, DSR_SIZE6, BPF_ADJ_ROOM_NET, 0)) return false;
  bpf_skb_store_bytes(skb, p->l3 + IPV6_CHANGE, &head, sizeof head, BPF_F_RECOMPUTE_CSUM);
  bpf_skb_store_bytes(skb, p->l3 + sizeof(struct ipv6_header), &h, sizeof h, BPF_F_RECOMPUTE_CSUM);
  return true;
}

static __always_inline bool remove_word6(struct __sk_buff* skb, const struct packet* p) {
  struct ipv6_change head;
  __u8 next;
  if (bpf_skb_load_bytes(skb, p->l3 + IPV6_CHANGE, &head, sizeof head)) return false;
  if (bpf_skb_load_bytes(skb, p->l3 + sizeof(struct ipv6_header), &next, 1)) return false;
  head.next = next;
  head.length = bpf_htons(bpf_ntohs(head.length) - DSR_SIZE6);
  bpf_skb_store_bytes(skb, p->l3 + IPV6_CHANGE, &head, sizeof head, BPF_F_RECOMPUTE_CSUM);
  return bpf_skb_adjust_room(skb, -DSR_SIZE6, BPF_ADJ_ROOM_NET, 0) == 0;
}

// With a connection's SYN, which is far from the size of a link. With every datagram: nobody says
// here whether one has arrived, nor whether the other node still remembers. One that becomes too
// large for its way is fragmented by the kernel, or answered with an ICMP error: icmp.h.
__noinline int tell(struct __sk_buff* skb, const struct packet* p) {
  if (!p) return PASS;
  bool tcp = p->tuple.protocol == IPPROTO_TCP;
  if (!p->room || (tcp ? !is_opening(p) : p->fragment == LATER_FRAGMENT)) return PASS;
  if (p->ipv6 ? add_word6(skb, p) : add_word4(skb, p)) return PASS;
  count(FL_TC_NO_MEMORY);
  return TC_ACT_SHOT;
}

static __always_inline bool is_inside(const struct fl_network* network, const struct fl_ip* ip) {
  if (is_v4(&network->ip) != is_v4(ip)) return false;  // no IPv4 address is in ::/0
  __u32 differ = 0;
  for (int i = 0; i < 4; ++i) differ |= (ip->word[i] ^ network->ip.word[i]) & network->mask.word[i];
  return !differ;
}

static __always_inline bool is_among_nodes(const struct fl_ip* ip) {
  struct fl_config* node = get_config();
  if (!node || node->node_network_count == 0) return node;
  for (__u32 i = 0; i < FL_MAX_NODE_NETWORKS && i < node->node_network_count; ++i) {
    if (is_inside(&node->node_networks[i], ip)) return true;
  }
  return false;
}

// May another node have this address? An IPv4 host that is none, or one that is ours, may not.
static __always_inline bool may_be_a_node(const struct fl_ip* ip) {
  if (is_v4(ip)) {
    __u8 first = *(__u8*)&ip->word[3];
    if (first == 0 || first == 127 || first >= 224) return false;
  } else if (*(__u8*)ip == 0xff || !(ip->word[0] | ip->word[1] | ip->word[2])) {
    return false;
  }
  struct fl_cidr key = {.prefixlen = 128, .ip = *ip};
  return is_among_nodes(ip) && !bpf_map_lookup_elem(&addresses, ip) &&
         !bpf_map_lookup_elem(&pod_cidrs, &key) && !bpf_map_lookup_elem(&service_cidrs, &key);
}

// The service that a word names: one that has DSR here, too. Whoever sends a word cannot make this
// node answer from an address of his choice: it is a frontend, or that of a NodePort.
static __always_inline struct fl_frontend* named(const struct fl_frontend_key* said) {
  struct fl_frontend_key key = *said;
  struct fl_frontend* frontend = bpf_map_lookup_elem(&frontends, &key);
  if (!frontend && may_be_a_node(&key.ip)) {
    to_node_port(&key);
    frontend = bpf_map_lookup_elem(&frontends, &key);
  }
  __u32 policy = FL_FRONTEND_DSR | FL_FRONTEND_EXTERNAL | FL_FRONTEND_LOCAL_ONLY;
  bool direct = frontend && (frontend->flags & policy) == (FL_FRONTEND_DSR | FL_FRONTEND_EXTERNAL);
  return direct ? frontend : 0;
}

// Writes down from where the answers leave. NOT_OURS: the packet is on its way to another node, or
// begins nothing.
static __noinline enum verdict learn(struct packet* p, const struct fl_frontend_key* said,
                                     struct fl_tuple* back) {
  bool begins = p->tuple.protocol == IPPROTO_UDP || is_opening(p);
  if (!begins || p->fragment == LATER_FRAGMENT) return NOT_OURS;
  struct fl_frontend* frontend = named(said);
  struct choice backend = {.ip = p->tuple.dst, .port = p->tuple.dport, .set = FL_ON_NODE};
  if (frontend) backend.service = frontend->service;
  if (!frontend || !is_member(backend.service, FL_ON_NODE, &backend.ip, backend.port)) {
    if (classify(&backend.ip) == FROM_OUTSIDE) return NOT_OURS;
    count(FL_TC_DSR_REFUSED);
    return DROP;
  }
  struct fl_nat to_service;
  init_nat(&to_service, &said->ip, said->port, FL_NAT_REPLY | FL_NAT_DSR, &backend, ticks());
  if (!take(back, &to_service)) {
    count(FL_TC_CLASH);
    return DROP;
  }
  forget_masquerade(p, &backend);
  mark_flow(&p->tuple.src, &said->ip, &p->tuple.dst, 0);
  count(FL_TC_DSR_TAKEN);
  return CHOSEN;
}

enum { NO_WORD = 0x7fff };

// A packet with options. When there is a word among them, it is never taken for one that a client
// sent: nobody but a node has a reason to say one. NO_WORD: there is none.
__noinline int hear(struct __sk_buff* skb, struct packet* p) {
  struct fl_frontend_key said;
  if (!p || !read_word(skb, p, &said)) return NO_WORD;
  struct fl_tuple back;
  partner_of(&p->tuple, &p->tuple.dst, p->tuple.dport, &back);
  struct fl_nat* held = find_flow(&back);
  __u32 now = ticks();
  bool known = p->tuple.protocol == IPPROTO_UDP && held && held->flags & FL_NAT_DSR &&
               held->port == said.port && same_ip(&held->ip, &said.ip);
  if (known && !is_over(held, IPPROTO_UDP, now)) {
    held->seen = now;
  } else {
    enum verdict verdict = learn(p, &said, &back);
    if (verdict != CHOSEN) return verdict == DROP ? TC_ACT_SHOT : PASS;
  }
  bool removed = p->ipv6 ? remove_word6(skb, p) : remove_word4(skb, p);
  return removed ? PASS : TC_ACT_SHOT;
}

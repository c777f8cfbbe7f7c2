// Flows through tc. Ingress rewrites destinations and egress rewrites sources, as netfilter does
// before and after routing: a packet whose source is this node's own address would not be routed.
// A flow has two entries (client -> service at ingress, backend -> client at egress), and two more
// when it is masqueraded (client -> backend at egress, backend -> node at ingress). Entries come in
// pairs that undo each other: partner_of().
#pragma once

#include "bpf/packet.h"
#include "bpf/select.h"

// What the slots of `flows` hold; the agent makes them in the size that it wants.
struct conntrack {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __type(key, struct fl_tuple);
  __type(value, struct fl_nat);
  __uint(max_entries, 1);
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __type(key, __u32);
  __uint(max_entries, FL_FLOWS_SLOTS);
  __array(values, struct conntrack);
} flows SEC(".maps");

static __always_inline void* conntrack_of(__u32 slot) { return bpf_map_lookup_elem(&flows, &slot); }

static __noinline struct fl_nat* find_flow(const struct fl_tuple* key) {
  void* now = conntrack_of(FL_FLOWS_NOW);
  if (!now) return 0;
  struct fl_nat* nat = bpf_map_lookup_elem(now, key);
  if (nat) return nat;
  void* before = conntrack_of(FL_FLOWS_BEFORE);
  if (!before) return 0;
  nat = bpf_map_lookup_elem(before, key);
  if (!nat) return 0;
  bpf_map_update_elem(now, key, nat, BPF_NOEXIST);
  return bpf_map_lookup_elem(now, key);
}

// `flags`: BPF_ANY or BPF_NOEXIST, for which one that has not followed yet is there, too. 0: it is
// written.
static __noinline long write_flow(const struct fl_tuple* key, const struct fl_nat* nat,
                                  __u64 flags) {
  void* before = flags == BPF_NOEXIST ? conntrack_of(FL_FLOWS_BEFORE) : 0;
  if (before && bpf_map_lookup_elem(before, key)) return -1;
  void* now = conntrack_of(FL_FLOWS_NOW);
  return now ? bpf_map_update_elem(now, key, nat, flags) : -1;
}

static __noinline void erase_flow(const struct fl_tuple* key) {
  void* now = conntrack_of(FL_FLOWS_NOW);
  if (now) bpf_map_delete_elem(now, key);
  void* before = conntrack_of(FL_FLOWS_BEFORE);
  if (before) bpf_map_delete_elem(before, key);
}

static __always_inline bool is_closed(const struct fl_nat* nat) {
  __u16 fins = FL_NAT_FIN | FL_NAT_PEER_FIN;
  return (nat->flags & fins) == fins || nat->flags & FL_NAT_RST;
}

static __always_inline bool is_over(const struct fl_nat* nat, __u8 protocol, __u32 now) {
  __u32 idle = now - nat->seen;
  return (__s32)idle > (__s32)fl_flow_timeout(protocol == IPPROTO_TCP, nat->flags);
}

static __always_inline bool is_closing(const struct fl_nat* nat) {
  return nat->flags & (FL_NAT_FIN | FL_NAT_PEER_FIN | FL_NAT_RST);
}

// A connection whose beginning we did not see has the ports of one of ours that has ended: somebody
// else translates it, such as the kernel's own NAT or, at its socket, the client's cgroup. Clients
// and masquerading write their entries anew with each SYN.
static __always_inline bool is_taken_over(const struct fl_nat* nat, __u8 tcp_flags) {
  return tcp_flags & TCP_SYN && is_closed(nat);
}

static __always_inline void partner_of(const struct fl_tuple* key, const struct fl_ip* ip,
                                       __be16 port, struct fl_tuple* out) {
  out->protocol = key->protocol;
  out->pad = 0;
  if (key->hook == FL_INGRESS) {
    out->hook = FL_EGRESS;
    out->src = *ip;
    out->sport = port;
    out->dst = key->src;
    out->dport = key->sport;
  } else {
    out->hook = FL_INGRESS;
    out->src = key->dst;
    out->sport = key->dport;
    out->dst = *ip;
    out->dport = port;
  }
}

// Notes a packet, on its entry and, once a tick or when the flow's state changes, on the partner.
static __noinline void touch(struct fl_nat* nat, const struct fl_tuple* key, __u8 tcp_flags) {
  __u16 own = 0, partners = 0;
  // A client acknowledges what the backend has answered, whichever way that went.
  bool answered = nat->flags & FL_NAT_DSR && tcp_flags & TCP_ACK;
  if (nat->flags & FL_NAT_REPLY || answered) own = partners = FL_NAT_REPLIED;
  if (tcp_flags & TCP_FIN) {
    own |= FL_NAT_FIN;
    partners |= FL_NAT_PEER_FIN;
  }
  if (tcp_flags & TCP_RST) {
    own |= FL_NAT_RST;
    partners |= FL_NAT_RST;
  }
  __u32 now = ticks();
  if (nat->seen == now && (nat->flags & own) == own) return;
  nat->seen = now;
  nat->flags |= own;
  struct fl_tuple other;
  partner_of(key, &nat->ip, nat->port, &other);
  struct fl_nat* partner = find_flow(&other);
  if (!partner) return;
  partner->seen = now;
  partner->flags |= partners;
}

// Has a connection no more to say? With DSR only one side is seen, and what that one has closed.
static __always_inline bool is_ended(const struct fl_nat* nat) {
  return nat->flags & FL_NAT_DSR ? is_closing(nat) : is_closed(nat);
}

// Takes `key` for a new flow, unless a live flow has it. The client of a connection that has ended
// may use the same ports for another service at once.
static __always_inline bool take(const struct fl_tuple* key, const struct fl_nat* nat) {
  if (write_flow(key, nat, BPF_NOEXIST) == 0) return true;
  struct fl_nat* held = find_flow(key);
  if (held) {
    bool same = held->port == nat->port && same_ip(&held->ip, &nat->ip);
    bool ended = key->protocol == IPPROTO_TCP && is_ended(held);
    if (!same && !ended && !is_over(held, key->protocol, nat->seen)) return false;
  }
  return write_flow(key, nat, BPF_ANY) == 0;
}

// May this entry of a client's packet still be used, or does the packet begin a new flow? A
// datagram does when its backend is gone, and so does a SYN that was not answered; a SYN also does
// when the connection before it is closing.
static __noinline bool continues(const struct fl_nat* nat, const struct packet* p) {
  if (nat->flags & FL_NAT_REPLY) return !is_taken_over(nat, p->tcp_flags);
  if (is_over(nat, p->tuple.protocol, ticks())) return false;
  bool syn = is_opening(p);
  if (syn && is_closing(nat)) return false;
  if (p->tuple.protocol == IPPROTO_UDP || (syn && !(nat->flags & FL_NAT_REPLIED))) {
    return is_member(nat->service, nat->set, &nat->ip, nat->port);
  }
  return true;
}

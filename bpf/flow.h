// The first packet of a flow at tc: choose a backend, decide on masquerading, write the entries.
#pragma once

#include "bpf/conntrack.h"
#include "bpf/marks.h"

struct new_flow {
  struct choice chosen;
  struct fl_ip node;  // masquerade source
  bool masquerade;
  __u16 flags;  // of its entries, enum fl_nat_flags
};

enum { PORT_WINDOW = 4096, TIMELY_ATTEMPTS = 4, PORT_ATTEMPTS = 32, BACKEND_ATTEMPTS = 4 };

// See treatment(). An endpoint that reaches itself always is: it would not send its own address
// out.
static __always_inline bool needs_masquerade(const struct packet* p, const struct fl_config* node,
                                             __u8 source, const struct choice* chosen) {
  if (same_ip(&chosen->ip, &p->tuple.src)) return true;
  if (chosen->flags & FL_FRONTEND_EXTERNAL) {
    return !(chosen->flags & FL_FRONTEND_LOCAL_ONLY) || source == FROM_NODE;
  }
  if (node->flags & FL_CONFIG_MASQUERADE_ALL) return true;
  __u32 knows_pods = p->ipv6 ? FL_CONFIG_POD_CIDRS6 : FL_CONFIG_POD_CIDRS4;
  return source != FROM_LOCAL_POD && node->flags & knows_pods;
}

// See treatment(). A packet that has no room for the word to the
// backend's node is masqueraded like any other.
static __noinline bool goes_direct(const struct packet* p, const struct fl_config* node,
                                   __u8 source, const struct choice* chosen) {
  __u32 policy = FL_FRONTEND_DSR | FL_FRONTEND_EXTERNAL | FL_FRONTEND_LOCAL_ONLY;
  if ((chosen->flags & policy) != (FL_FRONTEND_DSR | FL_FRONTEND_EXTERNAL)) return false;
  __u32 knows_pods = p->ipv6 ? FL_CONFIG_POD_CIDRS6 : FL_CONFIG_POD_CIDRS4;
  if (source != FROM_OUTSIDE || !(node->flags & knows_pods)) return false;
  if (!p->room || (p->tuple.protocol == IPPROTO_TCP && p->fragment != WHOLE)) return false;
  if (same_ip(&chosen->ip, &p->tuple.src)) return false;
  return !is_member(chosen->service, FL_ON_NODE, &chosen->ip, chosen->port);
}

static __always_inline void backend_tuple(const struct packet* p, const struct choice* chosen,
                                          struct fl_tuple* out) {
  out->src = p->tuple.src;
  out->sport = p->tuple.sport;
  out->dst = chosen->ip;
  out->dport = chosen->port;
  out->protocol = p->tuple.protocol;
  out->hook = FL_EGRESS;
  out->pad = 0;
}

static __always_inline void init_nat(struct fl_nat* nat, const struct fl_ip* ip, __be16 port,
                                     __u16 flags, const struct choice* chosen, __u32 now) {
  nat->ip = *ip;
  nat->port = port;
  nat->flags = flags;
  nat->service = chosen->service;
  nat->set = chosen->set;
  nat->seen = now;
}

// Where to look for a port first: at random in a window that moves with the clock, and is back
// after a minute. So long a backend remembers who closed a connection of its (TIME_WAIT), and it
// may not answer a SYN of the same ports meanwhile.
static __always_inline __u32 timely_port(void) {
  __u32 two_ms = bpf_ktime_get_ns() >> 21;
  return two_ms + bpf_get_prandom_u32() % PORT_WINDOW;
}

// client -> backend leaves as node:port, and backend -> node:port comes back to the client.
static __noinline bool masquerade(struct packet* p, struct new_flow* flow) {
  struct fl_config* node = get_config();
  if (!node) return false;
  __u32 low = node->masquerade_port_low, range = node->masquerade_port_high - low + 1;
  if (range == 0 || range > 65535) return false;
  struct fl_tuple out, back;
  backend_tuple(p, &flow->chosen, &out);
  struct fl_nat nat;  // of the way back to the client, and then of that to the backend
  __u32 now = ticks(), start = bpf_get_prandom_u32();
  init_nat(&nat, &p->tuple.src, p->tuple.sport, FL_NAT_REPLY, &flow->chosen, now);
  for (int i = 0; i < PORT_ATTEMPTS; ++i) {
    bool timely = i < TIMELY_ATTEMPTS;
    __be16 port = bpf_htons(low + (timely ? timely_port() : start + i) % range);
    partner_of(&out, &flow->node, port, &back);
    if (timely && find_flow(&back)) continue;
    if (!take(&back, &nat)) continue;
    init_nat(&nat, &flow->node, port, 0, &flow->chosen, now);
    return write_flow(&out, &nat, BPF_ANY) == 0;
  }
  return false;
}

// What an earlier flow with the same addresses and ports may have left.
static __noinline void forget_masquerade(struct packet* p, struct choice* backend) {
  struct fl_tuple out;
  backend_tuple(p, backend, &out);
  if (find_flow(&out)) erase_flow(&out);
}

// backend -> client shows the service again. False: the client already talks to this backend with
// the same ports, through another service. With DSR the entry keeps the ports, and says to ICMP
// errors what the client dialled. Not static: see parse().
__noinline bool take_reply(const struct packet* p, const struct new_flow* flow) {
  if (!p || !flow) return false;
  struct fl_tuple back;
  partner_of(&p->tuple, &flow->chosen.ip, flow->chosen.port, &back);
  struct fl_nat to_service;
  init_nat(&to_service, &p->tuple.dst, p->tuple.dport, FL_NAT_REPLY | flow->flags, &flow->chosen,
           ticks());
  return take(&back, &to_service);
}

static __noinline enum verdict choose(struct packet* p, struct new_flow* flow) {
  struct fl_frontend_key key = {
      .ip = p->tuple.dst, .port = p->tuple.dport, .protocol = p->tuple.protocol};
  struct fl_config* node = get_config();
  // A connection of which we have not seen the beginning is served by somebody else.
  if (!node || (p->tuple.protocol == IPPROTO_TCP && !is_opening(p))) return NOT_OURS;
  enum verdict verdict;
  if (!find_frontend(&key, node, false, &verdict)) {
    if (verdict == DROP) count(FL_TC_DROPPED);
    return verdict;
  }
  struct asker asker = {.client = p->tuple.src, .address = p->tuple.src, .port = p->tuple.sport};
  asker.source = classify(&p->tuple.src);
  bool clash = true;
  for (int i = 0; i < BACKEND_ATTEMPTS && clash; ++i) {
    asker.no_affinity = i > 0;
    verdict = pick(&key, &asker, &flow->chosen);
    if (verdict == DROP) count(FL_TC_DROPPED);
    if (verdict != CHOSEN) return verdict;
    flow->flags = 0;
    // Nobody sees here whether a datagram is answered.
    if (goes_direct(p, node, asker.source, &flow->chosen)) {
      flow->flags = FL_NAT_DSR | (p->tuple.protocol == IPPROTO_UDP ? FL_NAT_REPLIED : 0);
    }
    clash = !take_reply(p, flow);
  }
  if (clash) {
    count(FL_TC_CLASH);
    return DROP;
  }
  flow->node = node->node_address[p->ipv6 ? 1 : 0];
  // A NodePort is dialled on a node's own address.
  if (is_zero(&flow->node) && key.scope == FL_SCOPE_NODE_PORT) flow->node = p->tuple.dst;
  flow->masquerade = !flow->flags && !is_zero(&flow->node) &&
                     needs_masquerade(p, node, asker.source, &flow->chosen);
  return CHOSEN;
}

// Ends with the client's entry written: from here on its packets are translated.
static __noinline enum verdict begin(struct packet* p, struct new_flow* flow) {
  enum verdict verdict = choose(p, flow);
  if (verdict != CHOSEN) return verdict;
  if (!flow->masquerade) {
    forget_masquerade(p, &flow->chosen);
  } else if (!masquerade(p, flow)) {
    count(FL_TC_NO_PORT);
    return DROP;
  }
  struct fl_nat nat;
  init_nat(&nat, &flow->chosen.ip, flow->chosen.port, flow->flags, &flow->chosen, ticks());
  if (write_flow(&p->tuple, &nat, BPF_ANY)) {
    count(FL_TC_NO_MEMORY);
    return DROP;
  }
  count(FL_TC_FLOWS);
  if (flow->flags) count(FL_TC_DSR_SENT);
  return CHOSEN;
}

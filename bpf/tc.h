// The two tc programs, the same on every link, attached by tcx or by a clsact filter.
#pragma once

#include "bpf/dsr.h"
#include "bpf/icmp.h"
#include "bpf/reject.h"
#include "bpf/rewrite.h"

static __always_inline int translate(struct __sk_buff* skb, struct packet* p, enum side side,
                                     const struct fl_ip* to, __be16 to_port) {
  struct change c = {.to = *to, .to_port = to_port};
  c.from = side == SOURCE ? p->tuple.src : p->tuple.dst;
  c.from_port = side == SOURCE ? p->tuple.sport : p->tuple.dport;
  rewrite(skb, p, side, &c);
  count(side == SOURCE ? FL_TC_EGRESS : FL_TC_INGRESS);
  return PASS;
}

SEC("tc")
int tc_ingress(struct __sk_buff* skb) {
  if (!may_matter_at_ingress(skb)) return PASS;
  struct packet p = {.tuple.hook = FL_INGRESS};
  if (!parse(skb, ETH_HLEN, &p, false)) return PASS;
  if (p.icmp_error) return icmp_error(skb, &p);
  if (has_options(&p)) {
    int heard = hear(skb, &p);
    if (heard != NO_WORD) return heard;
  }
  struct fl_nat* nat = find_flow(&p.tuple);
  if (nat && continues(nat, &p)) {
    struct fl_ip to = nat->ip;
    __be16 port = nat->port;
    bool direct = nat->flags & FL_NAT_DSR;
    touch(nat, &p.tuple, p.tcp_flags);
    translate(skb, &p, DESTINATION, &to, port);
    return direct ? tell(skb, &p) : PASS;
  }
  // A new flow begins with its first fragment, and never with a reset.
  if (p.fragment == LATER_FRAGMENT || p.tcp_flags & TCP_RST) return PASS;
  struct new_flow flow = {};
  enum verdict verdict = begin(&p, &flow);
  if (verdict == NOT_OURS) {
    // The ports of a flow of ours that has ended now belong to one of somebody else's.
    if (nat) erase_flow(&p.tuple);
    return PASS;
  }
  if (verdict == DROP) return TC_ACT_SHOT;
  if (verdict == REJECT) return answer_refused(skb, &p);
  mark_flow(&p.tuple.src, &p.tuple.dst, &flow.chosen.ip, flow.masquerade ? &flow.node : 0);
  translate(skb, &p, DESTINATION, &flow.chosen.ip, flow.chosen.port);
  return flow.flags ? tell(skb, &p) : PASS;
}

SEC("tc")
int tc_egress(struct __sk_buff* skb) {
  if (!may_matter_at_egress(skb)) return PASS;
  struct packet p = {.tuple.hook = FL_EGRESS};
  if (!parse(skb, ETH_HLEN, &p, false)) return PASS;
  if (p.icmp_error) return icmp_error(skb, &p);
  struct fl_nat* nat = find_flow(&p.tuple);
  if (!nat) return PASS;
  if (is_taken_over(nat, p.tcp_flags)) {
    erase_flow(&p.tuple);
    return PASS;
  }
  struct fl_ip to = nat->ip;
  __be16 port = nat->port;
  touch(nat, &p.tuple, p.tcp_flags);
  return translate(skb, &p, SOURCE, &to, port);
}

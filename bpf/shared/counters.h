// Per-CPU counters, in the order of the counters map. dataplane/ebpf/counters.cc names them.
#pragma once

enum fl_counter {
  FL_CONNECT_TRANSLATED,
  FL_CONNECT_REJECTED,
  FL_CONNECT_DROPPED,
  FL_SENDMSG_TRANSLATED,
  FL_SENDMSG_REJECTED,
  FL_SENDMSG_DROPPED,
  FL_RECVMSG_TRANSLATED,
  FL_GETPEERNAME_TRANSLATED,
  FL_TC_FLOWS,             // new flows through tc
  FL_TC_INGRESS,           // packets whose destination was rewritten
  FL_TC_EGRESS,            // packets whose source was rewritten
  FL_TC_ICMP,              // ICMP errors translated
  FL_TC_REJECTED,          // answered with RST or ICMP unreachable
  FL_TC_DROPPED,           // policy, source range, or an address that no service has
  FL_TC_NO_PORT,           // dropped: no masquerade port is free
  FL_TC_CLASH,             // dropped: another flow has the same addresses and ports behind NAT
  FL_TC_NO_MEMORY,         // dropped: the conntrack map refused an entry
  FL_TC_FRAGMENT_UNKNOWN,  // later fragments that passed, because their first was not seen
  FL_TC_DSR_SENT,          // new flows whose backend's node was told to answer directly
  FL_TC_DSR_TAKEN,         // new flows that another node sent, answered directly
  FL_TC_DSR_REFUSED,       // dropped: another node's word for a service that does not have DSR
  FL_COUNTERS,
};

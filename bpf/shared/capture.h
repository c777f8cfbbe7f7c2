// What the sk_lookup program and the userspace mode share: what becomes of new flows to Services.
// Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. Nothing here is pinned.
#pragma once

#include <linux/types.h>

#ifndef __cplusplus
#define static_assert _Static_assert
#endif

// captured: a dialled address, port and protocol -> struct fl_capture.
struct fl_capture_key {
  __u8 ip[16];
  __u16 port;     // host order
  __u8 protocol;  // IPPROTO_*
  __u8 zero;
};
static_assert(sizeof(struct fl_capture_key) == 20, "no padding");

// Where a flow comes from, as far as traffic policies care.
enum fl_source { FL_SOURCE_NODE, FL_SOURCE_POD, FL_SOURCE_OUTSIDE, FL_SOURCES };

enum fl_verdict {
  FL_VERDICT_CARRY,   // to the forwarder's socket
  FL_VERDICT_REFUSE,  // as if nobody listened: RST, ICMP port unreachable
  FL_VERDICT_DROP,    // to a socket that takes nothing and says nothing
};

struct fl_capture {
  __u8 by_source[FL_SOURCES];  // enum fl_source -> enum fl_verdict
  __u8 guarded;                // 1: sources that `admitted` does not have are dropped
};
static_assert(sizeof(struct fl_capture) == 4, "no padding");

// admitted: who may dial a guarded address -> unused. A prefix: the bits of `to` and of the
// network.
struct fl_admitted {
  __u32 bits;
  struct fl_capture_key to;
  __u8 from[16];
};
static_assert(sizeof(struct fl_admitted) == 40, "no padding");

// vips: an address all of whose ports are ours -> unused.
struct fl_capture_vip {
  __u8 ip[16];
};
static_assert(sizeof(struct fl_capture_vip) == 16, "no padding");

// sources: a network -> enum fl_source, as __u32. Who is in none is outside.
struct fl_source_prefix {
  __u32 bits;
  __u8 ip[16];
};
static_assert(sizeof(struct fl_source_prefix) == 20, "no padding");

// The slots of the map `sockets`; those for UDP follow those for TCP.
enum { FL_SOCKET_TCP, FL_SOCKET_UDP, FL_SOCKET_DROP_TCP, FL_SOCKET_DROP_UDP, FL_SOCKETS };

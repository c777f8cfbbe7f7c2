// What the sk_lookup program and the userspace mode share: which new flows go to the forwarder.
// Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. Nothing here is pinned.
#pragma once

#include <linux/types.h>

#ifndef __cplusplus
#define static_assert _Static_assert
#endif

// captured: a dialled address, port and protocol -> enum fl_capture.
struct fl_capture_key {
  __u8 ip[16];
  __u16 port;     // host order
  __u8 protocol;  // IPPROTO_*
  __u8 zero;
};
static_assert(sizeof(struct fl_capture_key) == 20, "no padding");

// What becomes of a new flow; the first two are also the slots of the map `sockets`.
enum fl_capture { FL_CAPTURE_TCP = 0, FL_CAPTURE_UDP = 1, FL_CAPTURE_REFUSE = 2 };

enum { FL_CAPTURE_SOCKETS = 2 };

// vips: an address all of whose ports are ours -> unused.
struct fl_capture_vip {
  __u8 ip[16];
};
static_assert(sizeof(struct fl_capture_vip) == 16, "no padding");

// Maglev: a flow's addresses and ports give a place, the list's table says whose it is. What the
// hash gives is a contract between nodes, also those that run another version: all of them have to
// lead one flow to one backend. So it reads its words in network order, and never changes.
#pragma once

#include "bpf/shared/maps.h"

// Prime, and the largest of which an entry of the map fits into 4 KiB in the kernel: 2 % of
// unevenness at 40 backends. A list of more backends than places has no table.
enum { FL_MAGLEV_SIZE = 2011 };

// maglev: the table of a list.
struct fl_maglev {
  __u16 slot[FL_MAGLEV_SIZE];  // place -> slot of the list
  __u16 pad;
  __u32 list;  // repeats the key: the kernel reuses map elements while a program reads them
};
static_assert(sizeof(struct fl_maglev) == 4028, "no hidden padding");
static_assert(offsetof(struct fl_maglev, list) == 4024, "no hidden padding");

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FL_FROM_NET32(x) __builtin_bswap32(x)
#define FL_FROM_NET16(x) __builtin_bswap16(x)
#else
#define FL_FROM_NET32(x) (x)
#define FL_FROM_NET16(x) (x)
#endif

static inline __u64 fl_hash_word(__u64 hash, __u64 word) {
  hash = (hash ^ word) * 0xd6e8feb86659fd93ULL;
  return hash ^ hash >> 32;
}

static inline __u64 fl_hash_ip(__u64 hash, const struct fl_ip* ip) {
  hash = fl_hash_word(hash, (__u64)FL_FROM_NET32(ip->word[0]) << 32 | FL_FROM_NET32(ip->word[1]));
  return fl_hash_word(hash, (__u64)FL_FROM_NET32(ip->word[2]) << 32 | FL_FROM_NET32(ip->word[3]));
}

// `dialled` as it stands in frontends: a NodePort's flow has the same hash on every node.
static inline __u64 fl_flow_hash(const struct fl_ip* client, __be16 port,
                                 const struct fl_frontend_key* dialled) {
  __u64 ports = (__u64)FL_FROM_NET16(dialled->port) << 16 | FL_FROM_NET16(port);
  __u64 hash = fl_hash_ip(fl_hash_ip(0, client), &dialled->ip);
  hash = fl_hash_word(hash, (__u64)dialled->scope << 40 | (__u64)dialled->protocol << 32 | ports);
  return fl_hash_word(hash, ~0ULL);
}

// 0 to FL_MAGLEV_SIZE - 1.
static inline __u32 fl_maglev_place(__u64 hash) { return (hash >> 32) * FL_MAGLEV_SIZE >> 32; }

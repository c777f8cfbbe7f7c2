// marks: the question that a tc program asks of every packet before it looks at anything else: can
// this one matter? A byte for each hash of a block of 256 addresses of which one is dialled, of
// such an address, and of a block of which all matter (ingress), and of a pair of addresses that
// talk through tc (egress); 0 says no. Most packets are told by their block. A hash that two share
// costs time, no more.
//
// Whoever writes a frontend, an address or a flow marks it with the current generation. The agent,
// which maps this into its memory, now and then begins a new generation, marks what is still there
// again, and clears what carries an older one than the last.
#pragma once

#include "bpf/shared/maps.h"

enum { FL_MARK_BITS = 17, FL_MARK_SLOTS = 1 << FL_MARK_BITS };

struct fl_marks {
  __u32 generation;  // 1..255
  __u32 everything;  // not 0: every packet may matter
  __u8 slots[FL_MARK_SLOTS];
};
static_assert(sizeof(struct fl_marks) == FL_MARK_SLOTS + 8, "no padding");

// Odd, with bits all over: products of addresses that follow each other are far apart.
#define FL_MIX1 0x9e3779b97f4a7c15ULL
#define FL_MIX2 0xc2b2ae3d27d4eb4fULL

enum { FL_MARK_SHIFT = 64 - FL_MARK_BITS };

// Different for each address of a family, and of IPv4 the address alone: what is constant in a
// mapped address cancels out, so that little is left to compute.
static inline __u64 fl_fold(const struct fl_ip* ip) {
  __u64 high = (__u64)ip->word[0] << 32 | ip->word[1];
  __u64 low = (__u64)(ip->word[2] ^ 0xffff0000) << 32 | ip->word[3];
  __u64 all = high * FL_MIX2 ^ low;
  return all ^ all >> 32;
}

// A destination at ingress.
static inline __u32 fl_address_slot(const struct fl_ip* ip) {
  __u64 mixed = fl_fold(ip) * FL_MIX2;
  return (mixed ^ mixed >> 32) * FL_MIX1 >> FL_MARK_SHIFT;
}

static inline __u64 fl_fold_block(const struct fl_ip* ip) {
  struct fl_ip block = *ip;
  ((__u8*)&block.word[3])[3] = 0;
  return fl_fold(&block);
}

// The 256 addresses that differ in the last byte only: one of them is dialled.
static inline __u32 fl_block_slot(const struct fl_ip* ip) {
  return fl_fold_block(ip) * FL_MIX2 >> FL_MARK_SHIFT;
}

// All of them matter: service CIDRs are marked by these, and by the one above.
static inline __u32 fl_range_slot(const struct fl_ip* ip) {
  return ~fl_fold_block(ip) * FL_MIX1 >> FL_MARK_SHIFT;
}

// Two hosts, either way round, at egress.
static inline __u32 fl_pair_slot(const struct fl_ip* a, const struct fl_ip* b) {
  return fl_fold(a) * fl_fold(b) * FL_MIX1 >> FL_MARK_SHIFT;
}

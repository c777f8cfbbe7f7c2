// The maps, and what every program needs from them.
#pragma once

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/shared/counters.h"
#include "bpf/shared/maglev.h"
#include "bpf/shared/maps.h"

#define MAP(map_name, map_type, map_key, map_value, map_entries, map_flags_) \
  struct {                                                                   \
    __uint(type, map_type);                                                  \
    __type(key, map_key);                                                    \
    __type(value, map_value);                                                \
    __uint(max_entries, map_entries);                                        \
    __uint(map_flags, map_flags_);                                           \
  } map_name SEC(".maps")

// Sizes that options set are replaced by the loader.
MAP(frontends, BPF_MAP_TYPE_HASH, struct fl_frontend_key, struct fl_frontend, 65536,
    BPF_F_NO_PREALLOC);
MAP(backends, BPF_MAP_TYPE_HASH, struct fl_backend_key, struct fl_backend, 262144,
    BPF_F_NO_PREALLOC);
MAP(members, BPF_MAP_TYPE_HASH, struct fl_member_key, __u32, 262144, BPF_F_NO_PREALLOC);
MAP(maglev, BPF_MAP_TYPE_HASH, __u32, struct fl_maglev, 4096, BPF_F_NO_PREALLOC);
MAP(addresses, BPF_MAP_TYPE_HASH, struct fl_ip, __u32, 65536, BPF_F_NO_PREALLOC);
MAP(source_ranges, BPF_MAP_TYPE_LPM_TRIE, struct fl_source_range, __u32, FL_MAX_SOURCE_RANGES,
    BPF_F_NO_PREALLOC);
MAP(pod_cidrs, BPF_MAP_TYPE_LPM_TRIE, struct fl_cidr, __u32, FL_MAX_POD_CIDRS, BPF_F_NO_PREALLOC);
MAP(service_cidrs, BPF_MAP_TYPE_LPM_TRIE, struct fl_cidr, __u32, FL_MAX_SERVICE_CIDRS,
    BPF_F_NO_PREALLOC);
MAP(config, BPF_MAP_TYPE_ARRAY, __u32, struct fl_config, 1, 0);
MAP(reverse, BPF_MAP_TYPE_LRU_HASH, struct fl_reverse_key, struct fl_reverse, FL_MAX_REVERSE, 0);
MAP(sticky, BPF_MAP_TYPE_LRU_HASH, struct fl_reverse_key, struct fl_sticky, FL_MAX_STICKY, 0);
MAP(affinity, BPF_MAP_TYPE_LRU_HASH, struct fl_affinity_key, struct fl_affinity, FL_MAX_AFFINITY,
    0);
MAP(connected, BPF_MAP_TYPE_LRU_HASH, __u64, struct fl_connected, FL_MAX_CONNECTED, 0);
MAP(fragments, BPF_MAP_TYPE_LRU_HASH, struct fl_fragment_key, struct fl_ports, FL_MAX_FRAGMENTS, 0);
MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, FL_COUNTERS, 0);

// Set by the loader after it tried the kernel.
const volatile __u8 has_set_retval = 0;  // bpf_set_retval(), 5.18

static __always_inline void count(__u32 counter) {
  __u64* value = bpf_map_lookup_elem(&counters, &counter);
  if (value) ++*value;
}

static __always_inline struct fl_config* get_config(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline bool same_ip(const struct fl_ip* a, const struct fl_ip* b) {
  return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
         a->word[3] == b->word[3];
}

static __always_inline struct fl_ip mapped(__be32 v4) {
  struct fl_ip ip = {{0, 0, bpf_htonl(0xffff), v4}};
  return ip;
}

static __always_inline bool is_v4(const struct fl_ip* ip) {
  return ip->word[0] == 0 && ip->word[1] == 0 && ip->word[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_zero(const struct fl_ip* ip) {
  return (ip->word[0] | ip->word[1] | ip->word[2] | ip->word[3]) == 0;
}

// IPv4 loopback, or unspecified, which connects to it. NodePorts are not served on ::1.
static __always_inline bool is_loopback4(const struct fl_ip* ip) {
  return is_v4(ip) &&
         ((ip->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || !ip->word[3]);
}

static __always_inline __u32 ticks(void) { return bpf_ktime_get_ns() >> FL_TICK_SHIFT; }

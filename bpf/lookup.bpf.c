// The userspace mode's capture: which socket a new flow to a Service reaches
// (Documentation/bpf/prog_sk_lookup.rst). Runs when the kernel looks for a listening TCP socket or
// an unconnected UDP socket, so packets of connections that are made never come here.
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/shared/capture.h"

// Sizes are replaced by the loader.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __type(key, struct fl_capture_key);
  __type(value, struct fl_capture);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
} captured SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __type(key, struct fl_admitted);
  __type(value, __u32);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
} admitted SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __type(key, struct fl_capture_vip);
  __type(value, __u32);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
} vips SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __type(key, struct fl_source_prefix);
  __type(value, __u32);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
} sources SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, FL_SOCKETS);
} sockets SEC(".maps");

enum { family_inet = 2 };  // AF_INET; its header is not for BPF

// All fields are read for both families (the other's are zero), so that the compiler has no reason
// to compute which one: the verifier takes constant offsets only.
static __always_inline void get_local(const volatile struct bpf_sk_lookup* ctx, __u8* ip) {
  const __u32 v4 = ctx->local_ip4;
  __u32 word[4] = {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]};
  if (ctx->family == family_inet) {
    word[2] = bpf_htonl(0xffff);
    word[3] = v4;
  }
  __builtin_memcpy(ip, word, sizeof word);
}

static __always_inline void get_remote(const volatile struct bpf_sk_lookup* ctx, __u8* ip) {
  const __u32 v4 = ctx->remote_ip4;
  __u32 word[4] = {ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2], ctx->remote_ip6[3]};
  if (ctx->family == family_inet) {
    word[2] = bpf_htonl(0xffff);
    word[3] = v4;
  }
  __builtin_memcpy(ip, word, sizeof word);
}

static __always_inline bool admits(const struct fl_capture_key* to, const __u8* from) {
  struct fl_admitted key = {.bits = 8 * (sizeof key.to + sizeof key.from), .to = *to};
  __builtin_memcpy(key.from, from, sizeof key.from);
  return bpf_map_lookup_elem(&admitted, &key) ? true : false;
}

// Only this node can have the dialled address as its source: a VIP is local to it.
static __always_inline __u32 source_of(const struct fl_capture_key* to, const __u8* from) {
  if (__builtin_memcmp(to->ip, from, sizeof to->ip) == 0) return FL_SOURCE_NODE;
  struct fl_source_prefix key = {.bits = 8 * sizeof key.ip};
  __builtin_memcpy(key.ip, from, sizeof key.ip);
  const __u32* found = bpf_map_lookup_elem(&sources, &key);
  return found && *found < FL_SOURCES ? *found : FL_SOURCE_OUTSIDE;
}

// Who dials is asked for only where it matters.
static __always_inline __u8 verdict_of(const volatile struct bpf_sk_lookup* ctx,
                                       const struct fl_capture_key* key,
                                       const struct fl_capture* what) {
  const __u8 node = what->by_source[FL_SOURCE_NODE];
  const __u8 pod = what->by_source[FL_SOURCE_POD];
  const __u8 outside = what->by_source[FL_SOURCE_OUTSIDE];
  const bool same = node == outside && pod == outside;
  if (same && !what->guarded) return outside;
  __u8 from[16];
  get_remote(ctx, from);
  if (what->guarded && !admits(key, from)) return FL_VERDICT_DROP;
  if (same) return outside;
  const __u32 source = source_of(key, from);
  return source == FL_SOURCE_NODE ? node : source == FL_SOURCE_POD ? pod : outside;
}

SEC("sk_lookup")
int capture(struct bpf_sk_lookup* ctx) {
  struct fl_capture_key key = {};
  get_local(ctx, key.ip);
  key.port = (__u16)ctx->local_port;
  key.protocol = (__u8)ctx->protocol;
  const struct fl_capture* found = bpf_map_lookup_elem(&captured, &key);
  if (!found) {
    struct fl_capture_vip vip;
    __builtin_memcpy(vip.ip, key.ip, sizeof vip.ip);
    // SK_DROP: the kernel answers as if nobody listened.
    return bpf_map_lookup_elem(&vips, &vip) ? SK_DROP : SK_PASS;
  }
  const __u8 verdict = verdict_of(ctx, &key, found);
  if (verdict == FL_VERDICT_REFUSE) return SK_DROP;
  const __u32 slot = (verdict == FL_VERDICT_CARRY ? FL_SOCKET_TCP : FL_SOCKET_DROP_TCP) +
                     (key.protocol == IPPROTO_UDP ? 1 : 0);
  struct bpf_sock* socket = bpf_map_lookup_elem(&sockets, &slot);
  if (!socket) return SK_DROP;
  const long error = bpf_sk_assign(ctx, socket, 0);
  bpf_sk_release(socket);
  return error ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";

// The userspace mode's capture: which socket a new flow to a Service reaches
// (Documentation/bpf/prog_sk_lookup.rst). Runs when the kernel looks for a listening TCP socket or
// an unconnected UDP socket, so packets of connections that are made never come here.
#include <linux/bpf.h>
#include <linux/in6.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/shared/capture.h"

// Sizes are replaced by the loader.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __type(key, struct fl_capture_key);
  __type(value, __u32);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
} captured SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __type(key, struct fl_capture_vip);
  __type(value, __u32);
  __uint(max_entries, 131072);
  __uint(map_flags, BPF_F_NO_PREALLOC);
} vips SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKMAP);
  __type(key, __u32);
  __type(value, __u64);
  __uint(max_entries, FL_CAPTURE_SOCKETS);
} sockets SEC(".maps");

enum { family_inet = 2 };  // AF_INET; its header is not for BPF

// All fields are read for both families (the other's are zero), so that the compiler has no reason
// to compute which one: the verifier takes constant offsets only.
static __always_inline void get_address(const volatile struct bpf_sk_lookup* ctx, __u8* ip) {
  const __u32 v4 = ctx->local_ip4;
  __u32 word[4] = {ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]};
  if (ctx->family == family_inet) {
    word[2] = bpf_htonl(0xffff);
    word[3] = v4;
  }
  __builtin_memcpy(ip, word, sizeof word);
}

SEC("sk_lookup")
int capture(struct bpf_sk_lookup* ctx) {
  struct fl_capture_key key = {};
  get_address(ctx, key.ip);
  key.port = (__u16)ctx->local_port;
  key.protocol = (__u8)ctx->protocol;
  const __u32* found = bpf_map_lookup_elem(&captured, &key);
  if (!found) {
    struct fl_capture_vip vip;
    __builtin_memcpy(vip.ip, key.ip, sizeof vip.ip);
    // SK_DROP: the kernel answers as if nobody listened.
    return bpf_map_lookup_elem(&vips, &vip) ? SK_DROP : SK_PASS;
  }
  const __u32 slot = *found;
  if (slot >= FL_CAPTURE_SOCKETS) return SK_DROP;
  struct bpf_sock* socket = bpf_map_lookup_elem(&sockets, &slot);
  if (!socket) return SK_DROP;
  const long error = bpf_sk_assign(ctx, socket, 0);
  bpf_sk_release(socket);
  return error ? SK_DROP : SK_PASS;
}

char LICENSE[] SEC("license") = "GPL";

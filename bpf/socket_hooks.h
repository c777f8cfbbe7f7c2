// The cgroup programs: one body for both families, wrapped in the two shapes of bpf_sock_addr.
// An IPv6 socket that talks to ::ffff:a.b.c.d comes through the IPv6 hooks with that address, and
// so finds the IPv4 services.
#pragma once

#include "bpf/socket.h"

static __always_inline struct address get4(struct bpf_sock_addr* ctx) {
  struct address a = {.ip = mapped(ctx->user_ip4), .port = ctx->user_port};
  return a;
}

static __always_inline void set4(struct bpf_sock_addr* ctx, const struct address* a) {
  ctx->user_ip4 = a->ip.word[3];
  ctx->user_port = a->port;
}

static __always_inline struct address get6(struct bpf_sock_addr* ctx) {
  struct address a = {.port = ctx->user_port};
  a.ip.word[0] = ctx->user_ip6[0];
  a.ip.word[1] = ctx->user_ip6[1];
  a.ip.word[2] = ctx->user_ip6[2];
  a.ip.word[3] = ctx->user_ip6[3];
  return a;
}

static __always_inline void set6(struct bpf_sock_addr* ctx, const struct address* a) {
  ctx->user_ip6[0] = a->ip.word[0];
  ctx->user_ip6[1] = a->ip.word[1];
  ctx->user_ip6[2] = a->ip.word[2];
  ctx->user_ip6[3] = a->ip.word[3];
  ctx->user_port = a->port;
}

#define FORWARD_HOOK(hook, family, act)                                   \
  SEC("cgroup/" #hook #family)                                            \
  int cgroup_##hook##family(struct bpf_sock_addr* ctx) {                  \
    struct address a = get##family(ctx);                                  \
    struct fl_ip before = a.ip;                                           \
    __be16 port = a.port;                                                 \
    int result = act(ctx, &a);                                            \
    if (a.port != port || !same_ip(&a.ip, &before)) set##family(ctx, &a); \
    return result;                                                        \
  }

#define BACK_HOOK(hook, family, counter)                 \
  SEC("cgroup/" #hook #family)                           \
  int cgroup_##hook##family(struct bpf_sock_addr* ctx) { \
    struct address a = get##family(ctx);                 \
    if (give_back(ctx, &a)) {                            \
      set##family(ctx, &a);                              \
      count(counter);                                    \
    }                                                    \
    return ALLOW;                                        \
  }

FORWARD_HOOK(connect, 4, connect_to)
FORWARD_HOOK(connect, 6, connect_to)
FORWARD_HOOK(sendmsg, 4, send_to)
FORWARD_HOOK(sendmsg, 6, send_to)
BACK_HOOK(recvmsg, 4, FL_RECVMSG_TRANSLATED)
BACK_HOOK(recvmsg, 6, FL_RECVMSG_TRANSLATED)
BACK_HOOK(getpeername, 4, FL_GETPEERNAME_TRANSLATED)
BACK_HOOK(getpeername, 6, FL_GETPEERNAME_TRANSLATED)

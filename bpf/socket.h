// Socket-level balancing: the address is exchanged when a socket connects or sends, and given back
// when it asks who it talks to. No packet is touched.
#pragma once

#include "bpf/select.h"

#define EHOSTUNREACH_ 113
#define ECONNREFUSED_ 111

struct address {
  struct fl_ip ip;
  __be16 port;
};

enum { DENY = 0, ALLOW = 1 };

static __always_inline int refuse(enum verdict verdict) {
  // A packet that is dropped makes its sender wait for a timeout; a socket can be told at once.
  // Without the helper the caller gets EPERM.
  if (has_set_retval) bpf_set_retval(verdict == REJECT ? -ECONNREFUSED_ : -EHOSTUNREACH_);
  return DENY;
}

static __always_inline struct fl_reverse_key reverse_key(struct bpf_sock_addr* ctx,
                                                         const struct fl_ip* ip, __be16 port) {
  struct fl_reverse_key key = {
      .cookie = bpf_get_socket_cookie(ctx), .ip = *ip, .port = port, .protocol = ctx->protocol};
  return key;
}

// Remembers what was dialled, so that recvmsg and getpeername can say it.
static __always_inline void remember(struct bpf_sock_addr* ctx, const struct choice* chosen,
                                     const struct address* dialled) {
  struct fl_reverse_key key = reverse_key(ctx, &chosen->ip, chosen->port);
  struct fl_reverse* known = bpf_map_lookup_elem(&reverse, &key);
  if (known && known->port == dialled->port && same_ip(&known->ip, &dialled->ip)) return;
  struct fl_reverse value = {.ip = dialled->ip, .port = dialled->port};
  bpf_map_update_elem(&reverse, &key, &value, BPF_ANY);
}

static __always_inline enum verdict find(struct bpf_sock_addr* ctx, const struct address* dialled,
                                         struct fl_frontend_key* key) {
  bool node_loopback = false;
  if (is_loopback(&dialled->ip)) {
    struct fl_config* node = get_config();
    // The loopback of a pod is its own business.
    if (!node || node->node_netns != bpf_get_netns_cookie(ctx)) return NOT_OURS;
    node_loopback = true;
  }
  key->ip = dialled->ip;
  key->port = dialled->port;
  key->protocol = ctx->protocol;
  return find_frontend(key, node_loopback) ? CHOSEN : NOT_OURS;
}

// connect(2): TCP, and UDP that will only use this one peer.
static __always_inline int connect_to(struct bpf_sock_addr* ctx, struct address* address) {
  struct fl_frontend_key key;
  if (find(ctx, address, &key) == NOT_OURS) return ALLOW;
  struct choice chosen;
  enum verdict verdict = pick(&key, &chosen);
  if (verdict == NOT_OURS) return ALLOW;
  if (verdict != CHOSEN) {
    count(verdict == REJECT ? FL_CONNECT_REJECTED : FL_CONNECT_DROPPED);
    return refuse(verdict);
  }
  remember(ctx, &chosen, address);
  address->ip = chosen.ip;
  address->port = chosen.port;
  count(FL_CONNECT_TRANSLATED);
  return ALLOW;
}

// Datagrams of one socket to one service keep their backend for as long as it is there, as they
// would with a connection tracker on their way.
static __always_inline enum verdict pick_sticky(struct bpf_sock_addr* ctx,
                                                const struct address* dialled,
                                                const struct fl_frontend_key* key,
                                                struct choice* chosen) {
  struct fl_reverse_key flow = reverse_key(ctx, &dialled->ip, dialled->port);
  struct fl_sticky* last = bpf_map_lookup_elem(&sticky, &flow);
  struct fl_frontend* frontend = bpf_map_lookup_elem(&frontends, key);
  if (last && frontend && last->service == frontend->service && last->slot < frontend->count &&
      still_there(last->service, last->slot, &last->ip, last->port)) {
    chosen->ip = last->ip;
    chosen->port = last->port;
    return CHOSEN;
  }
  enum verdict verdict = pick(key, chosen);
  if (verdict == CHOSEN) {
    struct fl_sticky value = {
        .ip = chosen->ip, .port = chosen->port, .service = chosen->service, .slot = chosen->slot};
    bpf_map_update_elem(&sticky, &flow, &value, BPF_ANY);
  }
  return verdict;
}

static __always_inline int send_to(struct bpf_sock_addr* ctx, struct address* address) {
  struct fl_frontend_key key;
  if (find(ctx, address, &key) == NOT_OURS) return ALLOW;
  struct choice chosen;
  enum verdict verdict = pick_sticky(ctx, address, &key, &chosen);
  if (verdict == NOT_OURS) return ALLOW;
  if (verdict != CHOSEN) {
    count(verdict == REJECT ? FL_SENDMSG_REJECTED : FL_SENDMSG_DROPPED);
    return refuse(verdict);
  }
  remember(ctx, &chosen, address);
  address->ip = chosen.ip;
  address->port = chosen.port;
  count(FL_SENDMSG_TRANSLATED);
  return ALLOW;
}

// recvmsg and getpeername: back to what was dialled. True when the address changed.
static __always_inline bool give_back(struct bpf_sock_addr* ctx, struct address* address) {
  struct fl_reverse_key key = reverse_key(ctx, &address->ip, address->port);
  struct fl_reverse* dialled = bpf_map_lookup_elem(&reverse, &key);
  if (!dialled) return false;
  address->ip = dialled->ip;
  address->port = dialled->port;
  return true;
}

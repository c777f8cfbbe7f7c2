// Socket-level balancing: the address is exchanged when a socket connects or sends, and given back
// when it asks who it talks to. No packet is touched.
#pragma once

#include "bpf/select.h"

#define EHOSTUNREACH_ 113
#define ECONNREFUSED_ 111
#define AF_INET_ 2

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

// Remembers what was dialled, so that recvmsg and getpeername can say it. `again`: this socket may
// have sent there before.
static __always_inline void remember(struct bpf_sock_addr* ctx, const struct choice* chosen,
                                     const struct address* dialled, bool again) {
  struct fl_reverse_key key = reverse_key(ctx, &chosen->ip, chosen->port);
  struct fl_reverse* known = again ? bpf_map_lookup_elem(&reverse, &key) : 0;
  if (known && known->port == dialled->port && same_ip(&known->ip, &dialled->ip)) return;
  struct fl_reverse value = {.ip = dialled->ip, .port = dialled->port};
  bpf_map_update_elem(&reverse, &key, &value, BPF_ANY);
}

struct dial {
  struct fl_frontend_key key;
  struct asker asker;
  bool udp;
};

// An address that the socket is bound to, or all zero.
static __always_inline struct fl_ip bound_address(struct bpf_sock_addr* ctx) {
  struct fl_ip ip = {};
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return ip;
  if (sk->family == AF_INET_) return sk->src_ip4 ? mapped(sk->src_ip4) : ip;
  ip.word[0] = sk->src_ip6[0];
  ip.word[1] = sk->src_ip6[1];
  ip.word[2] = sk->src_ip6[2];
  ip.word[3] = sk->src_ip6[3];
  return ip;
}

// Network order; 0: the kernel has yet to choose one.
static __always_inline __be16 bound_port(struct bpf_sock_addr* ctx) {
  struct bpf_sock* sk = ctx->sk;
  return sk ? bpf_htons(sk->src_port) : 0;
}

static __always_inline bool is_pod(const struct fl_config* node, __u64 netns) {
  return node->node_netns && node->node_netns != netns;
}

// What a pod sends to the outer addresses, and with masquerade_all to every address, has to leave
// as the node's: that is done where its packets pass.
static __always_inline bool leave_to_tc(const struct fl_config* node, __u32 frontend_flags) {
  if (!(node->flags & FL_CONFIG_TC)) return false;
  return frontend_flags & FL_FRONTEND_EXTERNAL || node->flags & FL_CONFIG_MASQUERADE_ALL;
}

static __always_inline void set_asker(struct bpf_sock_addr* ctx, const struct fl_config* node,
                                      __u64 netns, __u32 frontend_flags, struct dial* dial) {
  struct asker* asker = &dial->asker;
  asker->client.word[0] = netns >> 32;
  asker->client.word[1] = netns;
  asker->client.word[2] = 0;
  asker->client.word[3] = FL_AFFINITY_COOKIE;
  asker->address = bound_address(ctx);
  asker->no_affinity = 0;
  if (frontend_flags & FL_FRONTEND_MAGLEV) asker->port = bound_port(ctx);
  __u32 knows_pods = is_v4(&dial->key.ip) ? FL_CONFIG_POD_CIDRS4 : FL_CONFIG_POD_CIDRS6;
  asker->source = FROM_NODE;
  if (is_pod(node, netns)) {
    asker->source = node->flags & knows_pods ? FROM_LOCAL_POD : FROM_OUTSIDE;
  }
}

// CHOSEN: there is a frontend, and it is not left to tc.
static __always_inline enum verdict find(struct bpf_sock_addr* ctx, const struct address* dialled,
                                         struct dial* dial) {
  struct fl_config* node = get_config();
  if (!node || (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)) return NOT_OURS;
  __u64 netns = bpf_get_netns_cookie(ctx);
  bool node_loopback = false;
  if (is_loopback4(&dialled->ip)) {
    // The loopback of a pod is its own business.
    if (node->node_netns != netns || !(node->flags & FL_CONFIG_LOCALHOST)) return NOT_OURS;
    node_loopback = true;
  }
  dial->udp = ctx->protocol == IPPROTO_UDP;
  dial->key.ip = dialled->ip;
  dial->key.port = dialled->port;
  dial->key.protocol = ctx->protocol;
  enum verdict without;
  struct fl_frontend* frontend = find_frontend(&dial->key, node, node_loopback, &without);
  if (!frontend) return without;
  if (is_pod(node, netns) && leave_to_tc(node, frontend->flags)) return NOT_OURS;
  set_asker(ctx, node, netns, frontend->flags, dial);
  return CHOSEN;
}

// A connected UDP socket asks nobody when it sends: the agent closes it when its backend is gone.
static __always_inline void note_connected(struct bpf_sock_addr* ctx, const struct choice* chosen) {
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct fl_connected value = {.ip = chosen->ip, .port = chosen->port, .service = chosen->service};
  bpf_map_update_elem(&connected, &cookie, &value, BPF_ANY);
}

// connect(2): TCP, and UDP that will only use this one peer.
static __always_inline int connect_to(struct bpf_sock_addr* ctx, struct address* address) {
  struct dial dial = {};
  struct choice chosen = {};
  enum verdict verdict = find(ctx, address, &dial);
  if (verdict == CHOSEN) verdict = pick(&dial.key, &dial.asker, &chosen);
  if (verdict == NOT_OURS) return ALLOW;
  if (verdict != CHOSEN) {
    count(verdict == REJECT ? FL_CONNECT_REJECTED : FL_CONNECT_DROPPED);
    return refuse(verdict);
  }
  if (dial.udp) note_connected(ctx, &chosen);
  remember(ctx, &chosen, address, false);
  address->ip = chosen.ip;
  address->port = chosen.port;
  count(FL_CONNECT_TRANSLATED);
  return ALLOW;
}

// Datagrams of one socket to one service keep their backend for as long as it is there, as they
// would with a connection tracker on their way.
static __always_inline enum verdict pick_sticky(struct bpf_sock_addr* ctx,
                                                const struct address* dialled,
                                                const struct dial* dial, struct choice* chosen) {
  struct fl_reverse_key flow = reverse_key(ctx, &dialled->ip, dialled->port);
  struct fl_sticky* last = bpf_map_lookup_elem(&sticky, &flow);
  struct fl_frontend* frontend = bpf_map_lookup_elem(&frontends, &dial->key);
  if (last && frontend && last->service == frontend->service &&
      last->set == set_for(frontend->flags, dial->asker.source) &&
      is_member(last->service, last->set, &last->ip, last->port)) {
    chosen->ip = last->ip;
    chosen->port = last->port;
    return CHOSEN;
  }
  enum verdict verdict = pick(&dial->key, &dial->asker, chosen);
  if (verdict == CHOSEN) {
    struct fl_sticky value = {
        .ip = chosen->ip, .port = chosen->port, .service = chosen->service, .set = chosen->set};
    bpf_map_update_elem(&sticky, &flow, &value, BPF_ANY);
  }
  return verdict;
}

static __always_inline int send_to(struct bpf_sock_addr* ctx, struct address* address) {
  struct dial dial = {};
  struct choice chosen = {};
  enum verdict verdict = find(ctx, address, &dial);
  if (verdict == CHOSEN) verdict = pick_sticky(ctx, address, &dial, &chosen);
  if (verdict == NOT_OURS) return ALLOW;
  if (verdict != CHOSEN) {
    count(verdict == REJECT ? FL_SENDMSG_REJECTED : FL_SENDMSG_DROPPED);
    return refuse(verdict);
  }
  remember(ctx, &chosen, address, true);
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

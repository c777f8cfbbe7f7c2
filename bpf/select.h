// From what a client dials to the backend that it gets.
#pragma once

#include "bpf/state.h"

enum verdict { NOT_OURS, CHOSEN, REJECT, DROP };

struct choice {
  struct fl_ip ip;
  __be16 port;
  __u16 flags;  // the backend's
  __u32 service;
  __u32 slot;
};

static __always_inline bool load_slot(__u32 service, __u32 slot, struct choice* out) {
  struct fl_backend_key key = {.service = service, .slot = slot};
  struct fl_backend* backend = bpf_map_lookup_elem(&backends, &key);
  if (!backend) return false;
  out->ip = backend->ip;
  out->port = backend->port;
  out->flags = backend->flags;
  out->service = service;
  out->slot = slot;
  return backend->service == service;  // read last
}

// Is what a flow remembers still a backend of its service?
static __always_inline bool still_there(__u32 service, __u32 slot, const struct fl_ip* ip,
                                        __be16 port) {
  struct choice now;
  return load_slot(service, slot, &now) && now.port == port && same_ip(&now.ip, ip);
}

// Turns `key` (scope: address) into the NodePort key of its family.
static __always_inline void to_node_port(struct fl_frontend_key* key) {
  key->scope = FL_SCOPE_NODE_PORT;
  if (!is_v4(&key->ip)) key->ip.word[2] = 0;
  key->ip.word[0] = key->ip.word[1] = key->ip.word[3] = 0;
}

// `key` holds the address that was dialled; it becomes the key that was found. `node_loopback`: the
// address is loopback in the node's own namespace.
static __always_inline struct fl_frontend* find_frontend(struct fl_frontend_key* key,
                                                         bool node_loopback) {
  key->scope = FL_SCOPE_ADDRESS;
  struct fl_frontend* frontend = bpf_map_lookup_elem(&frontends, key);
  if (frontend) return frontend;
  if (!node_loopback && !bpf_map_lookup_elem(&node_ips, &key->ip)) return 0;
  to_node_port(key);
  return bpf_map_lookup_elem(&frontends, key);
}

// A random backend. The agent writes new slots before it flips the frontend and removes old ones
// after, so a missing slot means that the frontend has just changed: read it again.
static __always_inline enum verdict pick(const struct fl_frontend_key* key, struct choice* out) {
#pragma unroll
  for (int attempt = 0; attempt < 3; ++attempt) {
    struct fl_frontend* frontend = bpf_map_lookup_elem(&frontends, key);
    if (!frontend) return NOT_OURS;
    __u32 service = frontend->service, backends_now = frontend->count;
    if (backends_now == 0) return frontend->flags & FL_FRONTEND_DROP ? DROP : REJECT;
    if (load_slot(service, bpf_get_prandom_u32() % backends_now, out)) return CHOSEN;
  }
  return REJECT;
}

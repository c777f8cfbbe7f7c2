// From what a client dials to the backend that it gets. The rules are those of
// dataplane/flow.h: treatment() and may_dial().
#pragma once

#include "bpf/state.h"

enum verdict { NOT_OURS, CHOSEN, REJECT, DROP };

enum source { FROM_NODE, FROM_LOCAL_POD, FROM_OUTSIDE };

// Who dials.
struct asker {
  struct fl_ip client;   // for affinity
  struct fl_ip address;  // all zero: not known yet
  __u8 source;           // enum source
  __u8 no_affinity;      // neither look at what is remembered nor change it, nor hash the flow
  __be16 port;           // 0: not known yet
};

struct choice {
  struct fl_ip ip;
  __be16 port;
  __u16 flags;  // the frontend's
  __u32 service;
  __u32 set;  // enum fl_sets
};

static __always_inline bool load_slot(__u32 list, __u32 slot, struct choice* out) {
  struct fl_backend_key key = {.list = list, .slot = slot};
  struct fl_backend* backend = bpf_map_lookup_elem(&backends, &key);
  if (!backend) return false;
  out->ip = backend->ip;
  out->port = backend->port;
  barrier();  // what was read before is good when the list, read last, is
  return backend->list == list;
}

// Is what a flow or a client remembers still a backend, for the same clients?
static __always_inline bool is_member(__u32 service, __u32 set, const struct fl_ip* ip,
                                      __be16 port) {
  struct fl_member_key key = {.service = service, .ip = *ip, .port = port};
  __u32* sets = bpf_map_lookup_elem(&members, &key);
  return sets && *sets & set;
}

// Turns `key` (scope: address) into the NodePort key of its family.
static __always_inline void to_node_port(struct fl_frontend_key* key) {
  key->scope = FL_SCOPE_NODE_PORT;
  if (!is_v4(&key->ip)) key->ip.word[2] = 0;
  key->ip.word[0] = key->ip.word[1] = key->ip.word[3] = 0;
}

static __always_inline bool is_service_cidr(const struct fl_config* node, const struct fl_ip* ip) {
  if (!(node->flags & FL_CONFIG_SERVICE_CIDRS)) return false;
  struct fl_cidr key = {.prefixlen = 128, .ip = *ip};
  return bpf_map_lookup_elem(&service_cidrs, &key);
}

// `key` holds the address that was dialled; it becomes the key that was found. `node_loopback`: the
// address is loopback in the node's own namespace. A null frontend leaves the verdict in `without`.
static __always_inline struct fl_frontend* find_frontend(struct fl_frontend_key* key,
                                                         const struct fl_config* node,
                                                         bool node_loopback,
                                                         enum verdict* without) {
  *without = NOT_OURS;
  key->scope = FL_SCOPE_ADDRESS;
  struct fl_frontend* frontend = bpf_map_lookup_elem(&frontends, key);
  if (frontend) return frontend;
  __u32 known = FL_ADDRESS_NODE_PORTS;
  if (!node_loopback) {
    __u32* address = bpf_map_lookup_elem(&addresses, &key->ip);
    known = address ? *address : 0;
  }
  if (known & FL_ADDRESS_CLUSTER_IP)
    *without = REJECT;
  else if (is_service_cidr(node, &key->ip))
    *without = DROP;
  if (!(known & FL_ADDRESS_NODE_PORTS)) return 0;
  to_node_port(key);
  return bpf_map_lookup_elem(&frontends, key);
}

static __always_inline enum source classify(const struct fl_ip* source) {
  __u32* address = bpf_map_lookup_elem(&addresses, source);
  if (address && *address & FL_ADDRESS_NODE) return FROM_NODE;
  struct fl_cidr key = {.prefixlen = 128, .ip = *source};
  return bpf_map_lookup_elem(&pod_cidrs, &key) ? FROM_LOCAL_POD : FROM_OUTSIDE;
}

// The set that this client chooses from.
static __always_inline __u32 set_for(__u32 flags, __u8 source) {
  if (!(flags & FL_FRONTEND_LOCAL_ONLY)) return FL_IN_CLUSTER;
  bool everything = flags & FL_FRONTEND_EXTERNAL && source != FROM_OUTSIDE;
  return everything ? FL_IN_CLUSTER : FL_IN_LOCAL;
}

// An address that is not known yet will be one of the node's own; a pod's is checked at tc.
static __always_inline bool may_dial(const struct fl_frontend* frontend, const struct asker* asker,
                                     const struct fl_ip* dialled) {
  if (!(frontend->flags & FL_FRONTEND_RANGES)) return true;
  bool node_may = frontend->flags & FL_FRONTEND_NODE_RANGE;
  if (is_zero(&asker->address)) return node_may || asker->source != FROM_NODE;
  struct fl_source_range key = {
      .prefixlen = 160, .service = frontend->service, .ip = asker->address};
  if (bpf_map_lookup_elem(&source_ranges, &key)) return true;
  return node_may && same_ip(&asker->address, dialled);
}

static __always_inline bool recall(const struct fl_frontend* frontend, const struct asker* asker,
                                   struct choice* out) {
  struct fl_affinity_key key = {.client = asker->client, .service = frontend->service};
  struct fl_affinity* last = bpf_map_lookup_elem(&affinity, &key);
  if (!last) return false;
  __u32 now = ticks(), limit = (__u64)frontend->affinity_s * 1000000000 >> FL_TICK_SHIFT;
  if (now - last->used > limit) return false;
  if (!is_member(frontend->service, out->set, &last->ip, last->port)) return false;
  out->ip = last->ip;
  out->port = last->port;
  last->used = now;
  return true;
}

static __always_inline void keep(const struct asker* asker, const struct choice* chosen) {
  struct fl_affinity_key key = {.client = asker->client, .service = chosen->service};
  struct fl_affinity value = {.ip = chosen->ip, .port = chosen->port, .used = ticks()};
  bpf_map_update_elem(&affinity, &key, &value, BPF_ANY);
}

// The slot that the list's table gives to this flow. A flow whose port is not known has no hash,
// and gets any place. A table may be older or newer than the frontend: no matter, each of the
// frontend's slots holds a backend.
static __always_inline __u32 hashed_slot(__u32 list, __u32 size, const struct fl_frontend_key* key,
                                         const struct asker* asker) {
  __u32 random = bpf_get_prandom_u32();
  struct fl_maglev* table = bpf_map_lookup_elem(&maglev, &list);
  if (!table) return random % size;
  __u64 hash = (__u64)random << 32;
  if (asker->port && !asker->no_affinity) hash = fl_flow_hash(&asker->address, asker->port, key);
  __u32 slot = table->slot[fl_maglev_place(hash)];
  barrier();  // as in load_slot()
  return table->list == list && slot < size ? slot : random % size;
}

// A backend for this client: the one that it had, that of its flow, or a random one. The agent
// writes new slots before it flips the frontend and removes old ones after, so a missing slot means
// that the frontend has just changed: read it again. Not static: so it is verified once, by itself,
// and not again for everything that its callers may have found out. Returns an enum verdict.
__noinline int pick(const struct fl_frontend_key* key, const struct asker* asker,
                    struct choice* out) {
  if (!key || !asker || !out) return NOT_OURS;
  struct fl_frontend_key dialled = *key;  // before 6.2 a map's key has to be on the own stack
  for (int attempt = 0; attempt < 3; ++attempt) {
    struct fl_frontend* held = bpf_map_lookup_elem(&frontends, &dialled);
    if (!held) return NOT_OURS;
    struct fl_frontend frontend = *held;
    if (!may_dial(&frontend, asker, &dialled.ip)) return DROP;
    out->service = frontend.service;
    out->flags = frontend.flags;
    out->set = set_for(frontend.flags, asker->source);
    bool local = out->set == FL_IN_LOCAL;
    __u32 list = local ? frontend.local_list : frontend.service;
    __u32 size = local ? frontend.local_count : frontend.count;
    if (size == 0) return frontend.flags & FL_FRONTEND_DROP ? DROP : REJECT;
    bool remembers = frontend.affinity_s && !asker->no_affinity;
    if (remembers && recall(&frontend, asker, out)) return CHOSEN;
    __u32 slot = frontend.flags & FL_FRONTEND_MAGLEV ? hashed_slot(list, size, &dialled, asker)
                                                     : bpf_get_prandom_u32() % size;
    if (!load_slot(list, slot, out)) continue;
    if (remembers) keep(asker, out);
    return CHOSEN;
  }
  return REJECT;
}

// What the BPF programs and the agent share: the keys and values of every map. Both sides include
// this file; a change of any size or meaning here needs a new FL_LAYOUT, because the maps are
// pinned and outlive both. Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d.
#pragma once

#include <linux/types.h>

#ifdef __cplusplus
#include <cstddef>
#else
#include <stdbool.h>
#define static_assert _Static_assert
#ifndef offsetof
#define offsetof(type, member) __builtin_offsetof(type, member)
#endif
#endif

enum { FL_LAYOUT = 4 };  // pins live below <bpffs>/fairlead/v<FL_LAYOUT>/

struct fl_ip {
  __u32 word[4];
};
static_assert(sizeof(struct fl_ip) == 16, "an address is 16 bytes");

// frontends: what a client dials. A NodePort has one entry for each family, whose address is that
// family's unspecified one; it is found after the destination was found in addresses.
enum fl_scope { FL_SCOPE_ADDRESS = 0, FL_SCOPE_NODE_PORT = 1 };

struct fl_frontend_key {
  struct fl_ip ip;
  __be16 port;
  __u8 protocol;  // IPPROTO_*
  __u8 scope;     // enum fl_scope
};
static_assert(sizeof(struct fl_frontend_key) == 20, "no padding");
static_assert(offsetof(struct fl_frontend_key, scope) == 19, "no padding");

enum fl_frontend_flags {
  FL_FRONTEND_DROP = 1,         // without backends: drop, else reject
  FL_FRONTEND_LOCAL_ONLY = 2,   // traffic policy Local
  FL_FRONTEND_EXTERNAL = 4,     // NodePort, external IP, load balancer; else a ClusterIP
  FL_FRONTEND_RANGES = 8,       // only sources in source_ranges may dial it
  FL_FRONTEND_NODE_RANGE = 16,  // and one of the node's own addresses is among them
  FL_FRONTEND_DSR = 32,         // answers go past this node; of external addresses only
  FL_FRONTEND_MAGLEV = 64,      // choose by the list's table in maglev
};

// The sets that clients choose from, by policy and source: see dataplane/flow.h, treatment().
// FL_ON_NODE is none of them: with the others in members, it says that the backend is on this node.
enum fl_sets { FL_IN_CLUSTER = 1, FL_IN_LOCAL = 2, FL_ON_NODE = 4 };

// One update of this value is the moment at which a change becomes visible, for both sets.
struct fl_frontend {
  __u32 service;      // never 0; also the list of its cluster set
  __u32 count;        // slots 0..count-1 of that list
  __u32 local_list;   // list of the local set; 0: nobody uses it
  __u32 local_count;  // slots 0..local_count-1 of that
  __u32 flags;        // enum fl_frontend_flags
  __u32 affinity_s;   // 0: none
};
static_assert(sizeof(struct fl_frontend) == 24, "no padding");
static_assert(offsetof(struct fl_frontend, affinity_s) == 20, "no padding");

// backends: lists to choose from, slots from 0 on without holes.
struct fl_backend_key {
  __u32 list;
  __u32 slot;
};
static_assert(sizeof(struct fl_backend_key) == 8, "no padding");

enum fl_backend_flags { FL_BACKEND_LOCAL = 1 };

struct fl_backend {
  struct fl_ip ip;
  __be16 port;
  __u16 flags;  // enum fl_backend_flags
  __u32 list;   // repeats the key: the kernel reuses map elements while a program reads them
};
static_assert(sizeof(struct fl_backend) == 24, "no padding");
static_assert(offsetof(struct fl_backend, list) == 20, "no padding");

// members: which backends a service has, whatever their slots: what a flow or a client remembers is
// good for as long as it is here. The value: enum fl_sets, those it is in, and where it is.
struct fl_member_key {
  __u32 service;
  struct fl_ip ip;
  __be16 port;
  __u16 pad;
};
static_assert(sizeof(struct fl_member_key) == 24, "no hidden padding");

// addresses: what the node answers for beside frontends.
enum fl_address_flags {
  FL_ADDRESS_NODE = 1,        // the node's own
  FL_ADDRESS_NODE_PORTS = 2,  // NodePorts are served on it
  FL_ADDRESS_CLUSTER_IP = 4,  // a service has it: ports that are no frontends are rejected
};

// affinity (LRU): the backend that a client had last. The client is its address at tc, and at
// sockets the cookie of their network namespace, with word[3] FL_AFFINITY_COOKIE.
struct fl_affinity_key {
  struct fl_ip client;
  __u32 service;
};
static_assert(sizeof(struct fl_affinity_key) == 20, "no padding");

enum { FL_AFFINITY_COOKIE = 0x636f6f6b };

struct fl_affinity {
  struct fl_ip ip;
  __be16 port;
  __u16 pad;
  __u32 used;  // ticks
};
static_assert(sizeof(struct fl_affinity) == 24, "no hidden padding");

// source_ranges (LPM trie): who may dial a service's load balancer addresses.
struct fl_source_range {
  __u32 prefixlen;  // 32 for the service, 96 for IPv4, and the prefix
  __u32 service;
  struct fl_ip ip;
};
static_assert(sizeof(struct fl_source_range) == 24, "no padding");

// connected (LRU): cookie of a connected UDP socket -> the backend that it was given.
struct fl_connected {
  struct fl_ip ip;
  __be16 port;
  __u16 pad;
  __u32 service;
};
static_assert(sizeof(struct fl_connected) == 24, "no hidden padding");

// reverse (LRU): a socket's backend -> the address that its user dialled.
struct fl_reverse_key {
  __u64 cookie;  // bpf_get_socket_cookie()
  struct fl_ip ip;
  __be16 port;
  __u8 protocol;
  __u8 pad[5];
};
static_assert(sizeof(struct fl_reverse_key) == 32, "no hidden padding");

struct fl_reverse {
  struct fl_ip ip;
  __be16 port;
  __u16 pad;
};
static_assert(sizeof(struct fl_reverse) == 20, "no hidden padding");

// sticky (LRU): unconnected UDP. Key: fl_reverse_key with the address that was dialled.
struct fl_sticky {
  struct fl_ip ip;
  __be16 port;
  __u16 pad;
  __u32 service;
  __u32 set;  // enum fl_sets: the one it was chosen from
};
static_assert(sizeof(struct fl_sticky) == 28, "no hidden padding");

// flows: which conntrack map is in use. While the agent moves flows into one of another size, the
// one before is there, too, and what has not followed yet is found in it. Without it, the slot is
// empty.
enum fl_flows { FL_FLOWS_NOW = 0, FL_FLOWS_BEFORE = 1, FL_FLOWS_SLOTS = 2 };

// conntrack (LRU): a packet as a hook sees it -> its new destination (ingress) or source (egress).
enum fl_hook { FL_INGRESS = 0, FL_EGRESS = 1 };

struct fl_tuple {
  struct fl_ip src;
  struct fl_ip dst;
  __be16 sport;
  __be16 dport;
  __u8 protocol;
  __u8 hook;  // enum fl_hook
  __u16 pad;
};
static_assert(sizeof(struct fl_tuple) == 40, "no hidden padding");

enum fl_nat_flags {
  FL_NAT_REPLY = 1,     // this entry is for packets from the backend
  FL_NAT_REPLIED = 2,   // the backend has answered
  FL_NAT_FIN = 4,       // TCP FIN in this entry's direction
  FL_NAT_PEER_FIN = 8,  // and in the other
  FL_NAT_RST = 16,
  FL_NAT_DSR = 32,  // of a flow whose answers do not pass the node that the client dialled
};

struct fl_nat {
  struct fl_ip ip;
  __be16 port;
  __u16 flags;    // enum fl_nat_flags
  __u32 service;  // with set: where the backend was found
  __u32 set;      // enum fl_sets
  __u32 seen;     // fl ticks: CLOCK_MONOTONIC nanoseconds >> FL_TICK_SHIFT
};
static_assert(sizeof(struct fl_nat) == 32, "no padding");
static_assert(offsetof(struct fl_nat, seen) == 28, "no padding");

enum { FL_TICK_SHIFT = 30 };  // 1.07 s

// Ticks without a packet after which a flow is over.
enum fl_timeout {
  FL_TIMEOUT_TCP_OPENING = 60,
  FL_TIMEOUT_TCP = 21600,
  FL_TIMEOUT_TCP_HALF = 3600,  // DSR: one side has closed, and the other's end is not seen here
  FL_TIMEOUT_TCP_CLOSED = 10,
  FL_TIMEOUT_UDP_OPENING = 60,
  FL_TIMEOUT_UDP = 180,
};

static inline __u32 fl_flow_timeout(bool tcp, __u16 nat_flags) {
  bool replied = nat_flags & FL_NAT_REPLIED;
  if (!tcp) return replied ? FL_TIMEOUT_UDP : FL_TIMEOUT_UDP_OPENING;
  const __u16 fins = nat_flags & (FL_NAT_FIN | FL_NAT_PEER_FIN);
  if (nat_flags & FL_NAT_RST || fins == (FL_NAT_FIN | FL_NAT_PEER_FIN)) {
    return FL_TIMEOUT_TCP_CLOSED;
  }
  if (!replied) return FL_TIMEOUT_TCP_OPENING;
  return fins && nat_flags & FL_NAT_DSR ? FL_TIMEOUT_TCP_HALF : FL_TIMEOUT_TCP;
}

// fragments (LRU): the ports of a fragmented packet, learnt from its first fragment.
struct fl_fragment_key {
  struct fl_ip src;
  struct fl_ip dst;
  __u32 id;
  __u8 protocol;
  __u8 hook;
  __u16 pad;
};
static_assert(sizeof(struct fl_fragment_key) == 40, "no hidden padding");

struct fl_ports {
  __be16 sport;
  __be16 dport;
};
static_assert(sizeof(struct fl_ports) == 4, "no padding");

// pod_cidrs (LPM trie): sources that are pods of this node. service_cidrs (LPM trie): where
// ClusterIPs come from. prefixlen counts the 96 mapped bits.
struct fl_cidr {
  __u32 prefixlen;
  struct fl_ip ip;
};
static_assert(sizeof(struct fl_cidr) == 20, "no padding");

enum fl_config_flags {
  FL_CONFIG_POD_CIDRS4 = 1,  // pod_cidrs says who is a local pod, by family
  FL_CONFIG_POD_CIDRS6 = 2,
  FL_CONFIG_TC = 4,              // what pods send passes a tc program
  FL_CONFIG_MASQUERADE_ALL = 8,  // whatever goes to a ClusterIP
  FL_CONFIG_LOCALHOST = 16,      // NodePorts on 127.0.0.1
  FL_CONFIG_SERVICE_CIDRS = 32,  // an address inside that no service has is dropped
};

// Where other nodes are, as far as the node was told: ip & mask == ip.
struct fl_network {
  struct fl_ip ip, mask;
};

enum { FL_MAX_NODE_NETWORKS = 8 };

// config: one entry.
struct fl_config {
  __u64 node_netns;              // cookie of the node's network namespace
  struct fl_ip node_address[2];  // masquerade source: IPv4, IPv6; all zero: none
  __u16 masquerade_port_low;     // host order, both inclusive
  __u16 masquerade_port_high;
  __u32 flags;  // enum fl_config_flags
  struct fl_network node_networks[FL_MAX_NODE_NETWORKS];
  __u64 node_network_count;  // 0: other nodes may be anywhere
};
static_assert(sizeof(struct fl_config) == 56 + 32 * FL_MAX_NODE_NETWORKS, "no padding");
static_assert(offsetof(struct fl_config, flags) == 44, "no padding");

// Sizes of the maps that no option sets.
enum {
  FL_MAX_POD_CIDRS = 1024,
  FL_MAX_SERVICE_CIDRS = 64,
  FL_MAX_SOURCE_RANGES = 65536,
  FL_MAX_AFFINITY = 65536,
  FL_MAX_CONNECTED = 65536,
  FL_MAX_REVERSE = 131072,
  FL_MAX_STICKY = 16384,
  FL_MAX_FRAGMENTS = 8192,
};

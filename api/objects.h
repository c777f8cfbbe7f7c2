// The Kubernetes objects that the data plane speaks, as plain values: the fields that fairlead
// acts on, nothing else. (The control plane keeps whole JSON documents instead.)
// Source of names and meanings: the Kubernetes 1.32 API, api/data/api-schema-1.32.json.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ip.h"
#include "base/shared_text.h"
#include "base/short_list.h"

namespace fairlead::api {

using StringMap = std::map<std::string, std::string>;

struct ObjectKey {
  std::string ns;  // "" for cluster-scoped kinds
  std::string name;

  std::string to_string() const { return ns.empty() ? name : ns + "/" + name; }
  friend auto operator<=>(const ObjectKey&, const ObjectKey&) = default;
};

struct Meta {
  ObjectKey key;
  std::string uid;
  std::string resource_version;
  std::string creation_timestamp;  // RFC 3339 as sent: sorts as text
  StringMap labels;
  StringMap annotations;  // without kubectl's last-applied-configuration
  bool deleting = false;  // deletionTimestamp is set

  friend bool operator==(const Meta&, const Meta&) = default;
};

using IntOrString = std::variant<int32_t, std::string>;  // a port by number or by name

struct Namespace {
  Meta meta;
  friend bool operator==(const Namespace&, const Namespace&) = default;
};

struct Node {
  Meta meta;
  std::vector<Ip> internal_ips;  // status.addresses of type InternalIP
  std::vector<Cidr> pod_cidrs;
  bool ready = false;               // condition Ready is True
  std::string zone;                 // label topology.kubernetes.io/zone
  std::vector<std::string> taints;  // keys of spec.taints
  int64_t cpu_millis = 0;           // status.allocatable.cpu; 0: not said
  friend bool operator==(const Node&, const Node&) = default;
};

struct ContainerPort {
  std::string name;
  int32_t port = 0;
  Protocol protocol = Protocol::tcp;
  friend bool operator==(const ContainerPort&, const ContainerPort&) = default;
};

struct Pod {
  Meta meta;
  std::string node_name;
  std::string phase;  // "Running", ...
  std::string hostname, subdomain;
  std::vector<Ip> ips;  // status.podIPs
  bool host_network = false;
  bool ready = false;
  std::vector<ContainerPort> ports;  // of all containers
  friend bool operator==(const Pod&, const Pod&) = default;
};

enum class ServiceType { cluster_ip, node_port, load_balancer, external_name };
enum class TrafficPolicy { cluster, local };

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  uint16_t port = 0;
  uint16_t node_port = 0;       // 0: none
  IntOrString target_port = 0;  // 0: same as port
  std::string app_protocol;
  friend bool operator==(const ServicePort&, const ServicePort&) = default;
};

struct Service {
  Meta meta;
  ServiceType type = ServiceType::cluster_ip;
  std::vector<Ip> cluster_ips;  // empty when headless or ExternalName
  bool headless = false;        // clusterIP: None
  std::string external_name;
  std::vector<ServicePort> ports;
  StringMap selector;
  std::vector<Ip> external_ips;
  std::vector<Ip> load_balancer_ips;  // status.loadBalancer.ingress[] with ipMode VIP
  TrafficPolicy external_policy = TrafficPolicy::cluster;
  TrafficPolicy internal_policy = TrafficPolicy::cluster;
  uint32_t affinity_timeout_s = 0;      // 0: sessionAffinity None
  std::vector<Cidr> source_ranges;      // spec.loadBalancerSourceRanges: empty, or who may come in
  uint16_t health_check_node_port = 0;  // 0: none
  std::string traffic_distribution;     // "PreferSameZone", ... (KEP-4444); "": none
  bool publish_not_ready = false;
  std::vector<std::string> ip_families;  // "IPv4", "IPv6"; empty when the document does not say
  friend bool operator==(const Service&, const Service&) = default;
};

struct EndpointPort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  std::optional<uint16_t> port;  // absent: all ports (not served)
  std::string app_protocol;
  friend bool operator==(const EndpointPort&, const EndpointPort&) = default;
};

// The object that an endpoint is of, usually a Pod.
struct EndpointTarget {
  SharedText ns, name;
  ObjectKey key() const { return {ns.str(), name.str()}; }
  friend bool operator==(const EndpointTarget&, const EndpointTarget&) = default;
};

// There are more of these than of anything else: what their names say is shared.
struct Endpoint {
  ShortList<Ip> addresses;  // of the slice's family; the first one is used
  bool ready = true;        // conditions.ready nil counts as true
  bool serving = true;      // nil: as ready
  bool terminating = false;
  SharedText hostname, node_name, zone;
  EndpointTarget target;             // targetRef
  ShortList<SharedText> hint_zones;  // hints.forZones
  ShortList<SharedText> hint_nodes;  // hints.forNodes
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct EndpointSlice {
  Meta meta;
  std::string service;       // label kubernetes.io/service-name, in meta.key.ns
  std::string address_type;  // "IPv4", "IPv6"; FQDN slices have no endpoints here
  std::vector<Endpoint> endpoints;
  std::vector<EndpointPort> ports;
  friend bool operator==(const EndpointSlice&, const EndpointSlice&) = default;
};

enum class PathType { exact, prefix, implementation_specific };

struct IngressBackend {
  std::string service;    // "" when it is a resource backend (not supported)
  std::string port_name;  // XOR port_number
  uint16_t port_number = 0;
  friend bool operator==(const IngressBackend&, const IngressBackend&) = default;
};

struct IngressPath {
  std::string path;  // "" counts as "/"
  PathType type = PathType::implementation_specific;
  IngressBackend backend;
  friend bool operator==(const IngressPath&, const IngressPath&) = default;
};

struct IngressRule {
  std::string host;       // "" = every host, "*.example.com" = one label more
  bool has_http = false;  // false: the whole host goes to the default backend
  std::vector<IngressPath> paths;
  friend bool operator==(const IngressRule&, const IngressRule&) = default;
};

struct IngressTls {
  std::vector<std::string> hosts;
  std::string secret_name;
  friend bool operator==(const IngressTls&, const IngressTls&) = default;
};

struct Ingress {
  Meta meta;
  std::string class_name;  // spec.ingressClassName; the old annotation is in meta
  std::optional<IngressBackend> default_backend;
  std::vector<IngressRule> rules;
  std::vector<IngressTls> tls;
  friend bool operator==(const Ingress&, const Ingress&) = default;
};

struct IngressClass {
  Meta meta;
  std::string controller;
  friend bool operator==(const IngressClass&, const IngressClass&) = default;
};

struct Secret {
  Meta meta;
  std::string type;
  StringMap data;  // decoded bytes. Never logged.
  friend bool operator==(const Secret&, const Secret&) = default;
};

struct ConfigMap {
  Meta meta;
  StringMap data;
  friend bool operator==(const ConfigMap&, const ConfigMap&) = default;
};

}  // namespace fairlead::api

// What the zone knows of one Service: a Service and its EndpointSlices, compiled for answering.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/endpoints.h"
#include "api/objects.h"
#include "base/ip.h"

namespace fairlead::dns {

struct RecordPort {
  std::string name;  // lower case; "" for an unnamed one
  Protocol protocol = Protocol::tcp;
  int32_t port = -1;  // -1: no port is declared; has addresses but no SRV
  friend bool operator==(const RecordPort&, const RecordPort&) = default;
};

struct RecordAddress {
  Ip ip;
  uint16_t ports = 0;  // index into port_sets
  friend bool operator==(const RecordAddress&, const RecordAddress&) = default;
};

struct RecordHost {
  std::string name;               // one lower-case label
  uint32_t first = 0, count = 0;  // its addresses
  friend bool operator==(const RecordHost&, const RecordHost&) = default;
};

// Immutable once made.
struct ServiceRecord {
  enum class Kind : uint8_t { cluster_ip, headless, external };

  std::shared_ptr<const std::string> key;  // lower-case wire labels "\3web\7default", no root
  Kind kind = Kind::cluster_ip;
  uint8_t service_label_bytes = 0;  // of the key, length byte included

  // The addresses of the bare name: cluster IPs, or those of ready endpoints. Network order.
  std::vector<std::array<uint8_t, 4>> v4;
  std::vector<std::array<uint8_t, 16>> v6;
  std::string external;  // wire name; "" when it is not a host name

  std::vector<RecordPort> ports;                   // of a ClusterIP Service; never empty
  std::vector<std::vector<RecordPort>> port_sets;  // of its slices
  std::vector<RecordHost> hosts;                   // ready endpoints, ordered by name
  std::vector<RecordAddress> addresses;            // grouped by host, there by address
  std::vector<uint32_t> by_ip;                     // indices of `addresses`, ordered by address

  std::string_view namespace_label() const {  // with its length byte
    return std::string_view(*key).substr(service_label_bytes);
  }
  const RecordHost* find_host(std::string_view label) const;
  // The hosts that hold `ip`.
  void each_host_of(const Ip& ip, const std::function<void(const RecordHost&)>& visit) const;
  bool is_cluster_ip(const Ip& ip) const;
  // Every address that PTR queries may name, each once, in order.
  std::vector<Ip> reverse_addresses() const;
};

// Lower-case wire labels of SERVICE.NAMESPACE; "" when one of them cannot be a label.
std::string service_key(const api::ObjectKey& key);

// `slices` are those of this Service. Only ready endpoints count (the Kubernetes DNS
// specification, 2.4; `serving` and `terminating` are not consulted). nullptr when the names
// cannot stand in a zone.
std::shared_ptr<const ServiceRecord> compile_service(const api::Service& service,
                                                     const api::SliceList& slices,
                                                     bool endpoint_pod_names);

// The label that stands for an endpoint: its hostname, or else its Pod's name (when wanted and
// possible), or else its address with dashes.
std::string endpoint_label(const api::Endpoint& endpoint, const Ip& ip, bool endpoint_pod_names);

}  // namespace fairlead::dns

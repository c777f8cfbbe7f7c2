// What the zone knows of one Service: a Service and its EndpointSlices, compiled for answering.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/endpoints.h"
#include "api/objects.h"
#include "base/ip.h"
#include "dns/name.h"

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

// Addresses of one family in network order. One alone, the usual case, lies in place.
template <size_t N>
class AddressList {
 public:
  using Address = std::array<uint8_t, N>;
  void assign(const std::vector<Address>& from) {
    count_ = from.size();
    if (count_ == 1) first_ = from[0];
    if (count_ <= 1) return;
    many_ = std::make_unique<Address[]>(count_);
    std::copy(from.begin(), from.end(), many_.get());
  }
  size_t size() const { return count_; }
  const Address* begin() const { return count_ > 1 ? many_.get() : &first_; }
  const Address* end() const { return begin() + count_; }
  const Address& operator[](size_t i) const { return begin()[i]; }

 private:
  size_t count_ = 0;
  Address first_{};
  std::unique_ptr<Address[]> many_;
};

// Lower-case wire labels of SERVICE.NAMESPACE, "\3web\7default", without a root.
struct ServiceKey {
  uint8_t size = 0;
  std::array<char, 2 * (max_label_bytes + 1)> bytes;
  std::string_view view() const { return {bytes.data(), size}; }
};

// Immutable once made. What an address query needs lies at its beginning.
struct ServiceRecord {
  enum class Kind : uint8_t { cluster_ip, headless, external };

  Kind kind = Kind::cluster_ip;
  uint8_t service_label_bytes = 0;  // of the key, length byte included
  ServiceKey key;

  // The addresses of the bare name: cluster IPs, or those of ready endpoints.
  AddressList<4> v4;
  AddressList<16> v6;
  std::string external;  // wire name; "" when it is not a host name

  std::vector<RecordPort> ports;                   // of a ClusterIP Service; never empty
  std::vector<std::vector<RecordPort>> port_sets;  // of its slices
  std::vector<RecordHost> hosts;                   // ready endpoints, ordered by name
  std::vector<RecordAddress> addresses;            // grouped by host, there by address
  std::vector<uint32_t> by_ip;                     // indices of `addresses`, ordered by address

  std::string_view namespace_label() const {  // with its length byte
    return key.view().substr(service_label_bytes);
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

// Values of the service table as map entries, and back.
#pragma once

#include <cstring>
#include <functional>
#include <string>

#include "base/ip.h"
#include "bpf/shared/maps.h"
#include "dataplane/service_table.h"

namespace fairlead::dataplane::ebpf {

fl_ip to_map(const Ip& ip);
Ip from_map(const fl_ip& ip);
uint16_t to_network(uint16_t host_order);
uint16_t to_host(uint16_t network_order);

fl_frontend_key to_map(const Frontend& frontend, Protocol protocol);
// `list` is left to the caller.
fl_backend to_map(const Backend& backend);
fl_cidr to_map(const Cidr& cidr);
fl_source_range to_map(const Cidr& cidr, uint32_t service);

// "10.96.0.1:443/TCP", "node-port 30080/TCP IPv4".
std::string to_text(const fl_frontend_key& key);
std::string to_text(const fl_backend& backend);  // "10.1.0.2:8080 local"
std::string to_text(const fl_cidr& cidr);
std::string to_text(const fl_network& network);
std::string to_text(const fl_source_range& range);  // the CIDR
std::string to_text(const fl_member_key& key);      // "10.1.0.2:8080"

// Structs of bpf/shared/maps.h have no hidden padding, so their bytes are their value.
struct BytesHash {
  template <class T>
  size_t operator()(const T& value) const {
    return std::hash<std::string_view>()(
        std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
  }
};
struct BytesEqual {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return std::memcmp(&a, &b, sizeof a) == 0;
  }
};
struct BytesLess {
  template <class T>
  bool operator()(const T& a, const T& b) const {
    return std::memcmp(&a, &b, sizeof a) < 0;
  }
};
template <class T>
bool same_bytes(const T& a, const T& b) {
  return BytesEqual()(a, b);
}

}  // namespace fairlead::dataplane::ebpf

#include "dataplane/ebpf/map_codec.h"

#include <arpa/inet.h>

#include <bit>

#include "base/text.h"

namespace fairlead::dataplane::ebpf {

fl_ip to_map(const Ip& ip) {
  fl_ip out;
  std::memcpy(&out, ip.bytes.data(), sizeof out);
  return out;
}

Ip from_map(const fl_ip& ip) {
  Ip out;
  std::memcpy(out.bytes.data(), &ip, sizeof ip);
  return out;
}

uint16_t to_network(uint16_t host_order) { return htons(host_order); }
uint16_t to_host(uint16_t network_order) { return ntohs(network_order); }

fl_frontend_key to_map(const Frontend& frontend, Protocol protocol) {
  fl_frontend_key key{};
  key.ip = to_map(frontend.ip);
  key.port = htons(frontend.port);
  key.protocol = static_cast<uint8_t>(protocol);
  key.scope = frontend.kind == FrontendKind::node_port ? FL_SCOPE_NODE_PORT : FL_SCOPE_ADDRESS;
  return key;
}

fl_backend to_map(const Backend& backend) {
  fl_backend value{};
  value.ip = to_map(backend.ip);
  value.port = htons(backend.port);
  value.flags = backend.local ? uint16_t{FL_BACKEND_LOCAL} : uint16_t{0};
  return value;
}

fl_cidr to_map(const Cidr& cidr) {
  fl_cidr key{};
  key.prefixlen = cidr.bits + (cidr.base.is_v4() ? 96u : 0u);
  key.ip = to_map(cidr.base);
  return key;
}

fl_source_range to_map(const Cidr& cidr, uint32_t service) {
  const fl_cidr plain = to_map(cidr);
  return {.prefixlen = plain.prefixlen + 32, .service = service, .ip = plain.ip};
}

std::string to_text(const fl_frontend_key& key) {
  Ip ip = from_map(key.ip);
  std::string protocol = cat(to_string(static_cast<Protocol>(key.protocol)));
  if (key.scope == FL_SCOPE_NODE_PORT) {
    return cat("node-port ", ntohs(key.port), "/", protocol, ip.is_v4() ? " IPv4" : " IPv6");
  }
  return cat(SocketAddress{ip, ntohs(key.port)}.to_string(), "/", protocol);
}

std::string to_text(const fl_backend& backend) {
  return cat(SocketAddress{from_map(backend.ip), ntohs(backend.port)}.to_string(),
             backend.flags & FL_BACKEND_LOCAL ? " local" : "");
}

std::string to_text(const fl_network& network) {
  fl_cidr cidr{.prefixlen = 0, .ip = network.ip};
  for (const uint32_t word : network.mask.word) {
    cidr.prefixlen += static_cast<uint32_t>(std::popcount(word));
  }
  return to_text(cidr);
}

std::string to_text(const fl_cidr& cidr) {
  Ip base = from_map(cidr.ip);
  return cat(base.to_string(), "/", cidr.prefixlen - (base.is_v4() ? 96u : 0u));
}

std::string to_text(const fl_source_range& range) {
  return to_text(fl_cidr{range.prefixlen - 32, range.ip});
}

std::string to_text(const fl_member_key& key) {
  return SocketAddress{from_map(key.ip), ntohs(key.port)}.to_string();
}

}  // namespace fairlead::dataplane::ebpf

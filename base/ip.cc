#include "base/ip.h"

#include <arpa/inet.h>

#include <cstring>

#include "base/check.h"
#include "base/text.h"

namespace fairlead {
namespace {

constexpr std::array<uint8_t, 12> v4_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Bits of the 16-byte form that a prefix covers.
int mapped_bits(const Cidr& cidr) { return cidr.base.is_v4() ? 96 + cidr.bits : cidr.bits; }

void clear_host_bits(Ip& ip, int bits) {
  for (int i = 0; i < 16; ++i) {
    const int keep = std::clamp(bits - i * 8, 0, 8);
    ip.bytes[i] &= static_cast<uint8_t>(0xff00 >> keep);
  }
}

}  // namespace

std::optional<Ip> Ip::parse(std::string_view text) {
  char zero_terminated[INET6_ADDRSTRLEN];
  // A zero inside would end the address early, whatever follows it.
  if (text.size() >= sizeof zero_terminated || text.find('\0') != text.npos) return std::nullopt;
  *std::copy(text.begin(), text.end(), zero_terminated) = '\0';
  Ip ip;
  if (in_addr v4; inet_pton(AF_INET, zero_terminated, &v4) == 1) return Ip::v4(ntohl(v4.s_addr));
  if (inet_pton(AF_INET6, zero_terminated, ip.bytes.data()) == 1) return ip;
  return std::nullopt;
}

Ip Ip::v4(uint32_t host_order) {
  Ip ip;
  std::copy(v4_prefix.begin(), v4_prefix.end(), ip.bytes.begin());
  const uint32_t network = htonl(host_order);
  std::memcpy(&ip.bytes[12], &network, 4);
  return ip;
}

bool Ip::is_v4() const { return std::equal(v4_prefix.begin(), v4_prefix.end(), bytes.begin()); }

bool Ip::is_unspecified() const { return *this == Ip{} || *this == Ip::v4(0); }

bool Ip::is_loopback() const {
  if (is_v4()) return bytes[12] == 127;
  Ip one;
  one.bytes[15] = 1;
  return *this == one;
}

uint32_t Ip::to_v4() const {
  uint32_t network;
  std::memcpy(&network, &bytes[12], 4);
  return ntohl(network);
}

std::string Ip::to_string() const {
  char text[INET6_ADDRSTRLEN];
  if (is_v4()) return inet_ntop(AF_INET, &bytes[12], text, sizeof text);
  return inet_ntop(AF_INET6, bytes.data(), text, sizeof text);
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto ip = Ip::parse(text.substr(0, slash));
  if (!ip) return std::nullopt;
  const auto bits = parse_int(text.substr(slash + 1), 0, ip->is_v4() ? 32 : 128);
  if (!bits) return std::nullopt;
  Cidr cidr{*ip, static_cast<uint8_t>(*bits)};
  clear_host_bits(cidr.base, mapped_bits(cidr));
  return cidr;
}

bool Cidr::contains(const Ip& ip) const {
  if (ip.is_v4() != base.is_v4()) return false;
  Ip network = ip;
  clear_host_bits(network, mapped_bits(*this));
  return network == base;
}

uint64_t Cidr::size() const {
  const int host_bits = 128 - mapped_bits(*this);
  return host_bits >= 63 ? uint64_t{1} << 63 : uint64_t{1} << host_bits;
}

Ip Cidr::at(uint64_t index) const {
  CHECK(index < size());
  Ip ip = base;
  for (int i = 15; i >= 0 && index != 0; --i) {
    index += ip.bytes[i];
    ip.bytes[i] = static_cast<uint8_t>(index);
    index >>= 8;
  }
  return ip;
}

std::string Cidr::to_string() const { return cat(base.to_string(), '/', int{bits}); }

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  SocketAddress address;
  std::string_view port = text;
  if (const size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    std::string_view host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
      host = host.substr(1, host.size() - 2);
      if (host.empty()) return fail(cat("'", text, "': no address between the brackets"));
    } else if (host.find(':') != std::string_view::npos) {
      return fail(cat("'", text, "' is not an address with a port: write IPv6 as [ADDRESS]:PORT"));
    }
    if (!host.empty()) {
      const auto ip = Ip::parse(host);
      if (!ip) return fail(cat("'", text, "': '", host, "' is not an IP address"));
      address.ip = *ip;
    }
  }
  const auto number = parse_int(port, 0, 65535);
  if (!number) return fail(cat("'", text, "': expected ADDRESS:PORT with a port of 0 to 65535"));
  address.port = static_cast<uint16_t>(*number);
  return address;
}

std::string SocketAddress::to_string() const {
  return ip.is_v4() ? cat(ip.to_string(), ':', port) : cat('[', ip.to_string(), "]:", port);
}

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp:
      return "TCP";
    case Protocol::udp:
      return "UDP";
    case Protocol::sctp:
      return "SCTP";
  }
  return "?";
}

std::optional<Protocol> parse_protocol(std::string_view text) {
  if (text == "TCP") return Protocol::tcp;
  if (text == "UDP") return Protocol::udp;
  if (text == "SCTP") return Protocol::sctp;
  return std::nullopt;
}

}  // namespace fairlead

size_t std::hash<fairlead::Ip>::operator()(const fairlead::Ip& ip) const noexcept {
  uint64_t halves[2];
  std::memcpy(halves, ip.bytes.data(), 16);
  const uint64_t mixed = (halves[0] ^ (halves[1] * 0x9e3779b97f4a7c15ULL)) * 0xbf58476d1ce4e5b9ULL;
  return mixed ^ mixed >> 32;
}

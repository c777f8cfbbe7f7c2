// Addresses as values. One 16-byte form for both families (IPv4 as ::ffff:a.b.c.d, RFC 4291
// 2.5.5.2), so that user space needs no twin functions.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace fairlead {

struct Ip {
  std::array<uint8_t, 16> bytes{};  // network order

  static std::optional<Ip> parse(std::string_view text);  // "10.0.0.1" or "fd00::1", no zone
  static Ip v4(uint32_t host_order);
  static Ip v6(const std::array<uint8_t, 16>& network_order) { return Ip{network_order}; }

  bool is_v4() const;
  bool is_unspecified() const;  // 0.0.0.0 or ::
  bool is_loopback() const;     // 127/8 or ::1
  uint32_t to_v4() const;       // host order. REQUIRES: is_v4()
  std::string to_string() const;

  friend auto operator<=>(const Ip&, const Ip&) = default;
};

struct Cidr {
  Ip base;           // host bits are zero
  uint8_t bits = 0;  // prefix length in the address's own family: 0..32 or 0..128

  static std::optional<Cidr> parse(std::string_view text);  // "10.0.0.0/8"; host bits are cleared
  bool contains(const Ip& ip) const;
  uint64_t size() const;        // addresses in it, saturating at 2^63
  Ip at(uint64_t index) const;  // base + index. REQUIRES: index < size()
  std::string to_string() const;

  friend auto operator<=>(const Cidr&, const Cidr&) = default;
};

// An address with a port. Text form "10.0.0.1:80", "[fd00::1]:80".
struct SocketAddress {
  Ip ip;
  uint16_t port = 0;  // host order

  // ":80" and "80" mean every address (`::`, which also serves IPv4).
  static Result<SocketAddress> parse(std::string_view text);
  std::string to_string() const;

  friend auto operator<=>(const SocketAddress&, const SocketAddress&) = default;
};

enum class Protocol : uint8_t { tcp = 6, udp = 17, sctp = 132 };  // IANA protocol numbers

std::string_view to_string(Protocol protocol);                  // "TCP"
std::optional<Protocol> parse_protocol(std::string_view text);  // "TCP", "UDP", "SCTP"

}  // namespace fairlead

template <>
struct std::hash<fairlead::Ip> {
  size_t operator()(const fairlead::Ip& ip) const noexcept;
};

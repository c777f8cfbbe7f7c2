#include "dns/corefile_zone.h"

#include <fstream>

#include "base/text.h"
#include "dns/name.h"

namespace fairlead::dns {
namespace {

constexpr size_t max_resolv_conf_lines = 10'000;

// The reverse zones that cover a block: one when it ends at an octet (nibble for IPv6), else the
// 2^k next longer ones.
std::vector<std::string> reverse_zones(const Cidr& block) {
  const bool v4 = block.base.is_v4();
  const unsigned step = v4 ? 8 : 4;
  const unsigned whole = block.bits / step, rest = block.bits % step;
  const unsigned labels = whole + (rest != 0 ? 1 : 0);
  const unsigned count = rest == 0 ? 1 : 1u << (step - rest);
  std::vector<std::string> zones;
  for (unsigned i = 0; i < count; ++i) {
    Ip ip = block.base;
    if (rest != 0) {
      const size_t byte = v4 ? 12 + whole : whole / 2;
      const unsigned shift = v4 || whole % 2 == 1 ? 0 : 4;
      ip.bytes[byte] = static_cast<uint8_t>(ip.bytes[byte] + (i << shift));
    }
    std::string_view name;
    const std::string full = address_to_reverse(ip);
    name = full;
    for (unsigned drop = (v4 ? 4 : 32) - labels; drop > 0; --drop) {
      name.remove_prefix(name.find('.') + 1);
    }
    zones.emplace_back(name);
  }
  return zones;
}

}  // namespace

Result<std::vector<std::string>> parse_zone(std::string_view text) {
  if (text.find('/') != std::string_view::npos) {
    const auto block = Cidr::parse(text);
    if (!block) return fail(cat("zone '", text, "' is not a CIDR block, expected 10.0.0.0/8"));
    return reverse_zones(*block);
  }
  const auto wire = name_to_wire(text);
  if (!wire) {
    return fail(cat("zone '", text, "' is not a domain name, expected labels of 1 to 63 bytes, ",
                    "255 in all"));
  }
  std::string lower = *wire;
  fold_case(reinterpret_cast<uint8_t*>(lower.data()), lower.size());
  return std::vector<std::string>{name_to_text(lower)};
}

Result<std::vector<ZoneKey>> parse_zone_key(std::string_view text) {
  std::string_view rest = text;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    if (rest.substr(0, scheme) != "dns") {
      return fail(cat("transport '", rest.substr(0, scheme), "' is not supported, expected dns"));
    }
    rest.remove_prefix(scheme + 3);
  }
  uint16_t port = 53;
  if (const size_t colon = rest.rfind(':');
      colon != std::string_view::npos &&
      rest.substr(colon + 1).find_first_not_of("0123456789") == std::string_view::npos &&
      colon + 1 < rest.size() && rest.find(':') == colon) {
    const auto number = parse_int(rest.substr(colon + 1), 1, 65535);
    if (!number) return fail(cat("port of '", text, "' is not in 1..65535"));
    port = static_cast<uint16_t>(*number);
    rest = rest.substr(0, colon);
  }
  if (rest.empty()) rest = ".";
  FL_TRY(const auto names, parse_zone(rest));
  std::vector<ZoneKey> keys;
  for (const auto& name : names) keys.push_back({name, port});
  return keys;
}

Result<std::vector<SocketAddress>> read_resolv_conf(const std::string& path) {
  std::ifstream in(path);
  if (!in) {
    return fail(cat("'", path, "' is neither an address nor a file that can be read, expected an ",
                    "IP, IP:port or a resolv.conf"));
  }
  std::vector<SocketAddress> servers;
  std::string line;
  for (size_t count = 0; count < max_resolv_conf_lines && std::getline(in, line); ++count) {
    const std::string_view text = trim(line);
    constexpr std::string_view keyword = "nameserver";
    if (!text.starts_with(keyword) || text.size() == keyword.size()) continue;
    const auto ip = Ip::parse(trim(text.substr(keyword.size())));
    if (ip) servers.push_back({*ip, 53});
  }
  if (servers.empty()) return fail(cat("no nameserver in '", path, "', expected at least one"));
  return servers;
}

}  // namespace fairlead::dns

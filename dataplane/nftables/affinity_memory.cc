#include "dataplane/nftables/affinity_memory.h"

#include "base/text.h"

namespace fairlead::dataplane::nft {
namespace {

constexpr int max_forget_tries = 3;

// "17 . 99 . 10.0.0.1": the id is the first two numbers.
std::optional<uint64_t> id_of(std::string_view key) {
  const auto words = split(key, ' ');
  if (words.size() < 5) return std::nullopt;
  const auto high = parse_int(words[0], 0, UINT32_MAX), low = parse_int(words[2], 0, UINT32_MAX);
  if (!high || !low) return std::nullopt;
  return static_cast<uint64_t>(*high) << 32 | static_cast<uint64_t>(*low);
}

bool is_valid(const AffineBackends& valid, uint64_t id, std::string_view ip_text,
              const std::string* port_text) {
  const auto backends = valid.find(id);
  const auto ip = Ip::parse(ip_text);
  const auto port = port_text == nullptr ? std::nullopt : parse_int(*port_text, 0, 65535);
  return backends != valid.end() && ip && port &&
         backends->second.contains({*ip, static_cast<uint16_t>(*port)});
}

}  // namespace

std::string affinity_ips_map(bool ipv6) { return ipv6 ? "affinity-ips6" : "affinity-ips4"; }
std::string affinity_ports_map(bool ipv6) { return ipv6 ? "affinity-ports6" : "affinity-ports4"; }

AffineBackends affine_backends(const RowMap& rows) {
  AffineBackends out;
  for (const auto& [key, row] : rows) {
    if (row.affinity.timeout_s == 0) continue;
    out[row.affinity.id].insert(row.slots.begin(), row.slots.end());
  }
  return out;
}

std::string forget_commands(const Layout& layout, bool ipv6, const NftSet& ips, const NftSet& ports,
                            const std::set<uint64_t>* ids, const AffineBackends& valid) {
  std::string out;
  // An element may end by itself at any moment, and deleting one that is not there would refuse
  // all: it is added first, which does nothing when it is there.
  const auto forget = [&](const std::string& map, const std::string& key,
                          const std::string& value) {
    const std::string head = cat(" element inet ", layout.table(), " ", map, " { ", key);
    append(out, cat("add", head, " : ", value, " }\ndelete", head, " }\n"));
  };
  for (const auto& [key, ip] : ips) {
    const auto id = id_of(key);
    if (!id || (ids != nullptr && !ids->contains(*id))) continue;
    const auto port = ports.find(key);
    const std::string* port_text = port == ports.end() ? nullptr : &port->second;
    if (is_valid(valid, *id, ip, port_text)) continue;
    forget(affinity_ips_map(ipv6), key, ip);
    if (port_text != nullptr) forget(affinity_ports_map(ipv6), key, *port_text);
  }
  return out;
}

namespace {

// What must be forgotten now, as commands.
Result<std::string> read_memory(NftRunner& runner, const Layout& layout,
                                const std::set<uint64_t>* ids, const AffineBackends& valid) {
  std::string commands;
  for (const bool ipv6 : {false, true}) {
    FL_TRY(const NftSet ips, runner.read_set(layout.table(), affinity_ips_map(ipv6)));
    FL_TRY(const NftSet ports, runner.read_set(layout.table(), affinity_ports_map(ipv6)));
    append(commands, forget_commands(layout, ipv6, ips, ports, ids, valid));
  }
  return commands;
}

}  // namespace

Result<void> forget_clients(NftRunner& runner, const Layout& layout, const std::set<uint64_t>* ids,
                            const AffineBackends& valid) {
  Result<void> done;
  // A client may come back with another backend while its memory is taken out; then all is refused.
  for (int i = 0; i < max_forget_tries; ++i) {
    FL_TRY(const std::string commands, read_memory(runner, layout, ids, valid));
    done = commands.empty() ? Result<void>() : runner.run(commands);
    if (done) break;
  }
  return done;
}

}  // namespace fairlead::dataplane::nft

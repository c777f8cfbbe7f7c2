#include "dataplane/ebpf/address_sync.h"

#include <cstring>

#include "base/text.h"

namespace fairlead::dataplane::ebpf {

Result<void> AddressSync::load() {
  const int error =
      each_entry<fl_ip, uint32_t>(maps_, MapId::addresses, [&](const fl_ip& ip, uint32_t flags) {
        Entry& entry = entries_[ip];
        entry.held = flags;
        entry.inherited = (flags & FL_ADDRESS_CLUSTER_IP) != 0;
        dirty_.insert(ip);
      });
  if (error != 0) return fail(cat("cannot read the addresses map: ", std::strerror(error)));
  return {};
}

void AddressSync::forget_inherited() {
  for (auto& [ip, entry] : entries_) {
    if (std::exchange(entry.inherited, false)) dirty_.insert(ip);
  }
}

void AddressSync::add_cluster_ip(const Ip& ip) {
  const fl_ip key = to_map(ip);
  if (entries_[key].services++ == 0) dirty_.insert(key);
}

void AddressSync::remove_cluster_ip(const Ip& ip) {
  const fl_ip key = to_map(ip);
  if (--entries_[key].services == 0) dirty_.insert(key);
}

void AddressSync::set_node(const NodeConfig& node) {
  std::unordered_map<fl_ip, uint32_t, BytesHash, BytesEqual> flags;
  for (const Ip& ip : node.node_ips) flags[to_map(ip)] |= FL_ADDRESS_NODE;
  for (const Ip& ip : node_port_ips(node)) flags[to_map(ip)] |= FL_ADDRESS_NODE_PORTS;
  for (auto& [ip, entry] : entries_) {
    if (entry.node_flags != 0 || entry.held != 0) dirty_.insert(ip);
    entry.node_flags = 0;
  }
  for (const auto& [ip, value] : flags) {
    entries_[ip].node_flags = value;
    dirty_.insert(ip);
  }
}

void AddressSync::done(const fl_ip& ip, uint32_t value) {
  Entry& entry = entries_[ip];
  entry.held = value;
  dirty_.erase(ip);
  if (value == 0 && entry.wanted() == 0) entries_.erase(ip);
}

void AddressSync::note(const fl_ip& ip, const WriteOutcome& outcome, ApplyReport& report) {
  ++report.writes;
  if (outcome.error == 0) return done(ip, entries_[ip].wanted());
  report.errors.push_back(
      cat(from_map(ip).to_string(), ": ", write_trouble(maps_, MapId::addresses, outcome.error)));
}

void AddressSync::erase_unwanted(ApplyReport& report) {
  const auto dirty = dirty_;
  for (const fl_ip& ip : dirty) {
    const Entry& entry = entries_[ip];
    if (entry.wanted() != 0) continue;
    if (entry.held == 0) {
      done(ip, 0);
    } else {
      note(ip, maps_.erase(MapId::addresses, std::as_bytes(std::span(&ip, 1))), report);
    }
  }
}

void AddressSync::write(ApplyReport& report) {
  const auto dirty = dirty_;
  for (const fl_ip& ip : dirty) {
    const Entry& entry = entries_[ip];
    const uint32_t wanted = entry.wanted();
    if (wanted == 0) continue;
    if (wanted == entry.held) {
      done(ip, wanted);
    } else {
      note(ip,
           maps_.update(MapId::addresses, std::as_bytes(std::span(&ip, 1)),
                        std::as_bytes(std::span(&wanted, 1))),
           report);
    }
  }
  erase_unwanted(report);
}

void AddressSync::each(const Maps::Visit& visit) const {
  for (const auto& [ip, entry] : entries_) {
    if (entry.held == 0) continue;
    visit(reinterpret_cast<const std::byte*>(&ip), reinterpret_cast<const std::byte*>(&entry.held));
  }
}

}  // namespace fairlead::dataplane::ebpf

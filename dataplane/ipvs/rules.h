// The packet filter's part of IPVS mode: one nf_tables table with a constant number of rules over
// sets and maps. It refuses, drops and masquerades; the balancing is IPVS's.
//
//   filter4, filter6          address . protocol . port : goto a gate
//   masquerade4, masquerade6  the same                  : goto when to masquerade
//   guarded4, guarded6        address . protocol . port that not everybody may dial
//   allowed4, allowed6        address . protocol . port . source range
//   hairpin4, hairpin6        address . the same address: backends that may dial themselves
//   vips4, vips6              what stands on the dummy interface
//   health                    healthCheckNodePorts, which load balancers may ask on their VIP
//
// The keys of filter4 and filter6 also say which IPVS services are fairlead's.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dataplane/ipvs/wanted.h"

namespace fairlead::dataplane::ipvs {

// Set or map -> element -> value ("" in a set, "goto open" in a map), in nft's text form.
using Elements = std::map<std::string, std::map<std::string, std::string>>;

void add_claim(Elements& elements, const ServiceKey& key, const Claim& claim);
void add_hairpin(Elements& elements, const Ip& ip);
void add_vip(Elements& elements, const Ip& ip);
void add_health_port(Elements& elements, uint16_t port);

// What the kernel holds of a table.
struct RuleState {
  std::string label;                    // of the layout that it was made by; "": none
  std::map<std::string, size_t> rules;  // by chain
  Elements elements;
};
// `listing`: libnftables-json(5). Limits: max_listing_bytes, and those of parse_json().
Result<RuleState> parse_rules(std::string_view listing);
inline constexpr size_t max_listing_bytes = 512 << 20;

// The keys of filter4 and filter6.
std::set<ServiceKey> own_keys(const Elements& elements);

// The rules for one node configuration.
class RuleLayout {
 public:
  RuleLayout(std::string table, const NodeConfig& node);

  const std::string& label() const { return label_; }  // names what the rules say
  bool matches(const RuleState& state) const;          // nothing added, nothing removed

  // Commands for nft, one kernel transaction each. From nothing or another version:
  std::string replace(const Elements& elements) const;
  std::string add(const Elements& elements) const { return change("add", elements); }
  std::string remove(const Elements& elements) const { return change("delete", elements); }
  std::string remove_table() const;
  // Without the chains that packets go through; the sets stay.
  std::string remove_hooks() const;

 private:
  std::string base() const;
  std::string sets() const;
  std::string gates() const;
  std::string check() const;
  std::string marks() const;
  std::string hooks() const;
  std::string change(std::string_view verb, const Elements& elements) const;
  std::string chain(std::string_view name, std::string_view hook = {}) const;
  std::string rule(std::string_view chain, std::string_view text) const;

  const std::string table_;
  std::vector<Cidr> pods_;
  std::vector<Cidr> service_cidrs_;
  bool masquerade_all_;
  std::string label_;
};

}  // namespace fairlead::dataplane::ipvs

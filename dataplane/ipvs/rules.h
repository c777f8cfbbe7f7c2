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

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/ipvs/wanted.h"
#include "dataplane/nftables/element_lists.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane::ipvs {

// Set or map -> elements, in nft's text form: as NftTable has them.
using Elements = std::map<std::string, NftSet>;

void add_claim(Elements& elements, const ServiceKey& key, const Claim& claim);
void add_hairpin(Elements& elements, const Ip& ip);
void add_vip(Elements& elements, const Ip& ip);
void add_health_port(Elements& elements, uint16_t port);

// "10.96.0.1 . 6 . 80", a key of filter4 or filter6, as the service that it is of.
std::optional<ServiceKey> parse_key(std::string_view text);

struct RuleOptions {
  std::string table;  // family inet
  uint32_t masquerade_mark = 0x4000;
};

// The rules for one node configuration.
class RuleLayout {
 public:
  RuleLayout(RuleOptions options, const NodeConfig& node);

  const std::string& label() const { return label_; }  // names what the rules say
  // nft::rule_differences() of the table that was read back.
  std::vector<std::string> differences(const NftTable& held) const;

  // Commands for nft, one kernel transaction each. From nothing or another version:
  std::string replace(const Elements& elements) const;
  // The rules again, in a table that has our sets: those and their elements stay, so that packets
  // under way find what they look up.
  bool can_refresh(const NftTable& held) const;
  std::string refresh(const NftTable& held) const;
  std::string change(const nft::ElementLists& remove, const nft::ElementLists& add) const;
  // Without the chains that packets go through; the sets stay.
  std::string remove_hooks() const;

 private:
  std::string base() const;
  std::string sets() const;
  std::string gates() const;
  std::string check() const;
  std::string marks() const;
  std::string hooks() const;
  std::string chain(std::string_view name, std::string_view hook = {}) const;
  std::string rule(std::string_view chain, std::string_view text) const;

  const std::string table_;
  const std::string mark_;
  std::vector<Cidr> pods_;
  std::vector<Cidr> service_cidrs_;
  bool masquerade_all_;
  std::string label_;
};

}  // namespace fairlead::dataplane::ipvs

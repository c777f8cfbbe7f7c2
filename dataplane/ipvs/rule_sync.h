// Keeps the packet filter's sets equal to the claims, element by element.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ipvs/rules.h"
#include "dataplane/nftables/comparison.h"

namespace fairlead::dataplane::ipvs {

class RuleSync {
 public:
  RuleSync(RuleOptions options, NftRunner& runner)
      : options_(std::move(options)), runner_(runner) {}

  void set_node(const NodeConfig& node);
  void change_claim(const ServiceKey& key, const Claim* from, const Claim* to);
  void change_extras(const Extras* from, const Extras* to);
  void set_vip(const Ip& ip, bool there);
  // A service without a claim that finishes its connections: refused to new ones, and still ours.
  // REQUIRES: nobody claims the key.
  void set_draining(const ServiceKey& key, bool draining);

  // Reads the kernel; what differs is sent by the next before() and after().
  Result<void> load();
  // The keys of services that the table in the kernel has as ours.
  std::set<ServiceKey> own() const;

  // The two halves of a change: what must be there before IPVS changes (new elements, and fewer
  // flows let through), and what must wait until it has. The result is the number of elements.
  // Each half is one transaction; one that fails leaves the kernel as it was.
  Result<size_t> before();
  Result<size_t> after();

  // The kernel as load() saw it against what is wanted.
  std::vector<Drift> drifts() const;
  // The elements of one key, as commands of nft show them.
  std::vector<std::string> lines(const ServiceKey& key) const;

  Result<void> remove_table();
  Result<void> remove_hooks();  // no flow meets a rule of ours any more
  std::string dump() const;     // of the kernel; "" without a table

 private:
  using Value = std::optional<std::string>;  // nothing: the element is not there

  void want(const std::string& set, const std::string& key, Value value);
  void count(std::map<std::string, size_t>& users, const std::string& set, const std::string& key,
             bool more);
  Value wanted(const std::string& set, const std::string& key) const;
  Value held(const std::string& set, const std::string& key) const;
  // `now` says of an element that differs whether it is sent.
  template <class Now>
  Result<size_t> send(Now now);
  Result<size_t> replace();

  const RuleOptions options_;
  NftRunner& runner_;
  std::optional<RuleLayout> layout_;
  bool replace_ = true;                        // the kernel's rules are not those of layout_
  bool missing_ = true;                        // as load() saw it: there is no table
  std::vector<std::string> rule_differences_;  // as load() saw them
  Elements wanted_;
  // What the kernel holds of elements where that may differ from wanted_; of all others it does
  // not.
  std::map<std::string, std::map<std::string, Value>> stale_;
  std::map<std::string, size_t> hairpin_users_, health_users_;
};

}  // namespace fairlead::dataplane::ipvs

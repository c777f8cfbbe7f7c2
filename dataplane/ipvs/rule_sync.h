// Keeps the packet filter's sets equal to the claims, element by element.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "dataplane/ipvs/rules.h"
#include "dataplane/nftables/comparison.h"

namespace fairlead::dataplane::ipvs {

class RuleSync {
 public:
  // `runner` and the log's sink outlive it.
  RuleSync(RuleOptions options, NftRunner& runner, const Log& log)
      : options_(std::move(options)), runner_(runner), log_(log) {}

  // load() must follow.
  void set_node(const NodeConfig& node) { layout_.emplace(options_, node); }
  void change_claim(const ServiceKey& key, const Claim* from, const Claim* to);
  void change_extras(const Extras* from, const Extras* to);
  void set_vip(const Ip& ip, bool there);
  // A service without a claim that finishes its connections: refused to new ones, and still ours.
  // REQUIRES: nobody claims the key.
  void set_draining(const ServiceKey& key, bool draining);

  // Reads the kernel; what differs is sent by the next before() and after().
  Result<void> load();
  bool has_table() const { return !missing_; }  // as load() saw it
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
  // `now` says of an element that differs whether it is sent. `first` are commands in front.
  template <class Now>
  Result<size_t> send(const std::string& first, Now now);
  Result<size_t> replace(std::string_view reason);

  const RuleOptions options_;
  NftRunner& runner_;
  const Log log_;
  std::optional<RuleLayout> layout_;
  // As load() saw it, until before() has put it right: there is no table; the rules are not those
  // of layout_; what makes them so, where the sets may stay.
  bool missing_ = true;
  std::vector<std::string> rule_differences_;
  std::string refresh_;
  Elements wanted_;
  // What the kernel holds of elements where that may differ from wanted_; of all others it does
  // not.
  std::map<std::string, std::map<std::string, Value>> stale_;
  std::map<std::string, size_t> hairpin_users_, health_users_;
};

}  // namespace fairlead::dataplane::ipvs

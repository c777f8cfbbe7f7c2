// Keeps the packet filter's sets equal to the claims, element by element.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ipvs/rules.h"
#include "dataplane/nftables/runner.h"

namespace fairlead::dataplane::ipvs {

class RuleSync {
 public:
  RuleSync(std::string table, NftRunner& runner) : table_(std::move(table)), runner_(runner) {}

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
  std::set<ServiceKey> own() const { return own_keys(held_); }

  // The two halves of a change: what must be there before IPVS changes (new elements, and fewer
  // flows let through), and what must wait until it has. The result is the number of elements.
  // Each half is one transaction; one that fails leaves the kernel as it was.
  Result<size_t> before();
  Result<size_t> after();

  // "filter4 element 10.96.0.1 . 6 . 80 is missing": the kernel as load() saw it against what is
  // wanted.
  std::vector<std::string> differences() const;
  // The elements of one key, as commands of nft show them.
  std::vector<std::string> lines(const ServiceKey& key) const;

  Result<void> remove_table();
  Result<void> remove_hooks();  // no flow meets a rule of ours any more
  std::string dump() const;     // of the kernel; "" without a table

 private:
  struct Change {
    Elements remove, add;
    size_t size() const;
  };
  void want(const std::string& set, const std::string& key, std::optional<std::string> value);
  void count(std::map<std::string, size_t>& users, const std::string& set, const std::string& key,
             bool more);
  Result<std::optional<RuleState>> read() const;
  Result<size_t> send(const Change& change);
  Result<size_t> replace();

  const std::string table_;
  NftRunner& runner_;
  std::optional<RuleLayout> layout_;
  bool replace_ = true;  // the kernel's rules are not those of layout_
  Elements wanted_, held_;
  std::map<std::string, size_t> hairpin_users_, health_users_;
  std::map<std::string, std::set<std::string>> touched_;  // where wanted_ and held_ may differ
};

}  // namespace fairlead::dataplane::ipvs

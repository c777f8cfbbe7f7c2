// Everything that the cluster's zones are answered from, as one immutable value.
//
// An index is made from the one before plus the change list, with work proportional to the change;
// they share the rest. Any thread may read one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/snapshot.h"
#include "dns/hash_trie.h"
#include "dns/service_record.h"

namespace fairlead::dns {

struct IndexOptions {
  bool endpoint_pod_names = false;
  bool pods = false;  // keep the addresses of Pods, for `pods verified`
  friend auto operator<=>(const IndexOptions&, const IndexOptions&) = default;
};

class ZoneIndex {
 public:
  // `serial` becomes the serial number of the zones: the time of the change in Unix seconds.
  static std::shared_ptr<const ZoneIndex> build(std::shared_ptr<const api::Snapshot> snapshot,
                                                IndexOptions options, uint32_t serial);
  // The same as build(snapshot, options(), serial) when `changes` tells all that differs; the
  // serial stays when nothing of the zones changed.
  std::shared_ptr<const ZoneIndex> update(std::shared_ptr<const api::Snapshot> snapshot,
                                          const api::Changes& changes, uint32_t serial) const;

  // By lower-case wire labels "\3web\7default"; nullptr when there is none.
  const ServiceRecord* service(std::string_view key) const;
  // By the lower-case label with its length byte. A namespace exists when its object is there or
  // when it holds a Service.
  bool has_namespace(std::string_view label) const;
  // Services that have `ip` as a cluster IP or at a ready endpoint.
  void each_service_of(const Ip& ip, const std::function<void(const ServiceRecord&)>& visit) const;
  // Whether a Pod that has not ended has `ip` in the namespace (label with its length byte).
  bool has_pod(const Ip& ip, std::string_view namespace_label) const;

  uint32_t serial() const { return serial_; }
  const IndexOptions& options() const { return options_; }
  size_t services() const { return services_.size(); }
  size_t reverse_names() const { return reverse_.size(); }

  // All of it as sorted text: two indexes are equal when this is.
  std::string dump() const;

 private:
  struct ServiceEntry {
    uint64_t key_hash;
    std::shared_ptr<const ServiceRecord> record;
    uint64_t hash() const { return key_hash; }
  };
  struct NamespaceEntry {
    uint64_t key_hash;
    std::string label;
    uint32_t services = 0;
    bool object = false;
    uint64_t hash() const { return key_hash; }
  };
  struct ReverseEntry {
    Ip ip;
    uint64_t key_hash;
    std::shared_ptr<const std::string> key;  // of the Service, or the namespace label of a Pod
    uint64_t hash() const { return key_hash; }
  };

  uint64_t hash(std::string_view text) const { return hash_bytes(text.data(), text.size(), seed_); }
  uint64_t hash(const Ip& ip) const {
    return hash_bytes(reinterpret_cast<const char*>(ip.bytes.data()), ip.bytes.size(), seed_);
  }
  std::shared_ptr<const ServiceRecord> find_record(std::string_view key) const;
  void set_service(const api::ObjectKey& key);
  void replace(const std::shared_ptr<const ServiceRecord>& old_record,
               std::shared_ptr<const ServiceRecord> new_record);
  void set_reverse(const ServiceRecord* old_record, const ServiceRecord* new_record);
  template <class Change>
  void edit_namespace(std::string_view label, Change change);
  void set_namespace(const std::string& name);
  void add_pod(const api::Pod& pod);
  void remove_pod(const api::Pod& pod);
  void erase_reverse(HashTrie<ReverseEntry>& trie, const Ip& ip, std::string_view key);

  IndexOptions options_;
  uint32_t serial_ = 0;
  uint64_t seed_ = 0;
  uint64_t edit_ = 1;  // grows with each update: see HashTrie::insert
  std::shared_ptr<const api::Snapshot> snapshot_;
  HashTrie<ServiceEntry> services_;
  HashTrie<NamespaceEntry> namespaces_;
  HashTrie<ReverseEntry> reverse_;
  HashTrie<ReverseEntry> pods_;
};

}  // namespace fairlead::dns

#include "dns/zone_index.h"

#include <random>

#include "base/text.h"
#include "dns/name.h"

namespace fairlead::dns {
namespace {

std::string label_of(std::string_view name) {
  if (name.empty() || name.size() > max_label_bytes) return {};
  return cat(static_cast<char>(name.size()), to_lower(name));
}

bool counts_as_running(const api::Pod& pod) {
  return pod.phase != "Succeeded" && pod.phase != "Failed";
}

void append_ports(std::string& out, const std::vector<RecordPort>& ports) {
  for (const auto& port : ports) {
    out += cat(' ', port.name, '/', to_string(port.protocol), '/', port.port);
  }
}

std::string describe(const ServiceRecord& record) {
  std::string out = cat("service ", name_to_text(cat(record.key.view(), '\0')), " kind ",
                        static_cast<int>(record.kind), " ports");
  append_ports(out, record.ports);
  for (const auto& ip : record.v4) {
    Ip value = Ip::v4(0);
    std::copy(ip.begin(), ip.end(), value.bytes.begin() + 12);
    out += cat(' ', value.to_string());
  }
  for (const auto& ip : record.v6) out += cat(' ', Ip::v6(ip).to_string());
  if (!record.external.empty()) out += cat(" external ", name_to_text(record.external));
  for (const auto& host : record.hosts) {
    out += cat("\n  host ", host.name);
    for (uint32_t i = host.first; i < host.first + host.count; ++i) {
      out += cat(" | ", record.addresses[i].ip.to_string());
      append_ports(out, record.port_sets[record.addresses[i].ports]);
    }
  }
  return out;
}

}  // namespace

std::shared_ptr<const ZoneIndex> ZoneIndex::build(std::shared_ptr<const api::Snapshot> snapshot,
                                                  IndexOptions options, uint32_t serial) {
  auto index = std::make_shared<ZoneIndex>();
  index->options_ = options;
  index->serial_ = serial;
  std::random_device random;
  index->seed_ = static_cast<uint64_t>(random()) << 32 | random();
  index->snapshot_ = snapshot;
  snapshot->each<api::Namespace>(
      [&](const api::Namespace& object) { index->set_namespace(object.meta.key.name); });
  snapshot->each<api::Service>(
      [&](const api::Service& service) { index->set_service(service.meta.key); });
  if (options.pods) {
    snapshot->each<api::Pod>([&](const api::Pod& pod) { index->add_pod(pod); });
  }
  return index;
}

std::shared_ptr<const ZoneIndex> ZoneIndex::update(std::shared_ptr<const api::Snapshot> snapshot,
                                                   const api::Changes& changes,
                                                   uint32_t serial) const {
  if (changes.everything) return build(std::move(snapshot), options_, serial);
  auto next = std::make_shared<ZoneIndex>(*this);
  next->edit_ = edit_ + 1;
  if (!changes.services.empty() || changes.touches(api::Kind::namespace_)) next->serial_ = serial;
  const auto before = std::exchange(next->snapshot_, std::move(snapshot));
  for (const auto& change : changes.objects) {
    if (change.kind == api::Kind::namespace_) next->set_namespace(change.key.name);
    if (change.kind == api::Kind::pod && options_.pods) {
      if (const auto pod = before->find<api::Pod>(change.key)) next->remove_pod(*pod);
      if (const auto pod = next->snapshot_->find<api::Pod>(change.key)) next->add_pod(*pod);
    }
  }
  for (const auto& key : changes.services) next->set_service(key);
  return next;
}

std::shared_ptr<const ServiceRecord> ZoneIndex::find_record(std::string_view key) const {
  const ServiceEntry* entry =
      services_.find(hash(key), [&](const ServiceEntry& e) { return e.record->key.view() == key; });
  return entry == nullptr ? nullptr : entry->record;
}

const ServiceRecord* ZoneIndex::service(std::string_view key) const {
  const ServiceEntry* entry =
      services_.find(hash(key), [&](const ServiceEntry& e) { return e.record->key.view() == key; });
  return entry == nullptr ? nullptr : entry->record.get();
}

bool ZoneIndex::has_namespace(std::string_view label) const {
  return namespaces_.find(hash(label), [&](const NamespaceEntry& e) { return e.label == label; }) !=
         nullptr;
}

void ZoneIndex::each_service_of(const Ip& ip,
                                const std::function<void(const ServiceRecord&)>& visit) const {
  reverse_.each(hash(ip), [&](const ReverseEntry& entry) {
    if (entry.ip != ip) return;
    if (const ServiceRecord* record = service(*entry.key)) visit(*record);
  });
}

bool ZoneIndex::has_pod(const Ip& ip, std::string_view namespace_label) const {
  return pods_.find(hash(ip), [&](const ReverseEntry& entry) {
    return entry.ip == ip && *entry.key == namespace_label;
  }) != nullptr;
}

void ZoneIndex::set_service(const api::ObjectKey& key) {
  const std::string wire = service_key(key);
  if (wire.empty()) return;
  const auto service = snapshot_->find<api::Service>(key);
  std::shared_ptr<const ServiceRecord> made;
  if (service != nullptr) {
    made = compile_service(*service, snapshot_->slices_of(key), options_.endpoint_pod_names);
  }
  replace(find_record(wire), std::move(made));
}

void ZoneIndex::replace(const std::shared_ptr<const ServiceRecord>& old_record,
                        std::shared_ptr<const ServiceRecord> new_record) {
  if (old_record == nullptr && new_record == nullptr) return;
  set_reverse(old_record.get(), new_record.get());
  const std::string key((old_record != nullptr ? *old_record : *new_record).key.view());
  const uint64_t key_hash = hash(key);
  if (old_record != nullptr) {
    services_.erase(
        key_hash, [&](const ServiceEntry& e) { return e.record->key.view() == key; }, edit_);
    edit_namespace(old_record->namespace_label(), [](NamespaceEntry& e) { --e.services; });
  }
  if (new_record != nullptr) {
    edit_namespace(new_record->namespace_label(), [](NamespaceEntry& e) { ++e.services; });
    services_.insert({key_hash, std::move(new_record)}, edit_);
  }
}

void ZoneIndex::set_reverse(const ServiceRecord* old_record, const ServiceRecord* new_record) {
  const auto before = old_record == nullptr ? std::vector<Ip>{} : old_record->reverse_addresses();
  const auto after = new_record == nullptr ? std::vector<Ip>{} : new_record->reverse_addresses();
  for (const Ip& ip : before) {
    if (std::binary_search(after.begin(), after.end(), ip)) continue;
    erase_reverse(reverse_, ip, old_record->key.view());
  }
  std::shared_ptr<const std::string> key;
  for (const Ip& ip : after) {
    if (std::binary_search(before.begin(), before.end(), ip)) continue;
    if (key == nullptr) key = std::make_shared<const std::string>(new_record->key.view());
    reverse_.insert({ip, hash(ip), key}, edit_);
  }
}

void ZoneIndex::erase_reverse(HashTrie<ReverseEntry>& trie, const Ip& ip, std::string_view key) {
  trie.erase(hash(ip), [&](const ReverseEntry& e) { return e.ip == ip && *e.key == key; }, edit_);
}

template <class Change>
void ZoneIndex::edit_namespace(std::string_view label, Change change) {
  const uint64_t label_hash = hash(label);
  const auto matches = [&](const NamespaceEntry& e) { return e.label == label; };
  const NamespaceEntry* found = namespaces_.find(label_hash, matches);
  NamespaceEntry entry = found != nullptr
                             ? *found
                             : NamespaceEntry{.key_hash = label_hash, .label = std::string(label)};
  if (found != nullptr) namespaces_.erase(label_hash, matches, edit_);
  change(entry);
  if (entry.object || entry.services > 0) namespaces_.insert(std::move(entry), edit_);
}

void ZoneIndex::set_namespace(const std::string& name) {
  const std::string label = label_of(name);
  if (label.empty()) return;
  const bool exists = snapshot_->find<api::Namespace>({"", name}) != nullptr;
  edit_namespace(label, [exists](NamespaceEntry& entry) { entry.object = exists; });
}

void ZoneIndex::add_pod(const api::Pod& pod) {
  const std::string label = label_of(pod.meta.key.ns);
  if (label.empty() || !counts_as_running(pod)) return;
  const auto key = std::make_shared<const std::string>(label);
  for (const Ip& ip : pod.ips) pods_.insert({ip, hash(ip), key}, edit_);
}

void ZoneIndex::remove_pod(const api::Pod& pod) {
  if (!counts_as_running(pod)) return;
  for (const Ip& ip : pod.ips) erase_reverse(pods_, ip, label_of(pod.meta.key.ns));
}

std::string ZoneIndex::dump() const {
  std::vector<std::string> lines;
  services_.each([&](const ServiceEntry& e) { lines.push_back(describe(*e.record)); });
  namespaces_.each([&](const NamespaceEntry& e) {
    lines.push_back(
        cat("namespace ", e.label.substr(1), " services ", e.services, e.object ? " object" : ""));
  });
  reverse_.each([&](const ReverseEntry& e) {
    lines.push_back(cat("reverse ", e.ip.to_string(), ' ', name_to_text(*e.key + '\0')));
  });
  pods_.each([&](const ReverseEntry& e) {
    lines.push_back(cat("pod ", e.ip.to_string(), ' ', e.key->substr(1)));
  });
  std::sort(lines.begin(), lines.end());
  return join(lines, "\n") + "\n";
}

}  // namespace fairlead::dns

// What ServiceSync knows of the maps: every write that worked is noted here.
#include <algorithm>

#include "dataplane/ebpf/service_sync.h"

namespace fairlead::dataplane::ebpf {
namespace {

template <class T>
const std::byte* bytes(const T& value) {
  return reinterpret_cast<const std::byte*>(&value);
}

}  // namespace

void ServiceSync::point(const fl_frontend_key& key, const fl_frontend& value) {
  unpoint(key);
  frontends_[key] = value;
  kernel_[value.service].frontends.push_back(key);
  if (value.local_list != 0) kernel_[value.local_list].frontends.push_back(key);
}

void ServiceSync::unpoint(const fl_frontend_key& key) {
  auto held = frontends_.find(key);
  if (held == frontends_.end()) return;
  for (uint32_t id : {held->second.service, held->second.local_list}) {
    auto service = kernel_.find(id);
    if (service == kernel_.end()) continue;
    std::erase_if(service->second.frontends,
                  [&](const fl_frontend_key& other) { return same_bytes(other, key); });
  }
  frontends_.erase(held);
}

void ServiceSync::set_slot(const fl_backend_key& key, const fl_backend& value) {
  auto& slots = kernel_[key.list].slots;
  if (slots.size() <= key.slot) slots.resize(key.slot + 1);
  backend_count_ -= slots[key.slot].list != 0;
  backend_count_ += value.list != 0;
  slots[key.slot] = value;
}

void ServiceSync::set_member(const Member& member) {
  auto& held = kernel_[member.key.service].members;
  const auto order = [](const Member& a, const Member& b) { return BytesLess()(a.key, b.key); };
  auto at = std::lower_bound(held.begin(), held.end(), member, order);
  if (at != held.end() && same_bytes(at->key, member.key)) {
    at->sets = member.sets;
  } else {
    held.insert(at, member);
  }
}

void ServiceSync::unset_member(const fl_member_key& key) {
  std::erase_if(kernel_[key.service].members,
                [&](const Member& member) { return same_bytes(member.key, key); });
  ++members_removed_;
}

bool ServiceSync::is_member(uint32_t service, const fl_ip& ip, uint16_t port) const {
  auto found = kernel_.find(service);
  if (found == kernel_.end()) return false;
  const Member wanted{{service, ip, port, 0}, 0};
  const auto order = [](const Member& a, const Member& b) { return BytesLess()(a.key, b.key); };
  return std::binary_search(found->second.members.begin(), found->second.members.end(), wanted,
                            order);
}

void ServiceSync::each(MapId map, const Maps::Visit& visit) const {
  if (map == MapId::frontends) {
    for (const auto& [key, value] : frontends_) visit(bytes(key), bytes(value));
    return;
  }
  if (map == MapId::maglev) return maglev_.each(visit);
  static constexpr uint32_t one = 1;
  for (const auto& [id, service] : kernel_) {
    if (map == MapId::backends) {
      for (uint32_t slot = 0; slot < service.slots.size(); ++slot) {
        const fl_backend_key key{id, slot};
        if (service.slots[slot].list != 0) visit(bytes(key), bytes(service.slots[slot]));
      }
    } else if (map == MapId::members) {
      for (const Member& member : service.members) visit(bytes(member.key), bytes(member.sets));
    } else if (map == MapId::source_ranges) {
      for (const fl_source_range& range : service.ranges) visit(bytes(range), bytes(one));
    }
  }
}

}  // namespace fairlead::dataplane::ebpf

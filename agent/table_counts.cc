#include "agent/table_counts.h"

#include <algorithm>

namespace fairlead::agent {

void Counts::add(const Counts& other) {
  backends += other.backends;
  rules_v4 += other.rules_v4;
  rules_v6 += other.rules_v6;
  no_local_internal += other.no_local_internal;
  no_local_external += other.no_local_external;
}

void Counts::subtract(const Counts& other) {
  backends -= other.backends;
  rules_v4 -= other.rules_v4;
  rules_v6 -= other.rules_v6;
  no_local_internal -= other.no_local_internal;
  no_local_external -= other.no_local_external;
}

Counts count(const dataplane::ServiceEntry& entry) {
  Counts out;
  for (const dataplane::PortRule& rule : entry.ports) {
    out.backends += rule.backends.size();
    (rule.ipv6 ? out.rules_v6 : out.rules_v4) += 1;
    if (rule.if_empty != dataplane::NoBackend::drop || !local_backends(rule).empty()) continue;
    const auto local = [&](bool internal) {
      return std::any_of(rule.frontends.begin(), rule.frontends.end(),
                         [&](const dataplane::Frontend& one) {
                           const bool cluster = one.kind == dataplane::FrontendKind::cluster_ip;
                           return one.local_only && cluster == internal;
                         });
    };
    out.no_local_internal += local(true);
    out.no_local_external += local(false);
  }
  return out;
}

void TableCounts::replace(const dataplane::ServiceTable& table) {
  entries_.clear();
  total_ = {};
  for (const auto& [key, entry] : table.services) {
    total_.add(entries_.emplace(key, count(entry)).first->second);
  }
}

void TableCounts::update(const dataplane::ServiceTable& table,
                         const std::set<api::ObjectKey>& changed) {
  for (const api::ObjectKey& key : changed) {
    if (const auto old = entries_.find(key); old != entries_.end()) {
      total_.subtract(old->second);
      entries_.erase(old);
    }
    if (const auto now = table.services.find(key); now != table.services.end()) {
      total_.add(entries_.emplace(key, count(now->second)).first->second);
    }
  }
}

}  // namespace fairlead::agent

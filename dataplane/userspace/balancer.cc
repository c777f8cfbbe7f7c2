#include "dataplane/userspace/balancer.h"

#include <algorithm>

#include "base/check.h"

namespace fairlead::dataplane::userspace {

size_t Balancer::choose(const NamedRule& rule, std::span<const Backend> backends,
                        const Ip& client) {
  CHECK(!backends.empty());
  const MonoTime now = clock_.now();
  const uint32_t timeout_s = rule.rule.affinity_timeout_s;
  if (timeout_s != 0) {
    const auto* entry = clients_.find({rule.name, client});
    if (entry != nullptr && now - entry->used < std::chrono::seconds(timeout_s)) {
      const auto found = std::find(backends.begin(), backends.end(), entry->value);
      if (found != backends.end()) {
        clients_.use(entry->key, now);
        return static_cast<size_t>(found - backends.begin());
      }
    }
  }
  const auto* held = turns_.find(rule.name);
  Turn turn = held == nullptr ? Turn{} : held->value;
  const bool first = backends.data() == rule.rule.backends.data();
  const bool all = backends.size() == rule.rule.backends.size();
  size_t& next = turn[all ? 0 : first ? 1 : 2];
  const size_t index = next % backends.size();
  next = index + 1;
  turns_.put(rule.name, turn, now);
  remember(rule, client, backends[index]);
  return index;
}

void Balancer::remember(const NamedRule& rule, const Ip& client, const Backend& backend) {
  if (rule.rule.affinity_timeout_s == 0) return;
  clients_.put({rule.name, client}, backend, clock_.now());
}

void Balancer::seen(const NamedRule& rule, const Ip& client) {
  if (rule.rule.affinity_timeout_s == 0) return;
  clients_.use({rule.name, client}, clock_.now());
}

}  // namespace fairlead::dataplane::userspace

#include "dataplane/iptables/restorer.h"

#include "base/clock.h"

namespace fairlead::dataplane::ipt {
namespace {

Gauge& last_rules(Registry& registry, const std::string& table) {
  return registry.gauge("kubeproxy_sync_proxy_rules_iptables_last",
                        "Rules written by the last sync.", {{"table", table}});
}

}  // namespace

Restorer::Restorer(IptablesRunner& runner, Registry& registry)
    : runner_(runner),
      restores_(registry.counter("fairlead_iptables_restores_total",
                                 "Runs of iptables-restore that succeeded.")),
      bytes_(registry.counter("fairlead_iptables_restore_bytes_total",
                              "Bytes of input that iptables-restore was given.")),
      failures_(registry.counter("kubeproxy_sync_proxy_rules_iptables_restore_failures_total",
                                 "Runs of iptables-restore that failed.")),
      partial_failures_(
          registry.counter("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total",
                           "Those of them that sent a change, and led to a full comparison.")),
      flushes_(registry.counter("fairlead_iptables_flushes_total",
                                "Times that somebody flushed a table.")),
      seconds_(registry.histogram("fairlead_iptables_restore_seconds",
                                  "Time of one run of iptables-restore.", latency_bounds_s())),
      filter_rules_(last_rules(registry, "filter")),
      nat_rules_(last_rules(registry, "nat")) {}

Result<void> Restorer::send(bool ipv6, const RestoreInput& input, ApplyReport& report) {
  const std::string text = input.text();
  const RealClock clock;
  const MonoTime begin = clock.now();
  Result<void> sent = runner_.restore(ipv6, text);
  seconds_.observe(std::chrono::duration<double>(clock.now() - begin).count());
  bytes_.add(text.size());
  if (!sent) {
    failures_.add();
    return sent;
  }
  restores_.add();
  filter_rules_.set(static_cast<int64_t>(input.writes(Table::filter)));
  nat_rules_.set(static_cast<int64_t>(input.writes(Table::nat)));
  report.writes += input.writes();
  return sent;
}

Result<void> Restorer::send_change(bool ipv6, const RestoreInput& input, ApplyReport& report) {
  Result<void> sent = send(ipv6, input, report);
  if (!sent) partial_failures_.add();
  return sent;
}

}  // namespace fairlead::dataplane::ipt

#include "dataplane/ebpf/counters.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

namespace fairlead::dataplane::ebpf {
namespace {

struct Name {
  const char* metric;
  const char* help;
  Labels labels;
};

constexpr const char* translated = "fairlead_ebpf_translations_total";
constexpr const char* translated_help = "Addresses translated, by hook.";
constexpr const char* refused = "fairlead_ebpf_no_backend_total";
constexpr const char* refused_help =
    "Flows refused, by hook and outcome (reject: no endpoint or no such port; drop: none for this "
    "traffic policy, or a source or address that is not served).";
constexpr const char* lost = "fairlead_ebpf_tc_losses_total";
constexpr const char* lost_help =
    "Packets that tc could not translate, by reason. fragment_unknown ones passed, others were "
    "dropped.";

constexpr const char* direct = "fairlead_ebpf_dsr_flows_total";
constexpr const char* direct_help =
    "New flows with direct server return, by side: the node that was dialled, or the backend's.";

// In the order of enum fl_counter.
const std::array<Name, FL_COUNTERS>& names() {
  static const std::array<Name, FL_COUNTERS> table = {{
      {translated, translated_help, {{"hook", "connect"}}},
      {refused, refused_help, {{"hook", "connect"}, {"outcome", "reject"}}},
      {refused, refused_help, {{"hook", "connect"}, {"outcome", "drop"}}},
      {translated, translated_help, {{"hook", "sendmsg"}}},
      {refused, refused_help, {{"hook", "sendmsg"}, {"outcome", "reject"}}},
      {refused, refused_help, {{"hook", "sendmsg"}, {"outcome", "drop"}}},
      {translated, translated_help, {{"hook", "recvmsg"}}},
      {translated, translated_help, {{"hook", "getpeername"}}},
      {"fairlead_ebpf_tc_flows_total", "New flows that tc balanced.", {}},
      {translated, translated_help, {{"hook", "tc_ingress"}}},
      {translated, translated_help, {{"hook", "tc_egress"}}},
      {"fairlead_ebpf_tc_icmp_errors_total", "ICMP errors translated for their flow.", {}},
      {refused, refused_help, {{"hook", "tc"}, {"outcome", "reject"}}},
      {refused, refused_help, {{"hook", "tc"}, {"outcome", "drop"}}},
      {lost, lost_help, {{"reason", "no_masquerade_port"}}},
      {lost, lost_help, {{"reason", "tuple_clash"}}},
      {lost, lost_help, {{"reason", "no_memory"}}},
      {lost, lost_help, {{"reason", "fragment_unknown"}}},
      {direct, direct_help, {{"side", "dialled"}}},
      {direct, direct_help, {{"side", "backend"}}},
      {lost, lost_help, {{"reason", "dsr_refused"}}},
  }};
  return table;
}

}  // namespace

CounterValues read_counters(int counters_map_fd) {
  CounterValues sums{};
  int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return sums;
  std::vector<uint64_t> values(static_cast<size_t>(cpus));
  for (uint32_t i = 0; i < FL_COUNTERS; ++i) {
    if (bpf_map_lookup_elem(counters_map_fd, &i, values.data()) != 0) continue;
    for (uint64_t value : values) sums[i] += value;
  }
  return sums;
}

CounterMetrics::CounterMetrics(Registry& registry) {
  for (const Name& name : names()) {
    counters_.push_back(&registry.counter(name.metric, name.help, name.labels));
  }
}

void CounterMetrics::update(const CounterValues& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] > last_[i]) counters_[i]->add(values[i] - last_[i]);
  }
  last_ = values;
}

}  // namespace fairlead::dataplane::ebpf

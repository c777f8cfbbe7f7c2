#include "controlplane/objects/allocator.h"

#include <map>
#include <set>
#include <unordered_set>

#include "base/text.h"
#include "controlplane/objects/allocation_ranges.h"
#include "controlplane/objects/problems.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kV4 = "IPv4", kV6 = "IPv6";

json::array to_array(const std::vector<std::string>& texts) {
  json::array out;
  for (const std::string& text : texts) out.emplace_back(text);
  return out;
}

// What a stored Service holds.
std::set<Ip> addresses_of(const json::object& spec) {
  std::set<Ip> out;
  if (!needs_cluster_ip(spec)) return out;
  std::vector<std::string> texts = strings_at(spec, "clusterIPs");
  texts.emplace_back(string_at(spec, "clusterIP"));
  for (const std::string& text : texts)
    if (const auto ip = Ip::parse(text)) out.insert(*ip);
  return out;
}

std::set<int64_t> node_ports_of(const json::object& spec) {
  std::set<int64_t> out;
  if (const json::array* ports = array_at(spec, "ports"))
    for (const json::value& port : *ports)
      if (port.is_object())
        if (const auto number = integer_at(port.get_object(), "nodePort").value_or(0)) {
          out.insert(number);
        }
  return out;
}

int64_t health_port_of(const json::object& spec) {
  return integer_at(spec, "healthCheckNodePort").value_or(0);
}

}  // namespace

struct ServiceAllocator::Impl {
  // One assign() at work: what the old object holds stays taken until the end.
  struct Plan {
    json::object& spec;
    std::set<Ip> held_addresses;
    std::set<int64_t> held_node_ports;
    int64_t held_health_port = 0;
    Problems problems;
    std::vector<std::string> families = {}, ips = {};
    std::unordered_set<uint64_t> new_ports = {};  // offsets
  };

  Impl(AllocatorConfig config, uint64_t seed)
      : ports(config.node_port_low, config.node_port_high), random(seed) {
    for (const Cidr& cidr : config.service_cidrs) ranges.emplace_back(cidr);
  }

  AddressRange* range_of(std::string_view family) {
    for (AddressRange& range : ranges)
      if (range.is_v4() == (family == kV4)) return &range;
    return nullptr;
  }
  std::string_view default_family() const {
    return ranges.empty() || ranges[0].is_v4() ? kV4 : kV6;
  }

  // Those outside the ranges (of an earlier configuration) are nobody's.
  template <class Do>
  void each_held(const json::value& service, Do change) {
    const json::object* document = service.if_object();
    if (document == nullptr) return;
    const json::object& spec = service_spec(*document);
    for (const Ip& ip : addresses_of(spec))
      for (AddressRange& range : ranges)
        if (range.in_range(ip)) change(range.pool(), range.offset(ip));
    std::set<int64_t> held = node_ports_of(spec);
    held.insert(health_port_of(spec));
    for (int64_t port : held)
      if (ports.in_range(port)) change(ports.pool(), ports.offset(port));
  }

  void choose_families(Plan& plan, bool creating);
  void choose_addresses(Plan& plan);
  void choose_ports(Plan& plan);
  int64_t new_port(Plan& plan, const std::string& field);
  bool request_port(Plan& plan, int64_t port, const std::string& field);

  std::vector<AddressRange> ranges;
  PortRange ports;
  std::mt19937_64 random;
};

// Kubernetes storage/alloc.go, initIPFamilyFields.
void ServiceAllocator::Impl::choose_families(Plan& plan, bool creating) {
  json::object& spec = plan.spec;
  plan.families = strings_at(spec, "ipFamilies");
  plan.ips = strings_at(spec, "clusterIPs");
  const json::object* selector = object_at(spec, "selector");
  const bool free_form = is_headless(spec) && (selector == nullptr || selector->empty());
  for (size_t i = plan.families.size(); i < plan.ips.size(); ++i)
    if (const auto ip = Ip::parse(plan.ips[i])) plan.families.emplace_back(ip->is_v4() ? kV4 : kV6);
  if (!has(spec, "ipFamilyPolicy")) {
    if (creating && !free_form && plan.families.size() == 2)
      plan.problems.invalid("spec.ipFamilyPolicy", json::value(nullptr),
                            "must be 'RequireDualStack' or 'PreferDualStack' when two IP families "
                            "or cluster IPs are specified");
    spec["ipFamilyPolicy"] =
        free_form && plan.families.size() != 1 ? "RequireDualStack" : "SingleStack";
  }
  const std::string policy(string_at(spec, "ipFamilyPolicy"));
  if (plan.families.empty()) plan.families.emplace_back(default_family());
  const std::string_view other = plan.families[0] == kV4 ? kV6 : kV4;
  if (!free_form) {
    for (size_t i = 0; i < plan.families.size(); ++i)
      if (range_of(plan.families[i]) == nullptr)
        plan.problems.invalid(indexed("spec.ipFamilies", i), json::value(plan.families[i]),
                              "not configured on this cluster");
    if (policy == "RequireDualStack" && ranges.size() < 2)
      plan.problems.invalid("spec.ipFamilyPolicy", json::value(policy),
                            "this cluster is not configured for dual-stack services");
  }
  const bool can_have_both = free_form || range_of(other) != nullptr;
  if (policy != "SingleStack" && plan.families.size() == 1 && can_have_both)
    plan.families.emplace_back(other);
  if (policy == "SingleStack" && plan.families.size() == 2 && plan.ips.size() < 2)
    plan.families.resize(1);
  spec["ipFamilies"] = to_array(plan.families);
}

void ServiceAllocator::Impl::choose_addresses(Plan& plan) {
  if (is_headless(plan.spec)) {
    plan.spec["clusterIPs"] = json::array{kHeadless};
    return;
  }
  const json::value requested = to_array(plan.ips);
  for (size_t i = 0; i < plan.families.size(); ++i) {
    AddressRange* range = range_of(plan.families[i]);
    if (range == nullptr) return;
    if (i >= plan.ips.size()) {
      const auto offset = range->pool().pick({}, random);
      if (!offset) {
        plan.problems.internal("spec.clusterIPs", "failed to allocate a serviceIP: range is full");
        return;
      }
      plan.ips.push_back(range->at(*offset).to_string());
      continue;
    }
    const auto ip = Ip::parse(plan.ips[i]);
    if (!ip || plan.held_addresses.contains(*ip)) continue;
    const std::string failed = cat("failed to allocate IP ", plan.ips[i], ": ");
    if (!range->in_range(*ip))
      plan.problems.invalid("spec.clusterIPs", requested,
                            cat(failed, "the provided IP (", plan.ips[i],
                                ") is not in the valid range. The range of valid IPs is ",
                                range->cidr().to_string()));
    else if (range->pool().used(range->offset(*ip)))
      plan.problems.invalid("spec.clusterIPs", requested,
                            failed + "provided IP is already allocated");
  }
  if (plan.ips.empty()) return;
  plan.spec["clusterIP"] = plan.ips[0];
  plan.spec["clusterIPs"] = to_array(plan.ips);
}

// Not for a port that the old object holds in the same role.
bool ServiceAllocator::Impl::request_port(Plan& plan, int64_t port, const std::string& field) {
  if (!ports.in_range(port)) {
    plan.problems.invalid(field, port,
                          cat("provided port is not in the valid range. The range of valid ports "
                              "is ",
                              ports.low(), "-", ports.high()));
    return false;
  }
  if (ports.pool().used(ports.offset(port)) || plan.new_ports.contains(ports.offset(port))) {
    plan.problems.invalid(field, port, "provided port is already allocated");
    return false;
  }
  plan.new_ports.insert(ports.offset(port));
  return true;
}

int64_t ServiceAllocator::Impl::new_port(Plan& plan, const std::string& field) {
  const auto offset = ports.pool().pick(plan.new_ports, random);
  if (!offset) {
    plan.problems.internal(field, "failed to allocate a nodePort: range is full");
    return 0;
  }
  plan.new_ports.insert(*offset);
  return ports.at(*offset);
}

// Explicit requests come first, so that a port that is picked never takes one of them away. Ports
// of equal number (TCP and UDP of one service) share a node port when only one names it.
void ServiceAllocator::Impl::choose_ports(Plan& plan) {
  json::object& spec = plan.spec;
  std::map<int64_t, int64_t> by_port;
  json::array& list = make_array(spec, "ports");
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_object()) continue;
    const json::object& port = list[i].get_object();
    const int64_t number = integer_at(port, "nodePort").value_or(0);
    if (number == 0) continue;
    const bool held = plan.held_node_ports.contains(number);
    const bool repeated = ports.in_range(number) && plan.new_ports.contains(ports.offset(number));
    if (held || repeated || request_port(plan, number, indexed("spec.ports", i) + ".nodePort"))
      by_port.emplace(integer_at(port, "port").value_or(0), number);
  }
  const bool wanted = needs_node_ports(spec);
  for (size_t i = 0; i < list.size() && wanted; ++i) {
    if (!list[i].is_object()) continue;
    json::object& port = list[i].get_object();
    if (integer_at(port, "nodePort").value_or(0) != 0) continue;
    const auto [known, is_new] = by_port.emplace(integer_at(port, "port").value_or(0), 0);
    if (is_new) known->second = new_port(plan, indexed("spec.ports", i) + ".nodePort");
    if (known->second != 0) port["nodePort"] = known->second;
  }
  if (!needs_health_check_port(spec)) return;
  const int64_t health = health_port_of(spec);
  if (health == 0)
    spec["healthCheckNodePort"] = new_port(plan, "spec.healthCheckNodePort");
  else if (health != plan.held_health_port)
    request_port(plan, health, "spec.healthCheckNodePort");
}

ServiceAllocator::ServiceAllocator(AllocatorConfig config, uint64_t seed)
    : impl_(std::make_unique<Impl>(std::move(config), seed)) {}
ServiceAllocator::ServiceAllocator(ServiceAllocator&&) noexcept = default;
ServiceAllocator& ServiceAllocator::operator=(ServiceAllocator&&) noexcept = default;
ServiceAllocator::~ServiceAllocator() = default;

std::vector<FieldError> ServiceAllocator::assign(json::value& service, const json::value* old) {
  static const json::object none;
  if (!service.is_object()) service = json::object();
  json::object& spec = make_object(service.get_object(), "spec");
  const json::object* before = old == nullptr ? nullptr : old->if_object();
  const json::object& old_spec = before == nullptr ? none : service_spec(*before);
  Impl::Plan plan{
      spec, addresses_of(old_spec), node_ports_of(old_spec), health_port_of(old_spec), {}};
  if (needs_cluster_ip(spec)) {
    impl_->choose_families(plan, before == nullptr);
    if (plan.problems.empty()) impl_->choose_addresses(plan);
  }
  if (may_have_node_ports(spec)) impl_->choose_ports(plan);
  if (!plan.problems.empty()) return plan.problems.take_errors();
  if (old != nullptr) release(*old);
  adopt(service);
  return {};
}

void ServiceAllocator::revert(const json::value& service, const json::value* old) {
  release(service);
  if (old != nullptr) adopt(*old);
}

void ServiceAllocator::release(const json::value& service) {
  impl_->each_held(service, [](OffsetPool& pool, uint64_t offset) { pool.free(offset); });
}

void ServiceAllocator::adopt(const json::value& existing) {
  impl_->each_held(existing, [](OffsetPool& pool, uint64_t offset) { pool.take(offset); });
}

size_t ServiceAllocator::used_addresses() const {
  size_t count = 0;
  for (const AddressRange& range : impl_->ranges) count += range.pool().count();
  return count;
}

size_t ServiceAllocator::used_ports() const { return impl_->ports.pool().count(); }

}  // namespace fairlead::controlplane

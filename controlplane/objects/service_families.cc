#include "controlplane/objects/service_families.h"

#include <set>

#include "base/ip.h"
#include "base/text.h"
#include "controlplane/objects/kind_rules.h"
#include "controlplane/objects/service_parts.h"

namespace fairlead::controlplane {
namespace {

void validate_families(const json::object& spec, Problems& problems) {
  std::set<std::string, std::less<>> seen;
  each_string(spec, "ipFamilies", "spec.", [&](std::string_view family, const std::string& at) {
    problems.one_of(at, family, {"IPv4", "IPv6"});
    if (!seen.emplace(family).second) problems.duplicate(at, json::value(family));
  });
  if (has(spec, "ipFamilyPolicy"))
    problems.one_of("spec.ipFamilyPolicy", string_at(spec, "ipFamilyPolicy"),
                    {"PreferDualStack", "RequireDualStack", "SingleStack"});
}

void validate_one_ip(const std::string& text, size_t i, bool alone,
                     const std::vector<std::string>& families, Problems& problems) {
  const std::string at = indexed("spec.clusterIPs", i);
  if (text == kHeadless) {
    if (!alone)
      problems.invalid("spec.clusterIPs", json::value(text),
                       "'None' must be the first and only value");
    return;
  }
  const auto ip = Ip::parse(text);
  if (!ip) return problems.invalid(at, text, ip_address(text));
  const std::string_view family = ip->is_v4() ? "IPv4" : "IPv6";
  if (i < families.size() && families[i] != family)
    problems.invalid(
        at, json::value(text),
        cat("expected an ", families[i], " value as indicated by `ipFamilies[", i, "]`"));
}

}  // namespace

void validate_cluster_ips(const json::object& spec, Problems& problems) {
  if (!needs_cluster_ip(spec)) return;
  validate_families(spec, problems);
  const std::vector<std::string> ips = strings_at(spec, "clusterIPs");
  const std::vector<std::string> families = strings_at(spec, "ipFamilies");
  const std::string_view single = string_at(spec, "clusterIP");
  if (ips.empty()) return;
  const json::value shown = spec.at("clusterIPs");
  if (single.empty())
    problems.invalid("spec.clusterIPs", shown, "must be empty when `clusterIP` is not specified");
  else if (ips[0] != single)
    problems.invalid("spec.clusterIPs", shown, "first value must match `clusterIP`");
  if (ips.size() > 2) problems.invalid("spec.clusterIPs", shown, "may only hold up to 2 values");
  size_t v4 = 0, v6 = 0;
  for (size_t i = 0; i < ips.size(); ++i) {
    validate_one_ip(ips[i], i, ips.size() == 1, families, problems);
    if (const auto ip = Ip::parse(ips[i])) ++(ip->is_v4() ? v4 : v6);
  }
  if (v4 > 1 || v6 > 1)
    problems.invalid("spec.clusterIPs", shown,
                     "may specify no more than one IP for each IP family");
  if (ips.size() == 2 && string_at(spec, "ipFamilyPolicy") == "SingleStack")
    problems.invalid("spec.ipFamilyPolicy", json::value("SingleStack"),
                     "must be 'RequireDualStack' or 'PreferDualStack' when two cluster IPs are "
                     "specified");
}

}  // namespace fairlead::controlplane

// Printers of services, endpoints and ingresses.
// Source: Kubernetes 1.32 pkg/printers/internalversion/printers.go.
#include <algorithm>

#include "base/text.h"
#include "controlplane/table_cells.h"

namespace fairlead::controlplane {
namespace {

constexpr size_t kShownEndpoints = 3;
constexpr size_t kShownHosts = 3;

// "a,b,c + 4 more..."
std::string first_of(const std::vector<std::string>& items, size_t shown,
                     std::string_view more = " more...") {
  if (items.empty()) return "<none>";
  if (items.size() <= shown) return join(items, ",");
  std::vector<std::string> head(items.begin(), items.begin() + static_cast<ptrdiff_t>(shown));
  return cat(join(head, ","), " + ", items.size() - shown, more);
}

std::vector<std::string> ingress_points(const json::value& object) {
  std::vector<std::string> out;
  if (const json::value* balancer = find(object, "status", "loadBalancer"); balancer != nullptr)
    for (const json::value& point : list_at(*balancer, "ingress")) {
      std::string_view ip = find_string(point, "ip");
      out.emplace_back(ip.empty() ? find_string(point, "hostname") : ip);
    }
  return out;
}

std::string external_ip(const json::value& service) {
  std::string_view type = find_string(service, "spec", "type");
  if (type == "ExternalName")
    return text_or(find_string(service, "spec", "externalName"), "<none>");
  std::vector<std::string> ips;
  if (type == "LoadBalancer") ips = ingress_points(service);
  for (const json::value& ip : list_at(service, "spec", "externalIPs"))
    ips.push_back(number_text(&ip));
  if (ips.empty()) return type == "LoadBalancer" ? "<pending>" : "<none>";
  return join(ips, ",");
}

std::string service_ports(const json::value& service) {
  std::vector<std::string> out;
  for (const json::value& port : list_at(service, "spec", "ports")) {
    std::string text = number_text(find(port, "port"));
    std::string node_port = number_text(find(port, "nodePort"));
    if (!node_port.empty() && node_port != "0") text += cat(":", node_port);
    out.push_back(cat(text, "/", text_or(find_string(port, "protocol"), "TCP")));
  }
  return out.empty() ? "<none>" : join(out, ",");
}

std::string slice_ports(const json::value& slice) {
  std::vector<std::string> out;
  for (const json::value& port : list_at(slice, "ports"))
    out.push_back(text_or(number_text(find(port, "port")), "*"));
  return out.empty() ? "<unset>" : first_of(out, kShownEndpoints);
}

std::string backend_text(const json::value& backend) {
  if (const json::value* service = find(backend, "service"); service != nullptr) {
    std::string port = number_text(find(*service, "port", "number"));
    if (port.empty()) port = find_string(*service, "port", "name");
    return cat(find_string(*service, "name"), ":", port);
  }
  return cat(find_string(backend, "resource", "kind"), "/",
             find_string(backend, "resource", "name"));
}

std::string ingress_hosts(const json::value& ingress) {
  std::vector<std::string> hosts;
  for (const json::value& rule : list_at(ingress, "spec", "rules"))
    if (std::string_view host = find_string(rule, "host"); !host.empty()) hosts.emplace_back(host);
  return hosts.empty() ? "*" : first_of(hosts, kShownHosts);
}

}  // namespace

json::array service_cells(const json::value& service, WallTime now) {
  std::string_view ip = find_string(service, "spec", "clusterIP");
  return {find_string(service, "metadata", "name"),
          text_or(find_string(service, "spec", "type"), "ClusterIP"),
          text_or(ip, "<none>"),
          external_ip(service),
          service_ports(service),
          age_of(service, now),
          label_text(find(service, "spec", "selector"))};
}

json::array endpoints_cells(const json::value& endpoints, WallTime now) {
  std::vector<std::string> out;
  for (const json::value& subset : list_at(endpoints, "subsets"))
    for (const json::value& address : list_at(subset, "addresses")) {
      std::string_view ip = find_string(address, "ip");
      bool v6 = ip.find(':') != std::string_view::npos;
      if (list_at(subset, "ports").empty()) out.emplace_back(ip);
      for (const json::value& port : list_at(subset, "ports"))
        out.push_back(cat(v6 ? "[" : "", ip, v6 ? "]:" : ":", number_text(find(port, "port"))));
    }
  return {find_string(endpoints, "metadata", "name"), first_of(out, kShownEndpoints),
          age_of(endpoints, now)};
}

json::array endpoint_slice_cells(const json::value& slice, WallTime now) {
  std::vector<std::string> addresses;
  for (const json::value& endpoint : list_at(slice, "endpoints"))
    for (const json::value& address : list_at(endpoint, "addresses"))
      addresses.push_back(number_text(&address));
  return {find_string(slice, "metadata", "name"), find_string(slice, "addressType"),
          slice_ports(slice), addresses.empty() ? "<unset>" : first_of(addresses, kShownEndpoints),
          age_of(slice, now)};
}

json::array ingress_cells(const json::value& ingress, WallTime now) {
  std::string hosts = ingress_hosts(ingress);
  if (const json::value* backend = find(ingress, "spec", "defaultBackend");
      backend != nullptr && list_at(ingress, "spec", "rules").empty())
    hosts = cat("* (", backend_text(*backend), ")");
  bool tls = !list_at(ingress, "spec", "tls").empty();
  return {find_string(ingress, "metadata", "name"),
          text_or(find_string(ingress, "spec", "ingressClassName"), "<none>"),
          hosts,
          join(ingress_points(ingress), ","),
          tls ? "80, 443" : "80",
          age_of(ingress, now)};
}

json::array ingress_class_cells(const json::value& ingress_class, WallTime now) {
  std::string parameters = "<none>";
  if (const json::value* reference = find(ingress_class, "spec", "parameters");
      reference != nullptr && reference->is_object()) {
    std::string_view group = find_string(*reference, "apiGroup");
    parameters = cat(find_string(*reference, "kind"), group.empty() ? "" : ".", group, "/",
                     find_string(*reference, "name"));
  }
  return {find_string(ingress_class, "metadata", "name"),
          find_string(ingress_class, "spec", "controller"), parameters, age_of(ingress_class, now)};
}

}  // namespace fairlead::controlplane

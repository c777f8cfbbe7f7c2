// The rules of a Service in the chains that all Services share: by address and port to its own
// chains, and what happens to packets that those did not take.
#include <algorithm>

#include "base/text.h"
#include "dataplane/flow.h"
#include "dataplane/iptables/layout.h"
#include "dataplane/iptables/names.h"

namespace fairlead::dataplane::ipt {
namespace {

constexpr std::string_view kind_words[] = {" cluster IP", " node port", " external IP",
                                           " loadbalancer IP"};

std::string labelled(const std::string& label, const Frontend& frontend) {
  return cat(label, kind_words[static_cast<size_t>(frontend.kind)]);
}

std::string empty_remark(const std::string& label, const PortRule& rule) {
  return cat(label,
             rule.if_empty == NoBackend::reject ? " has no endpoints" : " has no local endpoints");
}

}  // namespace

std::string Layout::verdict(const PortRule& rule) const {
  return rule.if_empty == NoBackend::reject ? reject(rule.protocol) : "-j DROP";
}

std::vector<FrontendKey> Layout::frontends(const ServiceEntry& entry) const {
  std::vector<FrontendKey> out;
  const Ip any = style_.ipv6 ? Ip{} : Ip::v4(0);
  bool any_rule = false;
  for (const PortRule& rule : entry.ports) {
    if (rule.ipv6 != style_.ipv6) continue;
    any_rule = true;
    const auto protocol = static_cast<uint8_t>(rule.protocol);
    for (const Frontend& frontend : rule.frontends) {
      if (frontend.kind == FrontendKind::node_port) {
        out.push_back({any, frontend.port, protocol});
        for (const Ip& ip : served_) out.push_back({ip, frontend.port, protocol});
        continue;
      }
      out.push_back({frontend.ip, frontend.port, protocol});
      if (frontend.kind == FrontendKind::cluster_ip) out.push_back({frontend.ip, 0, 0});
    }
  }
  if (any_rule && entry.health_check.port != 0) out.push_back({any, entry.health_check.port, 0});
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<SharedRule> Layout::node_port_rules(const api::ObjectKey& key, const PortRule& rule,
                                                const Frontend& frontend) const {
  std::vector<SharedRule> out;
  const std::string label = port_label(key, rule.port_name);
  if (has_backends(rule, frontend)) {
    out.push_back({Shared::node_ports,
                   cat(port_match(rule.protocol, frontend.port, label), "-j ",
                       chain_name(ChainKind::external, label, rule.protocol)),
                   style_.tree ? port_chain_name(rule.protocol, frontend.port, 4) : ""});
  }
  const bool localhost = !style_.ipv6 && node_.localhost_node_ports;
  if (localhost && lacks_backends(rule, frontend)) {
    out.push_back(
        {Shared::external_services,
         cat("-d 127.0.0.0/8 ", port_match(rule.protocol, frontend.port, empty_remark(label, rule)),
             verdict(rule))});
  }
  return out;
}

std::vector<SharedRule> Layout::address_rules(const api::ObjectKey& key, const PortRule& rule,
                                              const Frontend& frontend, const Ip& ip) const {
  std::vector<SharedRule> out;
  const std::string label = port_label(key, rule.port_name);
  const std::string address = cat("-d ", host(ip), " ");
  const auto match = [&](const std::string& remark) {
    return cat(address, port_match(rule.protocol, frontend.port, remark));
  };
  const bool internal = frontend.kind == FrontendKind::cluster_ip;
  const bool guarded = frontend.kind == FrontendKind::load_balancer && !rule.source_ranges.empty();
  if (frontend.kind != FrontendKind::node_port) {
    if (has_backends(rule, frontend)) {
      const ChainKind kind = guarded               ? ChainKind::firewall
                             : !internal           ? ChainKind::external
                             : frontend.local_only ? ChainKind::local
                                                   : ChainKind::cluster;
      // What is about an address of the node stands before the rules that lead to NodePorts, and a
      // packet that it does not take is not to meet those: another Service may have the same port.
      const bool mine = is_served(ip);
      out.push_back({Shared::nat_services,
                     cat(match(labelled(label, frontend)), mine ? "-g " : "-j ",
                         chain_name(kind, label, rule.protocol)),
                     style_.tree && !mine ? leaf_name(ip.bytes[15]) : ""});
    } else if (is_served(ip)) {
      // It has no endpoint, and the NodePort behind it is another Service's.
      out.push_back({Shared::nat_services, cat(match(labelled(label, frontend)), "-j RETURN")});
    }
  }
  if (lacks_backends(rule, frontend)) {
    const std::string text = cat(match(empty_remark(label, rule)), verdict(rule));
    const Shared chain = internal ? Shared::filter_services : Shared::external_services;
    if (!guarded) {
      out.push_back({chain, text});
    } else if (rule.if_empty == NoBackend::reject) {
      for (const std::string& source : sources(rule, ip)) {
        // The node's own rule names the address already.
        out.push_back({chain, source.find("-d ") == source.npos
                                  ? cat(source, text)
                                  : cat(source, text.substr(address.size()))});
      }
    }
  }
  if (guarded) {
    const std::string remark = cat(label, " traffic not accepted by ",
                                   chain_name(ChainKind::firewall, label, rule.protocol));
    out.push_back({Shared::firewall, cat(match(remark), "-j DROP")});
  }
  return out;
}

std::vector<SharedRule> Layout::shared_rules(const api::ObjectKey& key, const ServiceEntry& entry,
                                             const FrontendKey& wanted) const {
  if (wanted.protocol == 0 && wanted.ip.is_unspecified()) {
    return {{Shared::health_checks, cat(port_match(Protocol::tcp, wanted.port,
                                                   cat(key.to_string(), " health check node port")),
                                        "-j ACCEPT")}};
  }
  if (wanted.protocol == 0) {
    const std::string remark = cat(key.to_string(), " has no such port");
    return {
        {Shared::cluster_ips, cat("-d ", host(wanted.ip), " ", comment(remark), "-j KUBE-REJECT")}};
  }
  // The first rule that matches has the packet, as in resolve().
  for (const PortRule& rule : entry.ports) {
    if (rule.ipv6 != style_.ipv6 || static_cast<uint8_t>(rule.protocol) != wanted.protocol)
      continue;
    for (const Frontend& frontend : rule.frontends) {
      if (frontend.port != wanted.port) continue;
      const bool node_port = frontend.kind == FrontendKind::node_port;
      if (wanted.ip.is_unspecified()) {
        if (node_port) return node_port_rules(key, rule, frontend);
      } else if (node_port ? is_served(wanted.ip) : frontend.ip == wanted.ip) {
        return address_rules(key, rule, frontend, wanted.ip);
      }
    }
  }
  return {};
}

}  // namespace fairlead::dataplane::ipt

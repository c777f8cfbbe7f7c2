#include <algorithm>
#include <array>

#include "base/text.h"
#include "dataplane/explain.h"

namespace fairlead::dataplane {
namespace {

using Row = std::vector<std::string>;

// Columns as wide as their widest cell, the last cell of each row aside: it may be any length.
void append_rows(std::string& out, const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line = "  ";
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    append(out, cat(line, "\n"));
  }
}

std::vector<Row> decision_rows(const std::vector<Decision>& decisions) {
  std::vector<Row> rows;
  for (const Decision& one : decisions) {
    rows.push_back({one.step, one.verdict});
    if (!one.why.empty()) rows.back().push_back(one.why);
  }
  return rows;
}

void append_kernel(std::string& out, const std::vector<std::string>& lines) {
  if (!lines.empty()) out += "\nKERNEL\n";
  for (const std::string& line : lines) append(out, cat("  ", line, "\n"));
}

std::string address_of(const api::JudgedEndpoint& one) {
  return one.port == 0 ? one.ip.to_string() : SocketAddress{one.ip, one.port}.to_string();
}

std::string port_title(const PortExplanation& port) {
  return cat("PORT ", port.name.empty() ? "-" : port.name, " ", to_string(port.protocol),
             port.ipv6 ? " IPv6" : " IPv4");
}

void append_port(std::string& out, const PortExplanation& port) {
  append(out, cat("\n", port_title(port), "\n"));
  std::vector<Row> rows = {{"FRONTEND", "LOCAL POD", "THIS NODE", "OUTSIDE"}};
  for (const auto& one : port.frontends) {
    rows.push_back({one.frontend, one.local_pod, one.this_node, one.outside});
  }
  append_rows(out, rows);
  rows = {{"ENDPOINT", "CLUSTER", "LOCAL", "NODE", "SLICE", "WHY"}};
  for (const auto& one : port.endpoints) {
    rows.push_back({address_of(one), one.in_cluster ? "in" : "out", one.in_local ? "in" : "out",
                    one.node_name.empty() ? "-" : one.node_name, one.slice, one.why});
  }
  append_rows(out, port.endpoints.empty() ? std::vector<Row>{{"no endpoints"}} : rows);
  append_rows(out, decision_rows(port.decisions));
}

json::array to_json(const std::vector<Decision>& decisions) {
  json::array out;
  for (const Decision& one : decisions) {
    out.push_back({{"step", one.step}, {"verdict", one.verdict}, {"why", one.why}});
  }
  return out;
}

json::array strings(const std::vector<std::string>& values) {
  return json::array(values.begin(), values.end());
}

json::value to_json(const PortExplanation& port) {
  json::array frontends, endpoints;
  for (const auto& one : port.frontends) {
    frontends.push_back({{"frontend", one.frontend},
                         {"localPod", one.local_pod},
                         {"thisNode", one.this_node},
                         {"outside", one.outside}});
  }
  for (const auto& one : port.endpoints) {
    endpoints.push_back({{"address", address_of(one)},
                         {"cluster", one.in_cluster},
                         {"local", one.in_local},
                         {"node", one.node_name},
                         {"slice", one.slice},
                         {"why", one.why}});
  }
  return {{"name", port.name},
          {"protocol", to_string(port.protocol)},
          {"family", port.ipv6 ? "IPv6" : "IPv4"},
          {"frontends", std::move(frontends)},
          {"endpoints", std::move(endpoints)},
          {"decisions", to_json(port.decisions)}};
}

constexpr std::array<std::string_view, 4> outcome_names = {"pass", "forward", "reject", "drop"};

}  // namespace

std::string to_table(const FlowExplanation& explanation) {
  std::string out = cat("FLOW ", explanation.flow);
  if (!explanation.mode.empty()) append(out, cat(", ", explanation.mode, " mode"));
  out += '\n';
  append_rows(out, decision_rows(explanation.decisions));
  append_kernel(out, explanation.kernel);
  return out;
}

std::string to_table(const ServiceExplanation& explanation) {
  std::string out = cat("SERVICE ", explanation.key.to_string());
  if (!explanation.mode.empty()) append(out, cat(", ", explanation.mode, " mode"));
  out += '\n';
  if (!explanation.not_served.empty()) {
    append(out, cat("  not served: ", explanation.not_served, "\n"));
  }
  for (const std::string& line : explanation.lacking) append(out, cat("  ", line, "\n"));
  for (const PortExplanation& port : explanation.ports) append_port(out, port);
  for (const FlowExplanation& flow : explanation.flows) append(out, cat("\n", to_table(flow)));
  append_kernel(out, explanation.kernel);
  return out;
}

json::value to_json(const FlowExplanation& explanation) {
  json::array candidates;
  for (const FlowCandidate& one : explanation.candidates) {
    candidates.push_back({{"address", SocketAddress{one.backend.ip, one.backend.port}.to_string()},
                          {"local", one.backend.local},
                          {"masquerade", one.masquerade},
                          {"direct", one.direct}});
  }
  return {{"flow", explanation.flow},
          {"service", explanation.service},
          {"outcome", outcome_names[static_cast<size_t>(explanation.outcome)]},
          {"candidates", std::move(candidates)},
          {"decisions", to_json(explanation.decisions)},
          {"mode", explanation.mode},
          {"kernel", strings(explanation.kernel)}};
}

json::value to_json(const ServiceExplanation& explanation) {
  json::array ports, flows;
  for (const auto& port : explanation.ports) ports.push_back(to_json(port));
  for (const auto& flow : explanation.flows) flows.push_back(to_json(flow));
  return {{"service", explanation.key.to_string()},
          {"mode", explanation.mode},
          {"notServed", explanation.not_served},
          {"lacking", strings(explanation.lacking)},
          {"ports", std::move(ports)},
          {"flows", std::move(flows)},
          {"kernel", strings(explanation.kernel)}};
}

}  // namespace fairlead::dataplane

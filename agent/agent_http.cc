// The agent's own HTTP endpoints.
#include <algorithm>

#include "agent/agent.h"
#include "agent/kube_proxy_config.h"
#include "agent/process_metrics.h"

namespace fairlead::agent {
namespace {

using net::HttpRequest;
using net::HttpResponse;

HttpResponse bad_request(const std::string& message) {
  return HttpResponse::text(400, message + "\n");
}

HttpResponse no_proxy() { return HttpResponse::text(404, "the service proxy is switched off\n"); }

std::string parameter(const HttpRequest& request, std::string_view name) {
  for (const auto& [key, value] : net::parse_query(request.query())) {
    if (key == name) return value;
  }
  return {};
}

HttpResponse health_answer(const ProxyHealth& health, bool with_node, bool ok) {
  auto response = HttpResponse::json(ok ? 200 : 503, health.to_json(with_node));
  response.headers.set("X-Content-Type-Options", "nosniff");
  return response;
}

Result<api::ObjectKey> parse_service(const std::string& text) {
  const size_t slash = text.find('/');
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c > '~'; })) {
    return fail("a name of a Service has letters, digits, '-' and '.' only");
  }
  if (text.empty() || slash == text.size() - 1 || slash == 0 || slash != text.rfind('/')) {
    return fail(cat("'", text, "': expected NAMESPACE/NAME, or the NAME of a Service in default"));
  }
  if (slash == text.npos) return api::ObjectKey{"default", text};
  return api::ObjectKey{text.substr(0, slash), text.substr(slash + 1)};
}

// service=NS/NAME, from=IP, to=IP:PORT/PROTOCOL; a flow needs the last two only.
struct ExplainArguments {
  std::optional<api::ObjectKey> service;
  std::optional<Ip> from;
  std::optional<std::pair<SocketAddress, Protocol>> to;

  static Result<ExplainArguments> parse(const HttpRequest& request) {
    ExplainArguments out;
    const std::string service = parameter(request, "service");
    const std::string from = parameter(request, "from"), to = parameter(request, "to");
    if (!service.empty()) {
      FL_TRY(out.service, parse_service(service));
    }
    if (!from.empty()) {
      out.from = Ip::parse(from);
      if (!out.from) return fail(cat("from: '", from, "' is not an IP address"));
    }
    if (!to.empty()) {
      FL_TRY(out.to, dataplane::parse_destination(to));
    }
    if (!out.service && !(out.from && out.to)) {
      return fail("explain needs a service, or a source and a destination");
    }
    if (out.to && !out.from) return fail("a destination needs a source, too");
    if (out.to && out.from->is_v4() != out.to->first.ip.is_v4()) {
      return fail("source and destination are of different families");
    }
    return out;
  }
};

// "json", "table" or nothing, which is a table.
bool known_output(const std::string& output) {
  return output.empty() || output == "table" || output == "json";
}

template <class Explanation>
HttpResponse explained(const HttpRequest& request, const Explanation& explanation) {
  if (parameter(request, "output") == "json") {
    return HttpResponse::json(200, json::serialize(to_json(explanation)));
  }
  return HttpResponse::text(200, to_table(explanation));
}

}  // namespace

struct Agent::Route {
  std::string_view method, path;
  Door least;  // it is behind this door and those after it
  HttpResponse (Agent::*handler)(const HttpRequest&);
};

// --healthz-listen is open to load balancers and probes, so it tells as little as kube-proxy's;
// what tells more is on --metrics-listen, which is loopback by default; what tells all, or changes
// something, needs the unix socket.
const std::vector<Agent::Route>& Agent::routes() {
  static const std::vector<Route> table = {
      {"GET", "/healthz", Door::healthz, &Agent::get_healthz},
      {"GET", "/livez", Door::healthz, &Agent::get_livez},
      {"GET", "/readyz", Door::healthz, &Agent::get_readyz},
      {"GET", "/metrics", Door::metrics, &Agent::get_metrics},
      {"GET", "/status", Door::metrics, &Agent::get_status},
      {"GET", "/proxyMode", Door::metrics, &Agent::get_mode},
      {"GET", "/configz", Door::metrics, &Agent::get_configz},
      {"GET", "/dump", Door::socket, &Agent::get_dump},
      {"GET", "/explain", Door::socket, &Agent::get_explain},
      {"PUT", "/proxyMode", Door::socket, &Agent::put_mode},
      {"POST", "/verify", Door::socket, &Agent::post_verify},
  };
  return table;
}

HttpResponse Agent::answer(const HttpRequest& request, Door door) {
  const std::string_view asked = request.method;
  const std::string_view method = asked == "HEAD" ? "GET" : asked;
  std::string known, allowed;
  bool elsewhere = false;
  for (const Route& route : routes()) {
    const bool here = door >= route.least;
    if (route.method == "GET" && here) known += cat(' ', route.path);
    if (route.path != request.path()) continue;
    if (route.method == method && here) return (this->*route.handler)(request);
    if (route.method == method) elsewhere = true;
    if (here) allowed += cat(allowed.empty() ? "" : ", ", route.method);
  }
  if (elsewhere) {
    return HttpResponse::text(403, "not here: ask on --metrics-listen or the unix socket\n");
  }
  if (!allowed.empty()) {
    auto response = HttpResponse::text(405, cat("only ", allowed, " is served here\n"));
    response.headers.set("Allow", allowed);
    return response;
  }
  return HttpResponse::text(404, cat("not found: try", known, '\n'));
}

HttpResponse Agent::get_healthz(const HttpRequest&) {
  const bool ok = !proxy_ || (proxy_->health().healthy() && proxy_->health().node_eligible());
  (ok ? healthz_ok_ : healthz_failed_).add();
  return proxy_ ? health_answer(proxy_->health(), true, ok) : HttpResponse::text(200, "ok\n");
}

HttpResponse Agent::get_livez(const HttpRequest&) {
  const bool ok = !proxy_ || proxy_->health().healthy();
  (ok ? livez_ok_ : livez_failed_).add();
  return proxy_ ? health_answer(proxy_->health(), false, ok) : HttpResponse::text(200, "ok\n");
}

HttpResponse Agent::get_readyz(const HttpRequest&) {
  const StatusReport report = status();
  std::string text;
  for (const auto& part : report.components) {
    text += cat(part.state == ComponentState::starting ? "[-]" : "[+]", part.name, ' ',
                to_string(part.state), '\n');
  }
  return HttpResponse::text(is_ready(report) ? 200 : 503, text);
}

HttpResponse Agent::get_metrics(const HttpRequest&) {
  HttpResponse response = HttpResponse::text(200, registry_.text() + process_metrics());
  response.headers.set("Content-Type", "text/plain; version=0.0.4");
  return response;
}

HttpResponse Agent::get_status(const HttpRequest&) {
  return HttpResponse::json(200, json::serialize(to_json(status())));
}

HttpResponse Agent::get_mode(const HttpRequest&) {
  return HttpResponse::text(200, proxy_ ? proxy_->status().mode : "none");
}

HttpResponse Agent::put_mode(const HttpRequest& request) {
  if (!proxy_) return no_proxy();
  const std::string name = parameter(request, "mode");
  const auto mode = dataplane::parse_mode(name);
  if (!mode) {
    return bad_request(cat("'", name, "' is not a mode to switch to: ebpf, nftables, iptables, ",
                           "ipvs or userspace"));
  }
  if (auto switched = proxy_->switch_mode(*mode); !switched) {
    return HttpResponse::text(409, switched.error().message + "\n");
  }
  return HttpResponse::text(200, cat(proxy_->status().mode, '\n'));
}

HttpResponse Agent::get_configz(const HttpRequest&) {
  json::object own;
  for (const auto& row : agent_options()) own[row.name] = row.get(config_);
  const json::value body{{"kubeproxy.config.k8s.io",
                          to_kube_proxy_config(config_, proxy_ ? proxy_->status().mode : "none")},
                         {"fairlead", std::move(own)}};
  return HttpResponse::json(200, json::serialize(body));
}

HttpResponse Agent::get_dump(const HttpRequest&) {
  return proxy_ ? HttpResponse::text(200, proxy_->driver().dump()) : no_proxy();
}

HttpResponse Agent::get_explain(const HttpRequest& request) {
  if (!proxy_) return no_proxy();
  const auto arguments = ExplainArguments::parse(request);
  if (!arguments) return bad_request(arguments.error().message);
  if (const std::string output = parameter(request, "output"); !known_output(output)) {
    return bad_request(cat("output: '", output, "' is not one of table, json"));
  }
  if (arguments->service) {
    if (auto there = proxy_->expect_service(*arguments->service); !there) {
      return HttpResponse::text(404, there.error().message + "\n");
    }
    return explained(request, proxy_->explain(*arguments->service, arguments->from, arguments->to));
  }
  return explained(request, proxy_->explain(dataplane::FlowQuery{
                                *arguments->from, arguments->to->first, arguments->to->second}));
}

HttpResponse Agent::post_verify(const HttpRequest& request) {
  if (!proxy_) return no_proxy();
  bool repair = false;
  if (const std::string text = parameter(request, "repair"); !text.empty()) {
    if (const auto set = parse_setting(text, repair); !set) {
      return bad_request(cat("repair: ", set.error().message));
    }
  }
  const auto drifts = proxy_->verify(repair);
  if (!drifts) return HttpResponse::text(503, drifts.error().message + "\n");
  json::array list;
  for (const dataplane::Drift& drift : *drifts) {
    list.push_back({{"what", drift.what}, {"owner", drift.owner}, {"repaired", drift.repaired}});
  }
  const auto took = proxy_->verify_status().duration;
  const json::value body{{"mode", proxy_->status().mode},
                         {"durationUs", took.count() / 1000},
                         {"drifts", std::move(list)}};
  return HttpResponse::json(200, json::serialize(body));
}

}  // namespace fairlead::agent

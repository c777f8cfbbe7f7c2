#include "ingress/request_metrics.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::ingress {

RequestMetrics::RequestMetrics(Registry& registry)
    : client_connections(registry.gauge("fairlead_ingress_connections", "Open client connections")),
      upstream_connections(registry.gauge("fairlead_ingress_upstream_connections",
                                          "Open connections to endpoints, idle ones included")),
      accepted(registry.counter("fairlead_ingress_connections_accepted_total",
                                "Client connections accepted")),
      upstream_opened(registry.counter("fairlead_ingress_upstream_connections_opened_total",
                                       "Connections to endpoints opened")),
      retries(
          registry.counter("fairlead_ingress_retries_total", "Requests sent to one more endpoint")),
      refused(registry.counter("fairlead_ingress_refused_requests_total",
                               "Requests refused as malformed or over a limit")),
      registry_(registry) {}

Labels RequestMetrics::labels_of(const RouteOwner* owner) const {
  if (owner == nullptr) return {{"namespace", ""}, {"ingress", ""}, {"service", ""}};
  return {{"namespace", owner->ingress.ns},
          {"ingress", owner->ingress.name},
          {"service", owner->service}};
}

void RequestMetrics::count(const RouteOwner* owner, int status, double seconds) {
  const size_t index = owner == nullptr ? 0 : owner->id + size_t{1};
  if (index >= series_.size()) series_.resize(index + 1);
  Series& series = series_[index];
  const size_t status_class = static_cast<size_t>(std::clamp(status / 100, 0, 5));
  Counter*& counter = series.by_class[status_class];
  if (counter == nullptr) {
    Labels labels = labels_of(owner);
    labels.emplace_back("status", cat(status_class, "xx"));
    counter = &registry_.counter("nginx_ingress_controller_requests",
                                 "Requests by Ingress, Service and status class", labels);
  }
  if (series.duration == nullptr) {
    series.duration = &registry_.histogram("nginx_ingress_controller_request_duration_seconds",
                                           "From the end of the request head to the end of the "
                                           "response",
                                           latency_bounds_s(), labels_of(owner));
  }
  counter->add();
  series.duration->observe(seconds);
}

}  // namespace fairlead::ingress

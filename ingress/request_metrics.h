// Counters by Ingress, Service and status class, and the few of the whole ingress.
#pragma once

#include <array>
#include <vector>

#include "base/metrics.h"
#include "ingress/route_table.h"

namespace fairlead::ingress {

// Belongs to one worker; the Registry's metrics that it refers to are shared. A series is made when
// its first request ends, so that routes without traffic cost nothing.
class RequestMetrics {
 public:
  explicit RequestMetrics(Registry& registry);

  // `owner` is null for requests that matched no route.
  void count(const RouteOwner* owner, int status, double seconds);

  Gauge& client_connections;
  Gauge& upstream_connections;
  Counter& accepted;
  Counter& upstream_opened;
  Counter& retries;
  Counter& refused;  // by the framing guard or a limit

 private:
  struct Series {
    std::array<Counter*, 6> by_class{};  // [2] is 2xx
    Histogram* duration = nullptr;
  };
  Labels labels_of(const RouteOwner* owner) const;

  Registry& registry_;
  std::vector<Series> series_;  // by RouteOwner::id + 1; [0] is for no route
};

}  // namespace fairlead::ingress

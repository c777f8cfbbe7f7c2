// What one connection may cost. docs/ingress.md compares the defaults with nginx and HAProxy.
#pragma once

#include <cstddef>

#include "base/clock.h"

namespace fairlead::ingress {

struct Limits {
  size_t header_bytes = 32 * 1024;  // of a request or response head; at most 48 KiB
  size_t header_count = 100;        // 431 above
  size_t target_bytes = 8192;       // 414 above; RFC 9112 section 3 asks for at least 8000

  Duration header_timeout = std::chrono::seconds(10);      // whole head, from its first byte: 408
  Duration keep_alive_timeout = std::chrono::seconds(75);  // between two requests
  Duration body_timeout = std::chrono::seconds(60);        // no byte of a body moved: 408 or reset
  Duration connect_timeout = std::chrono::seconds(2);      // to one endpoint
  Duration response_timeout = std::chrono::seconds(60);    // no response head: 504
  Duration tunnel_timeout = std::chrono::hours(1);         // no byte after an upgrade
  Duration upstream_idle_timeout = std::chrono::seconds(60);
  Duration drain_timeout = std::chrono::seconds(1);  // for requests in flight at the end

  size_t idle_per_endpoint = 64;  // pooled connections, per core
  size_t tries = 3;               // endpoints asked for one request
  size_t connections_per_worker = 20'000;

  int socket_buffer_bytes = 0;  // SO_SNDBUF and SO_RCVBUF on both sides; 0: the kernel decides

  friend bool operator==(const Limits&, const Limits&) = default;
};

}  // namespace fairlead::ingress

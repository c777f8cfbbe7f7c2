// What the connections of one worker share. Everything here belongs to the worker's thread.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "ingress/access_log.h"
#include "ingress/buffer.h"
#include "ingress/head.h"
#include "ingress/request_metrics.h"
#include "ingress/route_table.h"
#include "ingress/server.h"
#include "ingress/timer_wheel.h"
#include "ingress/upstream.h"
#include "net/event_loop.h"

namespace fairlead::ingress {

class Connection;

class Core {
 public:
  // All of them must outlive the Core.
  Core(const Config& configuration, AccessLogFile* file, Registry& registry);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  WallTime wall();          // of this turn of the loop
  std::string_view date();  // now, for a Date field (RFC 9110 section 5.6.7)
  uint64_t random() { return random_(); }
  void make_request_id(std::array<char, 32>& into);

  void adopt(std::unique_ptr<Connection> connection);
  void retire(Connection& connection);  // ends it after this turn; it may be the caller
  void drain();                         // closes idle connections; others close after their answer
  void close_all();
  size_t connections() const { return live_.size(); }

  net::EventLoop loop;
  const Config& config;
  const Limits& limits;
  SlabPool slabs;
  TimerWheel wheel;
  RequestMetrics metrics;
  UpstreamPool pool;
  EndpointPicker picker;
  AccessLog log;
  std::shared_ptr<const RouteTable> table;
  RequestHead request_head;    // scratch: valid while one head is looked at
  ResponseHead response_head;  // likewise
  bool draining = false;
  uint16_t https_port = 443;          // for redirects
  std::atomic<uint64_t> requests{0};  // read by status()

 private:
  void start_tick();
  void on_tick();
  void refresh_wall();

  std::mt19937_64 random_;
  WallTime wall_{};  // at wall_taken_
  MonoTime wall_taken_{};
  int64_t date_second_ = -1;
  std::string date_;
  net::Timer tick_;
  MonoTime log_flushed_{};
  std::vector<std::unique_ptr<Connection>> live_, retired_;
};

}  // namespace fairlead::ingress

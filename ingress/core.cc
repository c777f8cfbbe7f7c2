#include "ingress/core.h"

#include <ctime>

#include "base/check.h"
#include "ingress/connection.h"

namespace fairlead::ingress {
namespace {

std::mt19937_64 seeded() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device(), device(), device(), device()};
  return std::mt19937_64(seed);
}

}  // namespace

Core::Core(const Config& configuration, AccessLogFile* file, Registry& registry)
    : config(configuration),
      limits(configuration.limits),
      wheel(loop.now()),
      metrics(registry),
      pool(loop, wheel, metrics, limits),
      log(file),
      table(std::make_shared<RouteTable>()),
      random_(seeded()) {}

Core::~Core() = default;

void Core::refresh_wall() {
  if (loop.now() - wall_taken_ < std::chrono::seconds(1)) return;
  wall_ = std::chrono::system_clock::now();
  wall_taken_ = loop.now();
}

WallTime Core::wall() {
  refresh_wall();
  return wall_ + std::chrono::duration_cast<WallTime::duration>(loop.now() - wall_taken_);
}

std::string_view Core::date() {
  const std::time_t second = std::chrono::system_clock::to_time_t(wall());
  if (second != date_second_) {
    constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm utc{};
    ::gmtime_r(&second, &utc);
    char text[64];
    const int size = std::snprintf(text, sizeof text, "%s, %02d %s %d %02d:%02d:%02d GMT",
                                   days[utc.tm_wday], utc.tm_mday, months[utc.tm_mon],
                                   utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
    date_.assign(text, static_cast<size_t>(size));
    date_second_ = second;
  }
  return date_;
}

void Core::make_request_id(std::array<char, 32>& into) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (size_t half = 0; half < 2; ++half) {
    uint64_t bits = random_();
    for (size_t i = 0; i < 16; ++i, bits >>= 4) into[half * 16 + i] = digits[bits & 15];
  }
}

void Core::adopt(std::unique_ptr<Connection> connection) {
  start_tick();
  connection->index = live_.size();
  live_.push_back(std::move(connection));
  metrics.client_connections.add(1);
  metrics.accepted.add();
  live_.back()->start();
}

void Core::retire(Connection& connection) {
  const size_t index = connection.index;
  CHECK(index < live_.size() && live_[index].get() == &connection);
  retired_.push_back(std::move(live_[index]));
  if (index + 1 != live_.size()) {
    live_[index] = std::move(live_.back());
    live_[index]->index = index;
  }
  live_.pop_back();
  metrics.client_connections.add(-1);
}

void Core::drain() {
  draining = true;
  // drain() of one may retire it, which moves the last one into its place.
  for (size_t i = live_.size(); i-- > 0;) live_[i]->drain();
  pool.close_idle();
}

void Core::close_all() {
  while (!live_.empty()) live_.back()->close();
  retired_.clear();
}

void Core::start_tick() {
  if (tick_) return;
  wheel.advance(loop.now());
  tick_ = loop.after(TimerWheel::tick, [this] { on_tick(); });
}

void Core::on_tick() {
  wheel.advance(loop.now());
  retired_.clear();
  // Without anything to wait for the worker sleeps until the next connection.
  const bool idle = live_.empty() && pool.idle() == 0;
  if (idle || loop.now() - log_flushed_ >= std::chrono::milliseconds(500)) {
    log.maintain();
    log_flushed_ = loop.now();
  }
  if (!idle) tick_ = loop.after(TimerWheel::tick, [this] { on_tick(); });
}

}  // namespace fairlead::ingress

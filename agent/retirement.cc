#include "agent/retirement.h"

#include <algorithm>

namespace fairlead::agent {
namespace {

constexpr Duration poll_every = std::chrono::milliseconds(500);
constexpr size_t max_problems = 5;

int64_t seconds_since(MonoTime then) {
  const auto passed = std::chrono::steady_clock::now() - then;
  return std::chrono::duration_cast<std::chrono::seconds>(passed).count();
}

}  // namespace

Retirement::Retirement(net::EventLoop& loop, Duration limit, const Log& log)
    : loop_(loop), limit_(limit), log_(log) {}

void Retirement::add(std::unique_ptr<dataplane::Driver> driver) {
  if (auto retired = driver->retire(); !retired) {
    problem(cat(driver->mode(), ": could not be retired: ", retired.error().message));
  }
  old_.push_back({std::move(driver), std::chrono::steady_clock::now()});
  poll();
}

void Retirement::poll() {
  const MonoTime now = std::chrono::steady_clock::now();
  for (Old& old : old_) {
    const bool drained = old.driver->drained();
    if (drained || now - old.since >= limit_) finish(old, drained);
  }
  std::erase_if(old_, [](const Old& old) { return old.driver == nullptr; });
  timer_ = old_.empty() ? net::Timer() : loop_.after(poll_every, [this] { poll(); });
}

void Retirement::finish(Old& old, bool drained) {
  const std::string mode(old.driver->mode());
  if (!drained) {
    log_.warn("the old mode is removed although it still carries flows",
              {{"mode", mode}, {"seconds", seconds_since(old.since)}});
  }
  if (auto cleaned = old.driver->cleanup(); !cleaned) {
    problem(cat(mode, ": not all of it was removed: ", cleaned.error().message));
  } else {
    log_.info("the old mode is removed", {{"mode", mode}, {"seconds", seconds_since(old.since)}});
  }
  old.driver.reset();
}

void Retirement::problem(std::string text) {
  log_.warn(text);
  if (problems_.size() == max_problems) problems_.erase(problems_.begin());
  problems_.push_back(std::move(text));
}

bool Retirement::release(std::string_view mode) {
  return std::erase_if(old_, [&](const Old& old) { return old.driver->mode() == mode; }) > 0;
}

bool Retirement::holds(std::string_view mode) const {
  return std::any_of(old_.begin(), old_.end(),
                     [&](const Old& old) { return old.driver->mode() == mode; });
}

std::vector<std::string> Retirement::status() const {
  std::vector<std::string> out;
  for (const Old& old : old_) {
    out.push_back(
        cat(old.driver->mode(), ": until its flows end, ", seconds_since(old.since), " s so far"));
  }
  return out;
}

}  // namespace fairlead::agent

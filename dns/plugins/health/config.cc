#include "dns/plugins/configure.h"

namespace fairlead::dns {

Result<void> configure_health(const Directive& directive, ServerBlock& block) {
  FL_TRY(const auto address, http_address(directive, ":8080"));
  HttpConfig config{.at = directive.at, .address = address};
  for (const auto& line : directive.body) {
    if (line.words[0] != "lameduck") return unknown_option(directive, line, "lameduck");
    const auto duration = line.words.size() == 2 ? parse_duration_ms(line.words[1]) : std::nullopt;
    constexpr int64_t max_lameduck_ms = 600'000;
    if (!duration || *duration > max_lameduck_ms) {
      return fail_in(directive, "option 'lameduck' needs one duration up to 10m, as 5s", line.line);
    }
    config.lameduck_ms = static_cast<uint32_t>(*duration);
  }
  block.health = config;
  return {};
}

}  // namespace fairlead::dns

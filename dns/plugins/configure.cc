#include "dns/plugins/configure.h"

#include "dns/corefile_zone.h"

namespace fairlead::dns {

std::unexpected<Error> fail_in(const Directive& directive, std::string_view message, int line) {
  const Position at{directive.at.file, line == 0 ? directive.at.line : line};
  return fail(cat(at.to_string(), ": ", directive.name, ": ", message));
}

std::unexpected<Error> unknown_option(const Directive& directive, const Directive::Line& line,
                                      std::string_view expected) {
  return fail_in(directive, cat("unknown option '", line.words[0], "', expected ", expected),
                 line.line);
}

Result<int64_t> number_option(const Directive& directive, const Directive::Line& line, int64_t low,
                              int64_t high) {
  const auto number = line.words.size() == 2 ? parse_int(line.words[1], low, high) : std::nullopt;
  if (number) return *number;
  return fail_in(directive,
                 cat("option '", line.words[0], "' needs one number in ", low, "..", high),
                 line.line);
}

Result<void> no_arguments(const Directive& directive, const Directive::Line& line) {
  if (line.words.size() == 1) return {};
  return fail_in(directive, cat("option '", line.words[0], "' takes no argument"), line.line);
}

Result<std::vector<std::string>> zone_words(const Directive& directive,
                                            const std::vector<std::string>& words, size_t from,
                                            int line) {
  std::vector<std::string> zones;
  for (size_t i = from; i < words.size(); ++i) {
    const auto more = parse_zone(words[i]);
    if (!more) return fail_in(directive, more.error().message, line);
    zones.insert(zones.end(), more->begin(), more->end());
  }
  return zones;
}

Result<SocketAddress> http_address(const Directive& directive, std::string_view fallback) {
  if (directive.words.size() > 1) return fail_in(directive, "expected at most one address");
  std::string text(directive.words.empty() ? fallback : std::string_view(directive.words[0]));
  if (text.starts_with("localhost:")) text.replace(0, 9, "127.0.0.1");
  const auto address = SocketAddress::parse(text);
  if (address) return *address;
  return fail_in(directive, cat("'", text, "' is not an address, expected IP:port or :port"));
}

}  // namespace fairlead::dns

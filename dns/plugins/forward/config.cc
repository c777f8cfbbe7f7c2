#include "dns/corefile_zone.h"
#include "dns/plugins/configure.h"

namespace fairlead::dns {
namespace {

constexpr size_t max_upstreams = 15;  // as in CoreDNS plugin/forward
constexpr std::string_view known_options =
    "one of except, force_tcp, prefer_udp, max_fails, max_concurrent, policy";

Result<void> add_upstreams(const Directive& directive, std::string_view word,
                           std::vector<SocketAddress>& upstreams) {
  std::string_view text = word;
  if (const size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    if (text.substr(0, scheme) != "dns") {
      return fail_in(directive, cat("transport of '", word, "' is not supported, expected dns"));
    }
    text.remove_prefix(scheme + 3);
  }
  if (const auto ip = Ip::parse(text)) {
    upstreams.push_back({*ip, 53});
    return {};
  }
  const auto address = SocketAddress::parse(text);
  if (address && address->port != 0 && !address->ip.is_unspecified()) {
    upstreams.push_back(*address);
    return {};
  }
  const auto servers = read_resolv_conf(std::string(text));
  if (!servers) return fail_in(directive, servers.error().message);
  upstreams.insert(upstreams.end(), servers->begin(), servers->end());
  return {};
}

Result<void> set_policy(const Directive& directive, const Directive::Line& line,
                        ForwardConfig& config) {
  const std::string policy = line.words.size() == 2 ? line.words[1] : "";
  if (policy == "random") {
    config.policy = ForwardConfig::Policy::random;
  } else if (policy == "round_robin") {
    config.policy = ForwardConfig::Policy::round_robin;
  } else if (policy == "sequential") {
    config.policy = ForwardConfig::Policy::sequential;
  } else {
    return fail_in(directive, "option 'policy' needs one of random, round_robin, sequential",
                   line.line);
  }
  return {};
}

Result<void> set_option(const Directive& directive, const Directive::Line& line,
                        ForwardConfig& config) {
  const std::string& name = line.words[0];
  if (name == "policy") return set_policy(directive, line, config);
  if (name == "except") {
    if (line.words.size() < 2) {
      return fail_in(directive, "option 'except' needs at least one name", line.line);
    }
    FL_TRY(const auto zones, zone_words(directive, line.words, 1, line.line));
    config.except.insert(config.except.end(), zones.begin(), zones.end());
    return {};
  }
  if (name == "force_tcp" || name == "prefer_udp") {
    FL_TRY_VOID(no_arguments(directive, line));
    (name == "force_tcp" ? config.force_tcp : config.prefer_udp) = true;
    return {};
  }
  if (name == "max_fails" || name == "max_concurrent") {
    FL_TRY(const int64_t number, number_option(directive, line, 0, 1'000'000));
    (name == "max_fails" ? config.max_fails : config.max_concurrent) =
        static_cast<uint32_t>(number);
    return {};
  }
  return unknown_option(directive, line, known_options);
}

}  // namespace

Result<void> configure_forward(const Directive& directive, ServerBlock& block) {
  if (directive.words.size() < 2) return fail_in(directive, "expected FROM and at least one TO");
  ForwardConfig config{.at = directive.at};
  FL_TRY(const auto from, zone_words(directive, {directive.words[0]}, 0));
  if (from.size() != 1) return fail_in(directive, "FROM must be one zone");
  config.from = from[0];
  for (size_t i = 1; i < directive.words.size(); ++i) {
    FL_TRY_VOID(add_upstreams(directive, directive.words[i], config.upstreams));
  }
  if (config.upstreams.size() > max_upstreams) {
    return fail_in(directive,
                   cat(config.upstreams.size(), " upstreams, expected at most ", max_upstreams));
  }
  for (const auto& line : directive.body) FL_TRY_VOID(set_option(directive, line, config));
  block.forwards.push_back(std::move(config));
  return {};
}

}  // namespace fairlead::dns

#include "dns/plugins/configure.h"

namespace fairlead::dns {

Result<void> configure_prometheus(const Directive& directive, ServerBlock& block) {
  FL_TRY(const auto address, http_address(directive, "localhost:9153"));
  if (!directive.body.empty()) return unknown_option(directive, directive.body[0], "none");
  block.prometheus = HttpConfig{.at = directive.at, .address = address};
  return {};
}

}  // namespace fairlead::dns

#include "dns/plugins/configure.h"

namespace fairlead::dns {

Result<void> configure_ready(const Directive& directive, ServerBlock& block) {
  FL_TRY(const auto address, http_address(directive, ":8181"));
  if (!directive.body.empty()) return unknown_option(directive, directive.body[0], "none");
  block.ready = HttpConfig{.at = directive.at, .address = address};
  return {};
}

}  // namespace fairlead::dns

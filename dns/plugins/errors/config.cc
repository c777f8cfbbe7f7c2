#include "dns/plugins/configure.h"

namespace fairlead::dns {

Result<void> configure_errors(const Directive& directive, ServerBlock& block) {
  if (!directive.words.empty()) return fail_in(directive, "takes no argument");
  if (!directive.body.empty()) return unknown_option(directive, directive.body[0], "none");
  block.errors = true;
  return {};
}

}  // namespace fairlead::dns

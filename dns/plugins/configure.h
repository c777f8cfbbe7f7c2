// From the text of a directive to its configuration: one function per plugin, each in the plugin's
// own folder. Errors begin with file:line.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/text.h"
#include "dns/corefile.h"

namespace fairlead::dns {

Result<void> configure_errors(const Directive& directive, ServerBlock& block);
Result<void> configure_forward(const Directive& directive, ServerBlock& block);
Result<void> configure_health(const Directive& directive, ServerBlock& block);
Result<void> configure_kubernetes(const Directive& directive, ServerBlock& block);
Result<void> configure_log(const Directive& directive, ServerBlock& block);
Result<void> configure_prometheus(const Directive& directive, ServerBlock& block);
Result<void> configure_ready(const Directive& directive, ServerBlock& block);

// "Corefile:3: health: MESSAGE", for the directive's own line or for one of its options.
std::unexpected<Error> fail_in(const Directive& directive, std::string_view message, int line = 0);
std::unexpected<Error> unknown_option(const Directive& directive, const Directive::Line& line,
                                      std::string_view expected);
// The option's argument as a number. REQUIRES: line.words is not empty.
Result<int64_t> number_option(const Directive& directive, const Directive::Line& line, int64_t low,
                              int64_t high);
// An option that stands alone.
Result<void> no_arguments(const Directive& directive, const Directive::Line& line);
// Every word of words[from..] as zones.
Result<std::vector<std::string>> zone_words(const Directive& directive,
                                            const std::vector<std::string>& words, size_t from,
                                            int line = 0);
// "[ADDRESS]" of a directive that opens an HTTP port. "localhost:9153" is 127.0.0.1:9153.
Result<SocketAddress> http_address(const Directive& directive, std::string_view fallback);

}  // namespace fairlead::dns

// The Corefile as words (coredns/caddy caddyfile/lexer.go).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dns/corefile.h"

namespace fairlead::dns {

struct Token {
  std::string text;
  int line = 0;
  bool starts_line = false;  // the first word of its line
  bool quoted = false;       // a quoted brace is an ordinary word
  std::shared_ptr<const std::string> file;

  bool is(std::string_view mark) const { return !quoted && text == mark; }
  Position position() const { return {*file, line}; }
};

// `#` starts a comment anywhere outside quotes; a word that starts with `"` runs to the next
// unescaped `"`, over lines too, and \" is its only escape; {$NAME} and {%NAME%} are replaced by
// environment variables. Errors: a quote that is not closed, a NUL byte, more than 4 MiB.
Result<std::vector<Token>> lex_corefile(std::string_view text, std::string_view file_name);

}  // namespace fairlead::dns

#include "dns/corefile_lexer.h"

#include <cstdlib>

#include "base/text.h"

namespace fairlead::dns {
namespace {

constexpr size_t max_corefile_bytes = 4 * 1024 * 1024;

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Replaces {$NAME}, closed by `close`. A variable that is not set is empty.
std::string replace_variables(std::string text, std::string_view open, std::string_view close) {
  size_t at = 0;
  while ((at = text.find(open, at)) != std::string::npos) {
    const size_t end = text.find(close, at + open.size());
    if (end == std::string::npos) break;
    const std::string name = text.substr(at + open.size(), end - at - open.size());
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    const std::string replacement = value == nullptr ? "" : value;
    text.replace(at, end + close.size() - at, replacement);
    at += replacement.size();  // what came in is not searched again
  }
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view text, std::string_view file)
      : text_(text), file_(std::make_shared<const std::string>(file)) {}

  Result<std::vector<Token>> run() {
    for (;;) {
      skip_blanks();
      if (at_ >= text_.size()) return std::move(tokens_);
      Token token{.line = line_, .starts_line = line_ != last_line_, .file = file_};
      if (text_[at_] == '"') {
        token.quoted = true;
        if (!quoted_word(token.text)) {
          return fail(cat(token.position().to_string(), ": quote is not closed, expected '\"'"));
        }
      } else {
        plain_word(token.text);
      }
      token.text = replace_variables(std::move(token.text), "{$", "}");
      token.text = replace_variables(std::move(token.text), "{%", "%}");
      last_line_ = line_;
      tokens_.push_back(std::move(token));
    }
  }

 private:
  char next() {
    const char c = text_[at_++];
    if (c == '\n') ++line_;
    return c;
  }
  void skip_blanks() {
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
      } else if (is_blank(text_[at_])) {
        next();
      } else {
        return;
      }
    }
  }
  void plain_word(std::string& out) {
    while (at_ < text_.size() && !is_blank(text_[at_]) && text_[at_] != '#') out += next();
  }
  bool quoted_word(std::string& out) {
    for (++at_; at_ < text_.size();) {
      const char c = next();
      if (c == '"') return true;
      if (c == '\r') continue;
      if (c == '\\' && at_ < text_.size() && text_[at_] == '"') {
        out += next();
      } else {
        out += c;
      }
    }
    return false;
  }

  std::string_view text_;
  std::shared_ptr<const std::string> file_;
  size_t at_ = 0;
  int line_ = 1, last_line_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> lex_corefile(std::string_view text, std::string_view file_name) {
  if (text.size() > max_corefile_bytes) {
    return fail(cat(file_name, ": ", text.size(), " bytes, expected at most ", max_corefile_bytes));
  }
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(nul), '\n');
    return fail(cat(file_name, ':', line, ": NUL byte, expected text"));
  }
  return Lexer(text, file_name).run();
}

}  // namespace fairlead::dns

#include "dns/corefile.h"

#include <glob.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "dns/chain.h"
#include "dns/corefile_lexer.h"
#include "dns/corefile_zone.h"

namespace fairlead::dns {
namespace {

constexpr size_t max_imports = 10'000;
constexpr size_t max_tokens = 200'000;
constexpr size_t max_blocks = 1'000;

std::unexpected<Error> fail_at(const Position& at, std::string_view message) {
  return fail(cat(at.to_string(), ": ", message));
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Result<Corefile> run() {
    while (at_ < tokens_.size()) FL_TRY_VOID(block());
    FL_TRY_VOID(check_keys());
    return std::move(corefile_);
  }

 private:
  const Token& token() const { return tokens_[at_]; }
  bool at_end() const { return at_ >= tokens_.size(); }
  Position last_position() const { return tokens_[at_ - 1].position(); }

  Result<void> block() {
    FL_TRY(const auto keys, key_list());
    if (keys.empty()) return {};  // an import of nothing
    if (keys.size() == 1 && keys[0].text.size() > 2 && keys[0].text.starts_with('(') &&
        keys[0].text.ends_with(')')) {
      return snippet(keys[0]);
    }
    if (corefile_.blocks.size() == max_blocks) {
      return fail_at(keys[0].position(), cat("more than ", max_blocks, " server blocks"));
    }
    ServerBlock made{.at = keys[0].position()};
    for (const Token& key : keys) {
      const auto zones = parse_zone_key(key.text);
      if (!zones) return fail(key.position().to_string(), zones.error());
      made.keys.insert(made.keys.end(), zones->begin(), zones->end());
    }
    const bool braces = !at_end() && token().is("{");
    if (!braces && !corefile_.blocks.empty()) {
      return fail_at(keys[0].position(),
                     "server block without '{', expected one at the line's end");
    }
    if (braces) ++at_;
    FL_TRY_VOID(directives(made, braces));
    corefile_.blocks.push_back(std::move(made));
    return {};
  }

  // The words before '{', or before the end of the line; a comma at a word's end goes on.
  Result<std::vector<Token>> key_list() {
    std::vector<Token> keys;
    bool expecting = false;
    while (!at_end()) {
      if (keys.empty() && token().is("import")) {
        FL_TRY_VOID(import());
        continue;
      }
      if (token().is("{")) {
        if (expecting || keys.empty()) {
          return fail_at(token().position(), "unexpected '{', expected a zone before it");
        }
        break;
      }
      if (token().is("}")) return fail_at(token().position(), "unexpected '}', expected a zone");
      if (!keys.empty() && !expecting && token().starts_line) break;
      Token key = token();
      ++at_;
      expecting = key.text.ends_with(',');
      if (expecting) key.text.pop_back();
      if (!key.text.empty()) keys.push_back(std::move(key));
    }
    if (expecting) return fail_at(last_position(), "expected another zone after ','");
    return keys;
  }

  Result<void> snippet(const Token& key) {
    const std::string name = key.text.substr(1, key.text.size() - 2);
    if (snippets_.contains(name)) {
      return fail_at(key.position(), cat("snippet '", name, "' is already defined"));
    }
    if (at_end() || !token().is("{")) {
      return fail_at(key.position(), cat("snippet '", name, "' without '{'"));
    }
    std::vector<Token> body;
    int depth = 1;
    for (++at_; !at_end(); ++at_) {
      if (token().is("{")) ++depth;
      if (token().is("}") && --depth == 0) break;
      body.push_back(token());
    }
    if (at_end()) return fail_at(key.position(), cat("snippet '", name, "' is not closed by '}'"));
    ++at_;
    if (!body.empty()) body.front().starts_line = true;
    snippets_.emplace(name, std::move(body));
    return {};
  }

  // Replaces `import WHAT` by the words of a snippet or of files.
  Result<void> import() {
    const Token keyword = token();
    if (at_ + 1 >= tokens_.size() || tokens_[at_ + 1].starts_line) {
      return fail_at(keyword.position(), "import without argument, expected a snippet or a file");
    }
    const Token what = tokens_[at_ + 1];
    if (at_ + 2 < tokens_.size() && !tokens_[at_ + 2].starts_line) {
      return fail_at(keyword.position(), "import with more than one argument is not supported");
    }
    if (++imports_ > max_imports) {
      return fail_at(keyword.position(), "too many imports, expected none that imports itself");
    }
    std::vector<Token> words;
    if (const auto found = snippets_.find(what.text); found != snippets_.end()) {
      words = found->second;
    } else {
      FL_TRY(words, read_files(what));
    }
    if (tokens_.size() + words.size() > max_tokens) {
      return fail_at(keyword.position(), cat("more than ", max_tokens, " words after imports"));
    }
    const auto here = tokens_.begin() + static_cast<long>(at_);
    tokens_.insert(tokens_.erase(here, here + 2), words.begin(), words.end());
    return {};
  }

  Result<std::vector<Token>> read_files(const Token& what) {
    const std::filesystem::path importing(*what.file);
    const std::string pattern = (importing.parent_path() / what.text).string();
    const auto stars = std::count(pattern.begin(), pattern.end(), '*');
    if (stars > 1) {
      return fail_at(what.position(), cat("import '", what.text, "' has more than one '*'"));
    }
    std::vector<std::string> paths;
    if (stars == 1) {
      glob_t found{};
      if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
        paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
      }
      globfree(&found);  // finding none is no error
    } else {
      paths.push_back(pattern);
    }
    std::vector<Token> words;
    for (const auto& path : paths) {
      std::ifstream in(path, std::ios::binary);
      std::stringstream text;
      if (!in || !(text << in.rdbuf())) {
        return fail_at(what.position(), cat("import '", what.text, "': no snippet of that name, ",
                                            "and no file that can be read"));
      }
      FL_TRY(const auto more, lex_corefile(text.str(), path));
      words.insert(words.end(), more.begin(), more.end());
    }
    return words;
  }

  Result<void> directives(ServerBlock& made, bool braces) {
    std::map<std::string, int, std::less<>> seen;
    while (!at_end()) {
      if (token().is("}")) {
        if (!braces) return fail_at(token().position(), "unexpected '}'");
        ++at_;
        return {};
      }
      if (token().is("import")) {
        FL_TRY_VOID(import());
        continue;
      }
      FL_TRY(const Directive directive, read_directive());
      FL_TRY_VOID(apply(directive, seen, made));
    }
    if (braces) return fail_at(made.at, "server block is not closed, expected '}'");
    return {};
  }

  Result<Directive> read_directive() {
    if (token().is("{")) return fail_at(token().position(), "unexpected '{', expected a plugin");
    Directive directive{.name = token().text, .at = token().position()};
    for (++at_; !at_end() && !token().starts_line; ++at_) {
      if (token().is("{")) {
        ++at_;
        FL_TRY_VOID(read_body(directive));
        return directive;
      }
      if (token().is("}")) return directive;
      directive.words.push_back(token().text);
    }
    return directive;
  }

  Result<void> read_body(Directive& directive) {
    bool fresh = true;
    for (; !at_end(); ++at_) {
      if (token().is("}")) {
        ++at_;
        return {};
      }
      if (token().is("{")) {
        return fail_at(token().position(),
                       cat("block inside the options of ", directive.name, " is not supported"));
      }
      if (fresh || token().starts_line) directive.body.push_back({.line = token().line});
      fresh = false;
      directive.body.back().words.push_back(token().text);
    }
    return fail_at(directive.at, cat("options of ", directive.name, " are not closed by '}'"));
  }

  Result<void> apply(const Directive& directive, std::map<std::string, int, std::less<>>& seen,
                     ServerBlock& made) {
    const PluginRow* plugin = find_plugin(directive.name);
    if (plugin == nullptr) {
      return fail_at(directive.at, cat("unknown plugin '", directive.name, "', expected one of ",
                                       plugin_names()));
    }
    const auto [first, fresh] = seen.emplace(directive.name, directive.at.line);
    if (!fresh && !plugin->repeats) {
      return fail_at(directive.at, cat("plugin '", directive.name, "' is used twice in this ",
                                       "server block, first in line ", first->second));
    }
    return plugin->configure(directive, made);
  }

  Result<void> check_keys() {
    std::map<std::pair<uint16_t, std::string>, Position> seen;
    for (const auto& block : corefile_.blocks) {
      for (const auto& key : block.keys) {
        const auto [first, fresh] = seen.emplace(std::pair(key.port, key.name), block.at);
        if (fresh) continue;
        return fail_at(block.at, cat("zone '", key.name, "' at port ", key.port,
                                     " is already served by ", first->second.to_string()));
      }
    }
    return {};
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  size_t imports_ = 0;
  std::map<std::string, std::vector<Token>, std::less<>> snippets_;
  Corefile corefile_;
};

}  // namespace

std::string Position::to_string() const { return cat(file, ':', line); }

Result<Corefile> parse_corefile(std::string_view text, std::string_view file_name) {
  FL_TRY(auto tokens, lex_corefile(text, file_name));
  FL_TRY(auto corefile, Parser(std::move(tokens)).run());
  if (corefile.blocks.empty()) {
    return fail(cat(file_name, ":1: no server block, expected at least one, as '. { ... }'"));
  }
  return corefile;
}

std::string_view default_corefile() {
  return R"(.:53 {
    errors
    health :8080
    ready :8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        ttl 30
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
}
)";
}

}  // namespace fairlead::dns

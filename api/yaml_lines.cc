#include "api/yaml_lines.h"

#include "base/text.h"

namespace fairlead::api {
namespace {

// Walks JSON that a parser has accepted, so that it needs no error of its own.
class JsonWalker {
 public:
  explicit JsonWalker(std::string_view text) : text_(text) {}

  // Recursion is bounded: the parser has refused anything deeper than its limit.
  LineTree value() {
    skip_blank();
    LineTree tree{.line = line_, .children = {}};
    const char open = peek();
    if (open == '{' || open == '[') {
      ++at_;
      const char close = open == '{' ? '}' : ']';
      for (skip_blank(); at_ < text_.size() && peek() != close; skip_blank()) {
        if (peek() == ',') {
          ++at_;
          continue;
        }
        tree.children.push_back(open == '{' ? member() : value());
      }
      ++at_;
    } else if (open == '"') {
      skip_string();
    } else {
      at_ = std::min(text_.find_first_of(",]} \t\r\n", at_), text_.size());
    }
    return tree;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  LineTree member() {
    const int key_line = line_;
    skip_string();
    skip_blank();
    ++at_;  // ':'
    LineTree tree = value();
    tree.line = key_line;
    return tree;
  }
  void skip_blank() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != ' ' && text_[at_] != '\t' && text_[at_] != '\n' && text_[at_] != '\r')
        break;
    }
  }
  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') ++at_;
    }
    ++at_;
  }

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

// A step of a path: the child's index and how much of the path it took, or nothing.
struct Step {
  size_t child;
  size_t length;
};

// Both ways of writing a key that has dots: labels.a.b/c and labels[a.b/c].
std::optional<Step> object_step(const json::object& object, std::string_view path) {
  std::optional<Step> best;
  size_t index = 0;
  for (const auto& member : object) {
    const std::string_view key{member.key().data(), member.key().size()};
    size_t length = 0;
    if (path.starts_with(key) &&
        (path.size() == key.size() || path[key.size()] == '.' || path[key.size()] == '[')) {
      length = key.size();
    } else if (path.size() >= key.size() + 2 && path[0] == '[' && path[key.size() + 1] == ']' &&
               path.substr(1, key.size()) == key) {
      length = key.size() + 2;
    }
    // Keys may hold dots (labels): the longest that fits is meant.
    if (length > 0 && (!best || length > best->length)) best = Step{index, length};
    ++index;
  }
  return best;
}

std::optional<Step> array_step(const json::array& array, std::string_view path) {
  const size_t close = path.find(']');
  if (!path.starts_with('[') || close == std::string_view::npos) return std::nullopt;
  const auto index =
      parse_int(path.substr(1, close - 1), 0, static_cast<int64_t>(array.size()) - 1);
  if (!index) return std::nullopt;
  return Step{static_cast<size_t>(*index), close + 1};
}

// Members keep the order in which they were added, so the n-th line belongs to the n-th member.
const json::value& child_of(const json::value& value, size_t index) {
  if (const json::array* array = value.if_array()) return (*array)[index];
  return (value.get_object().begin() + static_cast<std::ptrdiff_t>(index))->value();
}

}  // namespace

LineTree json_lines(std::string_view valid_json) { return JsonWalker(valid_json).value(); }

int duplicate_line(const json::value& value, const LineTree& lines) {
  const json::object* object = value.if_object();
  if (object != nullptr && object->size() != lines.children.size()) return lines.line;
  for (size_t i = 0; i < lines.children.size(); ++i) {
    if (const int line = duplicate_line(child_of(value, i), lines.children[i])) return line;
  }
  return 0;
}

int line_at(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  return 1 + static_cast<int>(std::count(before.begin(), before.end(), '\n'));
}

int YamlDocument::line_of(std::string_view json_path) const {
  const json::value* at = &value;
  const LineTree* tree = &lines;
  while (!json_path.empty()) {
    if (json_path.front() == '.') json_path.remove_prefix(1);
    std::optional<Step> step;
    if (const json::object* object = at->if_object()) step = object_step(*object, json_path);
    if (const json::array* array = at->if_array()) step = array_step(*array, json_path);
    if (!step || step->child >= tree->children.size()) break;
    at = &child_of(*at, step->child);
    tree = &tree->children[step->child];
    json_path.remove_prefix(step->length);
  }
  return tree->line;
}

}  // namespace fairlead::api

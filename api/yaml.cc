#include "api/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <map>
#include <sstream>

#include "api/utf8.h"
#include "api/yaml_lines.h"
#include "api/yaml_scalar.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

constexpr size_t node_bytes = 64;  // what one node costs, roughly
constexpr std::string_view core_tag = "tag:yaml.org,2002:";

// Leaves yaml-cpp's parser from inside an event; caught in parse_yaml().
struct Problem {
  int line;
  std::string message;
};

struct Built {
  json::value value;
  LineTree lines;
  size_t cost = node_bytes;  // bytes, of the whole subtree
  size_t depth = 0;          // levels of lists and maps in it
};

// A float that is a key is written as Go writes a float32 (sigs.k8s.io/yaml), others as in JSON.
std::string key_text(const json::value& resolved) {
  const double* number = resolved.if_double();
  if (number == nullptr) return json::serialize(resolved);
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, static_cast<float>(*number),
                                     std::chars_format::general);
  return {text, written.ptr};
}

// Makes one document of yaml-cpp's events. The library's own node tree is not used: it has no
// limits, and it resolves aliases by sharing.
class Builder final : public YAML::EventHandler {
 public:
  Builder(const YamlLimits& limits, int previous_start) : start(previous_start), limits_(limits) {}

  Built root;
  int start;  // the position of this document, or of the one before until it has begun

  void OnDocumentStart(const YAML::Mark& mark) override {
    // A token that cannot begin a document gives endless empty documents at its place.
    if (mark.pos <= start) fail_at(mark, "unexpected text: expected a key, a value or ---");
    start = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (expects_key()) fail_at(mark, "a key must be a word, not null");
    scalar(mark, anchor, nullptr);
  }
  // A copy, not a reference: the value is a tree, and what aliases add to it is limited.
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (expects_key()) fail_at(mark, "an alias cannot be a key");
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail_at(mark, "an alias to itself");
    Built copy = found->second;
    check_depth(mark, frames_.size() + copy.depth - merged_level());
    spend_alias(mark, copy.cost);
    copy.lines.line = mark.line + 1;
    add(mark, 0, std::move(copy));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    if (expects_key()) return key(mark, tag, text);
    scalar(mark, anchor, resolve(mark, tag, text));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, json::array());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, json::object());
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    Built built;
    YAML::Mark mark;
    YAML::anchor_t anchor;
    std::string key;
    bool has_key = false;
    bool merge = false;  // the key is an unquoted <<
    int key_line = 0;
    std::vector<Built> merges;
  };

  [[noreturn]] static void fail_at(const YAML::Mark& mark, std::string message) {
    throw Problem{mark.line + 1, std::move(message)};
  }

  bool expects_key() const {
    return !frames_.empty() && frames_.back().built.value.is_object() && !frames_.back().has_key;
  }

  json::value resolve(const YAML::Mark& mark, std::string_view tag, const std::string& text) {
    if (tag == "!" || tag == cat(core_tag, "str")) return json::value(text);
    const bool core = tag.starts_with(core_tag);
    if (core) tag.remove_prefix(core_tag.size());
    const bool known = tag == "int" || tag == "float" || tag == "bool" || tag == "null";
    if (tag != "?" && !tag.empty() && !(core && known)) {
      fail_at(mark, cat("the tag '", tag.substr(0, 40), "' is not supported"));
    }
    auto value = resolve_plain(text);
    if (!value) fail_at(mark, "infinity and NaN have no JSON form");
    return *std::move(value);
  }

  // Keys are resolved like values and then written as text: `1: x` and `"1": x` are the same key,
  // and an unquoted `on:` becomes "true", as with kubectl.
  void key(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
    Frame& frame = frames_.back();
    const json::value resolved = resolve(mark, tag, text);
    frame.merge = tag == "?" && text == "<<";
    frame.key = resolved.is_string() ? text : key_text(resolved);
    frame.has_key = true;
    frame.key_line = mark.line + 1;
    if (resolved.is_null()) fail_at(mark, "a key must be a word, not null");
    if (!frame.merge && frame.built.value.get_object().contains(frame.key)) {
      fail_at(mark, cat("duplicate key '", frame.key.substr(0, 80), '\''));
    }
  }

  void scalar(const YAML::Mark& mark, YAML::anchor_t anchor, json::value value) {
    Built built{.value = std::move(value), .lines = {.line = mark.line + 1, .children = {}}};
    if (built.value.is_string()) built.cost += built.value.get_string().size();
    add(mark, anchor, std::move(built));
  }

  void open(const YAML::Mark& mark, std::string_view tag, YAML::anchor_t anchor,
            json::value empty) {
    if (expects_key()) fail_at(mark, "a key must be a word, not a list or a map");
    if (tag != "?" && tag != "!" && !tag.empty() && !tag.starts_with(core_tag)) {
      fail_at(mark, cat("the tag '", tag.substr(0, 40), "' is not supported"));
    }
    check_depth(mark, frames_.size() + 1);
    Frame frame;
    frame.built.depth = 1;
    frame.built.value = std::move(empty);
    frame.built.lines.line = mark.line + 1;
    frame.mark = mark;
    frame.anchor = anchor;
    frames_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (Built& merged : frame.merges) apply_merge(frame.built, merged);
    add(frame.mark, frame.anchor, std::move(frame.built));
  }

  // Puts a finished value where it belongs: the document, a list, or the pending key of a map.
  void add(const YAML::Mark& mark, YAML::anchor_t anchor, Built built) {
    if (++nodes_ > limits_.max_nodes)
      fail_at(mark, cat("more than ", limits_.max_nodes, " values"));
    if (anchor != 0) {
      spend_alias(mark, built.cost);
      anchors_[anchor] = built;
    }
    if (frames_.empty()) {
      root = std::move(built);
      return;
    }
    Frame& frame = frames_.back();
    frame.built.cost += built.cost + frame.key.size();
    frame.built.depth = std::max(frame.built.depth, built.depth + 1 - merged_level());
    if (json::array* array = frame.built.value.if_array()) {
      array->push_back(std::move(built.value));
      frame.built.lines.children.push_back(std::move(built.lines));
      return;
    }
    frame.has_key = false;
    if (frame.merge) return keep_merge(mark, frame, std::move(built));
    built.lines.line = frame.key_line;
    frame.built.value.get_object().emplace(frame.key, std::move(built.value));
    frame.built.lines.children.push_back(std::move(built.lines));
  }

  // `<<: *map` or `<<: [*map, ...]` (YAML 1.1 merge keys): members that the map lacks.
  static void keep_merge(const YAML::Mark& mark, Frame& frame, Built built) {
    if (built.value.is_object()) return frame.merges.push_back(std::move(built));
    const json::array* list = built.value.if_array();
    if (list == nullptr) fail_at(mark, "<< expects a map or a list of maps");
    for (size_t i = 0; i < list->size(); ++i) {
      if (!(*list)[i].is_object()) fail_at(mark, "<< expects a map or a list of maps");
      frame.merges.push_back({(*list)[i], built.lines.children[i]});
    }
  }

  static void apply_merge(Built& into, const Built& from) {
    size_t index = 0;
    for (const auto& member : from.value.get_object()) {
      if (into.value.get_object().emplace(member.key(), member.value()).second) {
        into.lines.children.push_back(from.lines.children[index]);
      }
      ++index;
    }
  }

  // A map that is merged into another is no level of its own.
  size_t merged_level() const { return !frames_.empty() && frames_.back().merge ? 1 : 0; }

  void check_depth(const YAML::Mark& mark, size_t depth) const {
    if (depth > limits_.max_depth) fail_at(mark, cat("nested deeper than ", limits_.max_depth));
  }

  void spend_alias(const YAML::Mark& mark, size_t cost) {
    alias_bytes_ += cost;
    if (alias_bytes_ > limits_.max_alias_bytes) {
      fail_at(mark, cat("anchors and aliases add more than ", limits_.max_alias_bytes, " bytes"));
    }
  }

  const YamlLimits& limits_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Built> anchors_;
  size_t alias_bytes_ = 0;
  size_t nodes_ = 0;
};

// The form that compilers use and editors can jump to.
std::unexpected<Error> fail_at(std::string_view file, int line, std::string_view message) {
  return fail(cat(file, ':', line, ": ", message));
}

Result<std::vector<YamlDocument>> parse_documents(std::string_view text, std::string_view file,
                                                  const YamlLimits& limits) {
  std::vector<YamlDocument> documents;
  try {
    std::string whole(text);
    // The library overlooks a quote that is still open after the last line; not so before "...".
    if (whole.ends_with('\n')) whole += "...\n";
    std::istringstream stream{std::move(whole)};
    YAML::Parser parser(stream);
    for (int start = -1;;) {
      Builder builder(limits, start);
      if (!parser.HandleNextDocument(builder)) return documents;
      start = builder.start;
      if (builder.root.value.is_null()) continue;
      documents.push_back({std::move(builder.root.value), std::move(builder.root.lines)});
    }
  } catch (const Problem& problem) {
    return fail_at(file, problem.line, problem.message);
  } catch (const YAML::Exception& error) {
    return fail_at(file, std::max(error.mark.line, 0) + 1, error.msg);
  } catch (const std::exception& error) {
    return fail_at(file, 1, error.what());
  }
}

}  // namespace

Result<std::vector<YamlDocument>> parse_yaml(std::string_view text, std::string_view file,
                                             const YamlLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return fail(cat(file, ": larger than ", limits.max_bytes, " bytes"));
  }
  if (const size_t bad = invalid_utf8(text); bad != std::string_view::npos) {
    return fail_at(file, line_at(text, bad), "not UTF-8 text");
  }
  if (!trim(text).starts_with('{')) return parse_documents(text, file, limits);
  size_t offset = 0;
  auto value = parse_json(text, {}, &offset);
  if (!value) {
    // A YAML flow map also begins with '{'; but then its own error would only confuse.
    auto documents = parse_documents(text, file, limits);
    if (documents) return documents;
    return fail_at(file, line_at(text, offset), value.error().message);
  }
  YamlDocument document{*std::move(value), json_lines(text)};
  if (const int line = duplicate_line(document.value, document.lines)) {
    const auto names = duplicate_fields(text);
    return fail_at(file, line, cat("duplicate key '", names.empty() ? "?" : names.front(), '\''));
  }
  std::vector<YamlDocument> documents;
  documents.push_back(std::move(document));
  return documents;
}

}  // namespace fairlead::api

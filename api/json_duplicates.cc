#include <boost/json/basic_parser_impl.hpp>
#include <set>

#include "api/json.h"
#include "base/text.h"

namespace fairlead {
namespace {

constexpr size_t max_reported = 100;

// Boost.JSON's streaming events; a value is never built. Every event returns whether to go on.
class DuplicateHandler {
 public:
  static constexpr size_t max_object_size = SIZE_MAX;
  static constexpr size_t max_array_size = SIZE_MAX;
  static constexpr size_t max_key_size = SIZE_MAX;
  static constexpr size_t max_string_size = SIZE_MAX;

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_object_begin(json::error_code&) { return push(false); }
  bool on_array_begin(json::error_code&) { return push(true); }
  bool on_object_end(size_t, json::error_code&) { return pop(); }
  bool on_array_end(size_t, json::error_code&) { return pop(); }
  // A key may come in parts, with its escapes already resolved.
  bool on_key_part(json::string_view part, size_t, json::error_code&) {
    key_.append(part.data(), part.size());
    return true;
  }
  bool on_key(json::string_view part, size_t, json::error_code&) {
    key_.append(part.data(), part.size());
    Level& level = levels_.back();
    if (!level.keys.insert(key_).second && found.size() < max_reported) {
      found.push_back(cat(path(levels_.size() - 1), levels_.size() > 1 ? "." : "", key_));
    }
    level.step = std::exchange(key_, {});
    return true;
  }
  bool on_string_part(json::string_view, size_t, json::error_code&) { return true; }
  bool on_string(json::string_view, size_t, json::error_code&) { return scalar(); }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t, json::string_view, json::error_code&) { return scalar(); }
  bool on_uint64(uint64_t, json::string_view, json::error_code&) { return scalar(); }
  bool on_double(double, json::string_view, json::error_code&) { return scalar(); }
  bool on_bool(bool, json::error_code&) { return scalar(); }
  bool on_null(json::error_code&) { return scalar(); }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  std::vector<std::string> found;

 private:
  struct Level {
    bool array = false;
    size_t index = 0;  // of the item being read
    std::string step;  // the key being read
    std::set<std::string> keys;
  };

  bool push(bool array) {
    levels_.push_back({.array = array});
    return true;
  }
  bool pop() {
    levels_.pop_back();
    return scalar();
  }
  bool scalar() {
    if (!levels_.empty() && levels_.back().array) ++levels_.back().index;
    return true;
  }
  // The path down to, but without, the key of the innermost level.
  std::string path(size_t depth) const {
    std::string out;
    for (size_t i = 0; i < depth; ++i) {
      const Level& level = levels_[i];
      if (level.array) {
        out += cat('[', level.index, ']');
      } else {
        if (!out.empty()) out += '.';
        out += level.step;
      }
    }
    return out;
  }

  std::vector<Level> levels_;
  std::string key_;
};

}  // namespace

std::vector<std::string> duplicate_fields(std::string_view text) {
  json::parse_options options;
  options.max_depth = max_json_depth;
  json::basic_parser<DuplicateHandler> parser(options);
  json::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return std::move(parser.handler().found);
}

}  // namespace fairlead

// RFC 6902 on a copy of the document: either every operation applies or none does.
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"
#include "controlplane/objects/json_values.h"
#include "controlplane/objects/patch.h"

namespace fairlead::controlplane {
namespace {

// What all `copy` operations of a patch may add together: else 20 of them make a million objects
// out of one. The API server has the same limit.
constexpr size_t kMaxCopiedValues = 200'000;

using Pointer = std::vector<std::string>;

// RFC 6901. An empty text is the whole document, "/" the member named "".
Result<Pointer> parse_pointer(std::string_view text) {
  Pointer tokens;
  if (text.empty()) return tokens;
  for (std::string_view raw : split(text.substr(1), '/')) {
    std::string token;
    for (size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '~') {
        token += raw[i];
      } else if (i + 1 < raw.size() && (raw[i + 1] == '0' || raw[i + 1] == '1')) {
        token += raw[++i] == '0' ? '~' : '/';
      } else {
        return fail(cat("\"", text, "\" has a '~' that is neither ~0 nor ~1"));
      }
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::optional<size_t> array_index(std::string_view token, size_t limit) {
  if (token.empty() || (token.size() > 1 && token.front() == '0')) return std::nullopt;
  for (char c : token)
    if (c < '0' || c > '9') return std::nullopt;
  const auto index = parse_int(token, 0, static_cast<int64_t>(limit) - 1);
  return index ? std::optional<size_t>(static_cast<size_t>(*index)) : std::nullopt;
}

json::value* step(json::value& value, const std::string& token) {
  if (value.is_object()) return value.get_object().if_contains(token);
  if (!value.is_array()) return nullptr;
  json::array& array = value.get_array();
  const auto index = array_index(token, array.size());
  return index ? &array[*index] : nullptr;
}

class Patcher {
 public:
  explicit Patcher(const json::value& live) : document_(live) {}

  Result<void> apply(const json::value& operation) {
    const std::string_view op = find_string(operation, "op");
    FL_TRY(Pointer path, parse_pointer(find_string(operation, "path")));
    if (op == "remove") return remove(path);
    if (op == "move" || op == "copy") {
      FL_TRY(Pointer from, parse_pointer(find_string(operation, "from")));
      return op == "move" ? move(from, path) : copy(from, path);
    }
    const json::value& value = *find(operation, "value");
    if (op == "add") return add(path, value);
    if (op == "replace") return replace(path, value);
    return test(path, value);
  }

  json::value take() { return std::move(document_); }

 private:
  json::value* locate(const Pointer& path, size_t length) {
    json::value* at = &document_;
    for (size_t i = 0; i < length && at != nullptr; ++i) at = step(*at, path[i]);
    return at;
  }
  json::value* locate(const Pointer& path) { return locate(path, path.size()); }

  static Result<void> missing(std::string_view what) {
    return fail(cat("the ", what, " does not exist"));
  }

  Result<void> add(const Pointer& path, json::value value) {
    if (path.size() + depth_of(value) > max_json_depth)
      return fail(cat("the document would be nested deeper than ", max_json_depth, " levels"));
    if (path.empty()) {
      document_ = std::move(value);
      return {};
    }
    json::value* parent = locate(path, path.size() - 1);
    if (parent == nullptr) return missing("parent of the path");
    const std::string& last = path.back();
    if (parent->is_object()) {
      parent->get_object()[last] = std::move(value);
      return {};
    }
    if (!parent->is_array()) return fail("the parent of the path is no object or array");
    json::array& array = parent->get_array();
    const auto index = last == "-" ? array.size() : array_index(last, array.size() + 1);
    if (!index) return fail(cat("\"", last, "\" is no index in 0..", array.size(), " or \"-\""));
    array.insert(array.begin() + static_cast<std::ptrdiff_t>(*index), std::move(value));
    return {};
  }

  Result<void> remove(const Pointer& path) {
    if (path.empty()) return fail("the whole document cannot be removed");
    if (locate(path) == nullptr) return missing("path");
    json::value* parent = locate(path, path.size() - 1);
    if (parent->is_object()) {
      parent->get_object().erase(path.back());
    } else {
      json::array& array = parent->get_array();
      const auto index = array_index(path.back(), array.size());
      array.erase(array.begin() + static_cast<std::ptrdiff_t>(*index));
    }
    return {};
  }

  Result<void> replace(const Pointer& path, const json::value& value) {
    json::value* target = locate(path);
    if (target == nullptr) return missing("path");
    if (path.size() + depth_of(value) > max_json_depth)
      return fail(cat("the document would be nested deeper than ", max_json_depth, " levels"));
    *target = value;
    return {};
  }

  Result<void> move(const Pointer& from, const Pointer& path) {
    if (from.size() < path.size() && std::equal(from.begin(), from.end(), path.begin()))
      return fail("a value cannot be moved into itself");
    const json::value* source = locate(from);
    if (source == nullptr) return missing("value at \"from\"");
    if (from == path) return {};
    json::value value = *source;
    FL_TRY_VOID(remove(from));
    return add(path, std::move(value));
  }

  Result<void> copy(const Pointer& from, const Pointer& path) {
    const json::value* source = locate(from);
    if (source == nullptr) return missing("value at \"from\"");
    copied_ += count_values(*source);
    if (copied_ > kMaxCopiedValues)
      return fail(cat("the copy operations add more than ", kMaxCopiedValues, " values"));
    return add(path, *source);
  }

  Result<void> test(const Pointer& path, const json::value& value) {
    const json::value* target = locate(path);
    if (target == nullptr) return missing("path");
    if (!same_value(*target, value)) return fail("the value there differs");
    return {};
  }

  json::value document_;
  size_t copied_ = 0;
};

}  // namespace

Result<json::value> apply_json_patch(const json::value& live, const json::value& patch) {
  FL_TRY_VOID(check_patch(PatchType::json, patch));
  Patcher patcher(live);
  const json::array& operations = patch.get_array();
  for (size_t i = 0; i < operations.size(); ++i) {
    const auto done = patcher.apply(operations[i]);
    if (!done)
      return fail(cat("operation ", i, " (", find_string(operations[i], "op"), " \"",
                      find_string(operations[i], "path"), "\")"),
                  done.error());
  }
  return patcher.take();
}

}  // namespace fairlead::controlplane

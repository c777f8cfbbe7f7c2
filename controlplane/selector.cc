#include "controlplane/selector.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr size_t kMaxRequirements = 1000;
constexpr size_t kMaxKeyBytes = 317;  // 253 of the prefix, '/', 63 of the name
constexpr size_t kMaxValueBytes = 63;

bool word_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ||
         c == '/';
}

bool valid_value(std::string_view value) {
  return value.size() <= kMaxValueBytes && value.find('/') == std::string_view::npos;
}

}  // namespace

class LabelSelector::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Requirement>> parse() {
    std::vector<Requirement> out;
    skip_spaces();
    while (at_ < text_.size()) {
      FL_TRY(Requirement next, requirement());
      out.push_back(std::move(next));
      if (out.size() > kMaxRequirements) return error("too many requirements");
      skip_spaces();
      if (at_ == text_.size()) break;
      if (!take(",")) return error("expected ','");
      skip_spaces();
      if (at_ == text_.size()) return error("expected a key after ','");
    }
    return out;
  }

 private:
  std::unexpected<Error> error(std::string_view what) const {
    return fail(
        cat("unable to parse requirement: ", what, " at offset ", at_, " of \"", text_, "\""));
  }
  void skip_spaces() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  bool take(std::string_view token) {
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::string_view word() {
    size_t begin = at_;
    while (at_ < text_.size() && word_char(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  Result<Requirement> requirement() {
    Requirement out;
    bool negated = take("!");
    if (negated) skip_spaces();
    out.key = word();
    if (out.key.empty() || out.key.size() > kMaxKeyBytes) return error("expected a label key");
    skip_spaces();
    if (negated) {
      out.op = Operator::absent;
      return out;
    }
    if (at_ == text_.size() || text_[at_] == ',') return out;  // exists
    if (take("!=")) {
      out.op = Operator::not_in;
    } else if (take("==") || take("=")) {
      out.op = Operator::in;
    } else {
      return set_requirement(std::move(out));
    }
    skip_spaces();
    out.values.emplace_back(word());
    if (!valid_value(out.values.back())) return error("not a label value");
    return out;
  }

  Result<Requirement> set_requirement(Requirement out) {
    std::string_view name = word();
    if (name != "in" && name != "notin") return error("expected =, ==, !=, in or notin");
    out.op = name == "in" ? Operator::in : Operator::not_in;
    skip_spaces();
    if (!take("(")) return error("expected '('");
    do {
      skip_spaces();
      out.values.emplace_back(word());
      if (!valid_value(out.values.back())) return error("not a label value");
      skip_spaces();
    } while (take(","));
    if (!take(")")) return error("expected ')'");
    return out;
  }

  std::string_view text_;
  size_t at_ = 0;
};

Result<LabelSelector> LabelSelector::parse(std::string_view text) {
  LabelSelector out;
  FL_TRY(out.requirements_, Parser(text).parse());
  return out;
}

bool LabelSelector::matches(const std::vector<std::pair<std::string, std::string>>& labels) const {
  return std::ranges::all_of(requirements_, [&](const Requirement& wanted) {
    auto label = std::ranges::lower_bound(labels, wanted.key, {},
                                          &std::pair<std::string, std::string>::first);
    bool present = label != labels.end() && label->first == wanted.key;
    switch (wanted.op) {
      case Operator::exists:
        return present;
      case Operator::absent:
        return !present;
      default:
        break;
    }
    bool listed = present && std::ranges::find(wanted.values, label->second) != wanted.values.end();
    return listed == (wanted.op == Operator::in);
  });
}

Result<FieldSelector::Requirement> FieldSelector::parse_one(const Resource& resource,
                                                            std::string_view text) {
  Requirement out;
  size_t op = text.find('=');
  if (op == std::string_view::npos || op == 0)
    return fail(cat("invalid selector: '", text, "'; expected field=value"));
  out.equal = text[op - 1] != '!';
  std::string_view label = trim(text.substr(0, out.equal ? op : op - 1));
  std::string_view value = text.substr(op + 1);
  if (out.equal && value.starts_with('=')) value.remove_prefix(1);
  for (size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '\\' && i + 1 < value.size()) ++i;
    out.value += value[i];
  }
  if (label == "metadata.name") {
    out.field = name_field;
    return out;
  }
  if (label == "metadata.namespace" && resource.namespaced) {
    out.field = namespace_field;
    return out;
  }
  for (const SelectableField& field : resource.fields) {
    if (field.label == label) return out;
    ++out.field;
  }
  return fail(cat("field label not supported: ", label));
}

Result<FieldSelector> FieldSelector::parse(const Resource& resource, std::string_view text) {
  FieldSelector out;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '\\') {
      ++i;
      continue;
    }
    if (i < text.size() && text[i] != ',') continue;
    if (i > begin) {
      FL_TRY(Requirement next, parse_one(resource, text.substr(begin, i - begin)));
      out.requirements_.push_back(std::move(next));
      if (out.requirements_.size() > kMaxRequirements) return fail("too many field requirements");
    }
    begin = i + 1;
  }
  return out;
}

bool FieldSelector::matches(const StoredObject& object) const {
  return std::ranges::all_of(requirements_, [&](const Requirement& wanted) {
    const std::string& actual = wanted.field == name_field        ? object.name
                                : wanted.field == namespace_field ? object.ns
                                                                  : object.fields[wanted.field];
    return (actual == wanted.value) == wanted.equal;
  });
}

std::string_view FieldSelector::name() const {
  for (const Requirement& wanted : requirements_)
    if (wanted.field == name_field && wanted.equal) return wanted.value;
  return {};
}

}  // namespace fairlead::controlplane

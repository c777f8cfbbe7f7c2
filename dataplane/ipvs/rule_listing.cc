// parse_rules(): nf_tables as libnftables lists it. Another program may have put anything into it.
#include "api/json.h"
#include "base/text.h"
#include "dataplane/ipvs/rules.h"

namespace fairlead::dataplane::ipvs {
namespace {

// An address in our spelling, whatever the kernel's.
std::string plain(std::string_view text) {
  if (const auto ip = Ip::parse(text)) return ip->to_string();
  return std::string(text);
}

// One part of an element: a string, a number, {"prefix": ...} or {"range": [...]}.
Result<std::string> part_text(const json::value& value) {
  if (const json::string* text = value.if_string()) {
    return plain(std::string_view(text->data(), text->size()));
  }
  if (const int64_t* number = value.if_int64()) return cat(*number);
  if (const json::value* prefix = find(value, "prefix")) {
    const json::value* length = find(*prefix, "len");
    if (length != nullptr && length->is_int64()) {
      return cat(plain(find_string(*prefix, "addr")), "/", length->get_int64());
    }
  }
  const json::value* range = find(value, "range");
  if (range != nullptr && range->is_array() && range->get_array().size() == 2) {
    FL_TRY(const std::string low, part_text(range->get_array()[0]));
    FL_TRY(const std::string high, part_text(range->get_array()[1]));
    return cat(low, "-", high);
  }
  return fail("an element that fairlead does not make");
}

Result<std::string> key_text(const json::value& value) {
  const json::value* parts = find(value, "concat");
  if (parts == nullptr) return part_text(value);
  if (!parts->is_array()) return fail("a concatenation that is no list");
  std::string out;
  for (const json::value& part : parts->get_array()) {
    FL_TRY(const std::string text, part_text(part));
    append(out, cat(out.empty() ? "" : " . ", text));
  }
  return out;
}

// In a map: [key, {"goto": {"target": "open"}}].
Result<void> add_element(std::map<std::string, std::string>& members, const json::value& element) {
  const json::array* pair = element.if_array();
  if (pair == nullptr) {
    FL_TRY(const std::string key, key_text(element));
    members[key];
    return {};
  }
  if (pair->size() != 2) return fail("an element that is no pair");
  FL_TRY(const std::string key, key_text((*pair)[0]));
  const std::string_view target = find_string((*pair)[1], "goto", "target");
  members[key] = target.empty() ? "?" : cat("goto ", target);
  return {};
}

Result<void> add_set(Elements& elements, const json::value& set) {
  const std::string_view name = find_string(set, "name");
  const json::value* members = find(set, "elem");
  if (members == nullptr || name.starts_with("__")) return {};
  if (!members->is_array()) return fail(cat("set ", name, ": elements are no list"));
  auto& out = elements[std::string(name)];
  for (const json::value& member : members->get_array()) {
    if (const auto added = add_element(out, member); !added) {
      return fail(cat("set ", name), added.error());
    }
  }
  return {};
}

}  // namespace

Result<RuleState> parse_rules(std::string_view listing) {
  if (listing.size() > max_listing_bytes) {
    return fail(cat("a listing of ", listing.size(), " bytes, at most ", max_listing_bytes));
  }
  FL_TRY(const json::value value, parse_json(listing));
  const json::value* items = find(value, "nftables");
  if (items == nullptr || !items->is_array()) return fail("listing without \"nftables\"");
  RuleState state;
  for (const json::value& item : items->get_array()) {
    if (const json::value* map = find(item, "map")) FL_TRY_VOID(add_set(state.elements, *map));
    if (const json::value* set = find(item, "set")) FL_TRY_VOID(add_set(state.elements, *set));
    if (const json::value* rule = find(item, "rule")) {
      ++state.rules[std::string(find_string(*rule, "chain"))];
    }
    const std::string_view chain = find_string(item, "chain", "name");
    if (chain.starts_with("layout-")) state.label = chain;
  }
  return state;
}

}  // namespace fairlead::dataplane::ipvs

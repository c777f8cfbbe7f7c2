#include "controlplane/object_meta.h"

#include "base/text.h"
#include "net/crypto.h"

namespace fairlead::controlplane {
namespace {

// Letters and digits that make no words and are not taken for each other.
constexpr std::string_view kSuffixAlphabet = "bcdfghjklmnpqrstvwxz2456789";
constexpr size_t kSuffixLength = 5;
constexpr size_t kMaxGeneratedBase = 58;  // 63 of a label, less the suffix

constexpr std::string_view kSystemFields[] = {"uid", "creationTimestamp", "deletionTimestamp",
                                              "deletionGracePeriodSeconds", "generation"};

}  // namespace

std::string new_uid() {
  std::string bytes = net::random_bytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  std::string hex = hex_encode(bytes);
  std::string_view digits = hex;
  return cat(digits.substr(0, 8), '-', digits.substr(8, 4), '-', digits.substr(12, 4), '-',
             digits.substr(16, 4), '-', digits.substr(20));
}

std::string generated_name(std::string_view base) {
  std::string out(base.substr(0, kMaxGeneratedBase));
  while (out.size() < std::min(base.size(), kMaxGeneratedBase) + kSuffixLength)
    for (char byte : net::random_bytes(2 * kSuffixLength)) {
      auto value = static_cast<unsigned char>(byte);
      // Beyond the last whole multiple of the alphabet, some characters would be likelier.
      if (value >= 256 / kSuffixAlphabet.size() * kSuffixAlphabet.size()) continue;
      out += kSuffixAlphabet[value % kSuffixAlphabet.size()];
      if (out.size() == std::min(base.size(), kMaxGeneratedBase) + kSuffixLength) break;
    }
  return out;
}

json::object& metadata_of(json::value& document) {
  json::value& metadata = document.get_object()["metadata"];
  if (!metadata.is_object()) metadata = json::object{};
  return metadata.get_object();
}

bool deleting(const json::value& document) {
  return !find_string(document, "metadata", "deletionTimestamp").empty();
}

bool has_entries(const json::value* list) {
  return list != nullptr && list->is_array() && !list->get_array().empty();
}

bool held_by_finalizers(const json::value& document) {
  if (has_entries(find(document, "metadata", "finalizers"))) return true;
  return find_string(document, "kind") == "Namespace" &&
         has_entries(find(document, "spec", "finalizers"));
}

int64_t grace_of(const json::value& document) {
  const json::value* grace = find(document, "metadata", "deletionGracePeriodSeconds");
  return grace != nullptr && grace->is_int64() ? grace->get_int64() : 0;
}

bool same_but_version(const json::value& a, const json::value& b) {
  const json::object& left = a.get_object();
  const json::object& right = b.get_object();
  if (left.size() != right.size()) return false;
  for (const auto& [key, value] : left) {
    const json::value* other = right.if_contains(key);
    if (other == nullptr) return false;
    if (key != "metadata") {
      if (value != *other) return false;
      continue;
    }
    if (!value.is_object() || !other->is_object()) return false;
    json::object mine = value.get_object(), theirs = other->get_object();
    mine.erase("resourceVersion");
    theirs.erase("resourceVersion");
    if (mine != theirs) return false;
  }
  return true;
}

bool spec_differs(const json::value& a, const json::value& b) {
  json::object left = a.get_object(), right = b.get_object();
  for (json::object* side : {&left, &right}) {
    side->erase("metadata");
    side->erase("status");
  }
  return left != right;
}

void stamp_new(json::value& document, WallTime now, bool generation) {
  json::object& metadata = metadata_of(document);
  for (std::string_view field : kSystemFields) metadata.erase(field);
  for (std::string_view field : {"resourceVersion", "managedFields", "selfLink"})
    metadata.erase(field);
  metadata["uid"] = new_uid();
  metadata["creationTimestamp"] = to_rfc3339(now);
  if (generation) metadata["generation"] = 1;
}

void keep_system_fields(json::value& document, const json::value& old) {
  json::object& metadata = metadata_of(document);
  for (std::string_view field : {"managedFields", "selfLink"}) metadata.erase(field);
  for (std::string_view field : kSystemFields) {
    if (const json::value* kept = find(old, "metadata", field))
      metadata[field] = *kept;
    else
      metadata.erase(field);
  }
}

void bump_generation(json::value& document) {
  json::value& generation = metadata_of(document)["generation"];
  generation = generation.is_int64() ? generation.get_int64() + 1 : 1;
}

}  // namespace fairlead::controlplane

// Secret and ConfigMap.
#include "controlplane/objects/kind_rules.h"

namespace fairlead::controlplane {
namespace {

constexpr size_t kMaxDataBytes = 1024 * 1024;

size_t decoded_size(std::string_view base64) {
  size_t padding = 0;
  while (padding < 2 && padding < base64.size() && base64[base64.size() - 1 - padding] == '=')
    ++padding;
  return base64.size() / 4 * 3 - std::min(padding, base64.size() / 4 * 3);
}

// Counts the bytes and checks the keys of data or binaryData.
size_t validate_entries(const json::object& object, std::string_view field, bool base64,
                        Problems& problems) {
  const json::object* data = object_at(object, field);
  if (data == nullptr) return 0;
  size_t total = 0;
  for (const auto& entry : *data) {
    const std::string_view key = view(entry.key());
    const std::string at = cat(field, "[", key, "]");
    problems.invalid(at, key, config_key(key));
    if (!entry.value().is_string()) continue;
    const std::string_view value = view(entry.value().get_string());
    total += base64 ? decoded_size(value) : value.size();
    if (base64 && !base64_decode(value))
      problems.invalid(at, json::value("<contents>"), "must be base64 (RFC 4648, with padding)");
  }
  return total;
}

// An object that says `immutable: true` keeps it and its data.
void validate_immutable(const json::object& old, const json::object& object,
                        std::initializer_list<std::string_view> fields, Problems& problems) {
  if (!bool_at(old, "immutable").value_or(false)) return;
  constexpr std::string_view why = "field is immutable when `immutable` is set";
  if (!bool_at(object, "immutable").value_or(false)) problems.forbidden("immutable", why);
  for (std::string_view field : fields) {
    const json::object *before = object_at(old, field), *after = object_at(object, field);
    const bool both_empty =
        (before == nullptr || before->empty()) && (after == nullptr || after->empty());
    const bool same = before != nullptr && after != nullptr && *before == *after;
    if (!both_empty && !same) problems.forbidden(std::string(field), why);
  }
}

void default_secret(json::object& secret) {
  default_to(secret, "type", "Opaque");
  if (const json::object* texts = object_at(secret, "stringData")) {
    const json::object copy = *texts;
    json::object& data = make_object(secret, "data");
    for (const auto& entry : copy)
      if (entry.value().is_string())
        data[entry.key()] = base64_encode(view(entry.value().get_string()));
  }
  secret.erase("stringData");  // write-only
}

void carry_over_secret(const json::object& old, json::object& secret) {
  if (string_at(secret, "type").empty() && has(old, "type")) secret["type"] = old.at("type");
}

bool has_key(const json::object& secret, std::string_view key) {
  const json::object* data = object_at(secret, "data");
  return data != nullptr && data->contains(key);
}

void validate_secret_type(const json::object& secret, Problems& problems) {
  const std::string_view type = string_at(secret, "type");
  const auto need = [&](std::string_view key) {
    if (!has_key(secret, key)) problems.required(cat("data[", key, "]"));
  };
  if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  } else if (type == "kubernetes.io/ssh-auth") {
    need("ssh-privatekey");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!has_key(secret, "username") && !has_key(secret, "password")) {
      need("username");
      need("password");
    }
  } else if (type == "kubernetes.io/dockercfg" || type == "kubernetes.io/dockerconfigjson") {
    const std::string_view key =
        type == "kubernetes.io/dockercfg" ? ".dockercfg" : ".dockerconfigjson";
    need(key);
    if (!has_key(secret, key)) return;
    const auto text = base64_decode(string_at(*object_at(secret, "data"), key));
    if (text && !parse_json(*text))
      problems.invalid(cat("data[", key, "]"), json::value("<secret contents redacted>"),
                       "must be valid json");
  } else if (type == "kubernetes.io/service-account-token") {
    const std::string_view account =
        find_string(secret.at("metadata"), "annotations", "kubernetes.io/service-account.name");
    if (account.empty())
      problems.required("metadata.annotations[kubernetes.io/service-account.name]");
  }
}

void validate_secret(const json::object& secret, Problems& problems) {
  if (validate_entries(secret, "data", true, problems) > kMaxDataBytes)
    problems.too_long("data", kMaxDataBytes);
  if (has(secret, "metadata")) validate_secret_type(secret, problems);
}

void validate_secret_update(const json::object& old, const json::object& secret,
                            Problems& problems) {
  const std::string_view type = string_at(secret, "type");
  if (type != string_at(old, "type"))
    problems.invalid("type", json::value(type), "field is immutable");
  validate_immutable(old, secret, {"data"}, problems);
}

void validate_config_map(const json::object& map, Problems& problems) {
  const size_t bytes = validate_entries(map, "data", false, problems) +
                       validate_entries(map, "binaryData", true, problems);
  const json::object *data = object_at(map, "data"), *binary = object_at(map, "binaryData");
  if (data != nullptr && binary != nullptr)
    for (const auto& entry : *data)
      if (binary->contains(entry.key()))
        problems.invalid(cat("data[", view(entry.key()), "]"), json::value(entry.key()),
                         "duplicate of key present in binaryData");
  if (bytes > kMaxDataBytes) problems.too_long("data", kMaxDataBytes);
}

void validate_config_map_update(const json::object& old, const json::object& map,
                                Problems& problems) {
  validate_immutable(old, map, {"data", "binaryData"}, problems);
}

}  // namespace

const KindRules secret_rules = {.api_version = "v1",
                                .kind = "Secret",
                                .defaults = default_secret,
                                .carry_over = carry_over_secret,
                                .validate = validate_secret,
                                .validate_update = validate_secret_update};

const KindRules config_map_rules = {.api_version = "v1",
                                    .kind = "ConfigMap",
                                    .validate = validate_config_map,
                                    .validate_update = validate_config_map_update};

}  // namespace fairlead::controlplane

// The decoders of each kind, called by codec.cc. Internal. They record errors in the Reader.
#pragma once

#include "api/kinds.h"
#include "api/objects.h"
#include "api/reader.h"

namespace fairlead::api {

Meta read_meta(const KindInfo& kind, const Reader& document);

Namespace read_namespace(const Reader& document, Meta meta);
Node read_node(const Reader& document, Meta meta);
Pod read_pod(const Reader& document, Meta meta);
Service read_service(const Reader& document, Meta meta);
EndpointSlice read_endpoint_slice(const Reader& document, Meta meta);
Ingress read_ingress(const Reader& document, Meta meta);
IngressClass read_ingress_class(const Reader& document, Meta meta);
Secret read_secret(const Reader& document, Meta meta);
ConfigMap read_config_map(const Reader& document, Meta meta);

// One of a few words; `absent` when the field is absent. The error lists the words.
template <class E>
E read_word(const Reader& reader, std::string_view field,
            std::initializer_list<std::pair<std::string_view, E>> words, E absent) {
  const std::string text = reader.string(field);
  if (text.empty()) return absent;
  std::string expected;
  for (const auto& [word, value] : words) {
    if (word == text) return value;
    expected += (expected.empty() ? "" : ", ") + std::string(word);
  }
  reader.fail(field, "expected one of " + expected);
  return absent;
}

}  // namespace fairlead::api

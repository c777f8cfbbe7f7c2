#include "api/codec.h"

#include "api/codec_parts.h"
#include "base/text.h"

namespace fairlead::api {
namespace {

// "Service default/web: ": which object, before which field and what is wrong with it.
std::unexpected<Error> named(const KindInfo& kind, const Meta& meta, const std::string& error) {
  const std::string name = meta.key.name.empty() ? "without a name" : meta.key.to_string();
  return fail(cat(kind.name, ' ', name, ": ", error));
}

// Metadata first, so that an error further down can say whose it is. The reader keeps the first
// error and gives defaults from then on; a half-filled struct never leaves this function.
template <class T>
Result<Object> decode_as(const KindInfo& kind, const json::value& document,
                         T (*read)(const Reader&, Meta)) {
  std::string error;
  const Reader reader(document, error);
  Meta meta = read_meta(kind, reader);
  auto object = std::make_shared<T>(read(reader, std::move(meta)));
  if (!error.empty()) return named(kind, object->meta, error);
  return Object(std::shared_ptr<const T>(std::move(object)));
}

}  // namespace

const Meta& meta_of(const Object& object) {
  return std::visit([](const auto& pointer) -> const Meta& { return pointer->meta; }, object);
}

Result<Meta> decode_meta(const KindInfo& kind, const json::value& document) {
  std::string error;
  Meta meta = read_meta(kind, Reader(document, error));
  if (!error.empty()) return named(kind, meta, error);
  return meta;
}

Result<Object> decode(const json::value& document) {
  if (!document.is_object()) {
    return fail(cat("expected an object, found ", type_name(document)));
  }
  // Quoted words of the document are cut: they end up in logs and status pages.
  const std::string_view version = find_string(document, "apiVersion");
  const std::string_view name = find_string(document, "kind");
  if (version.empty()) return fail("apiVersion: missing");
  if (name.empty()) return fail("kind: missing");
  const KindInfo* kind = find_kind(version, name);
  if (kind == nullptr) {
    return fail(cat("kind: '", name.substr(0, 80), "' of '", version.substr(0, 80),
                    "' is not a kind that fairlead reads"));
  }
  return decode(kind->kind, document);
}

Result<Object> decode(Kind kind, const json::value& document) {
  const KindInfo& row = info(kind);
  switch (kind) {
    case Kind::namespace_:
      return decode_as(row, document, read_namespace);
    case Kind::node:
      return decode_as(row, document, read_node);
    case Kind::pod:
      return decode_as(row, document, read_pod);
    case Kind::service:
      return decode_as(row, document, read_service);
    case Kind::endpoint_slice:
      return decode_as(row, document, read_endpoint_slice);
    case Kind::ingress:
      return decode_as(row, document, read_ingress);
    case Kind::ingress_class:
      return decode_as(row, document, read_ingress_class);
    case Kind::secret:
      return decode_as(row, document, read_secret);
    case Kind::config_map:
      return decode_as(row, document, read_config_map);
  }
  return fail("unknown kind");
}

}  // namespace fairlead::api

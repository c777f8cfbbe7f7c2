// JSON documents to objects. Decoding is strict about what fairlead acts on (an ill-typed or
// out-of-range field is an error that names it: "Service default/web: spec.ports[0].port: 70000 is
// not in 1..65535") and ignores fields it does not know: a newer API server may send more.
#pragma once

#include <memory>
#include <variant>

#include "api/json.h"
#include "api/kinds.h"
#include "api/objects.h"
#include "base/result.h"

namespace fairlead::api {

// Any object of the feed. Immutable and shared by every snapshot that holds it.
using Object = std::variant<std::shared_ptr<const Namespace>, std::shared_ptr<const Node>,
                            std::shared_ptr<const Pod>, std::shared_ptr<const Service>,
                            std::shared_ptr<const EndpointSlice>, std::shared_ptr<const Ingress>,
                            std::shared_ptr<const IngressClass>, std::shared_ptr<const Secret>,
                            std::shared_ptr<const ConfigMap>>;  // alternatives in the order of Kind

inline Kind kind_of(const Object& object) { return static_cast<Kind>(object.index()); }
const Meta& meta_of(const Object& object);

// By the document's own apiVersion and kind (list items carry neither: pass the kind).
Result<Object> decode(const json::value& document);
Result<Object> decode(Kind kind, const json::value& document);
Result<Meta> decode_meta(const KindInfo& kind, const json::value& document);

}  // namespace fairlead::api

// Request bodies of type application/vnd.kubernetes.protobuf, as kubectl >= 1.32 sends them:
// decoded to the JSON document that the same object would have. Nothing is ever encoded: clients
// take JSON answers.
// Source: apimachinery pkg/runtime/serializer/protobuf (envelope); field numbers from the tables
// protobuf-*.json of api/data.
#pragma once

#include <memory>
#include <string_view>

#include "api/json.h"
#include "base/result.h"

namespace fairlead::controlplane {

inline constexpr size_t max_protobuf_bytes = 3 * 1024 * 1024;
inline constexpr int max_protobuf_depth = 64;
inline constexpr size_t max_protobuf_values = 500'000;  // fields decoded from one body

// The field tables, parsed when first needed. Belongs to one thread, also for const calls.
class ProtobufDecoder {
 public:
  ProtobufDecoder();
  ProtobufDecoder(ProtobufDecoder&&) noexcept;
  ProtobufDecoder& operator=(ProtobufDecoder&&) noexcept;
  ~ProtobufDecoder();

  // "k8s\0" envelope -> document with apiVersion and kind. Unknown fields are skipped, as protobuf
  // readers do; a kind without a table is an error.
  Result<json::value> decode(std::string_view body) const;

 private:
  std::unique_ptr<class ProtobufTables> tables_;
};

}  // namespace fairlead::controlplane

// What a parsed head means for the two connections, or why it may not pass. Strict where two
// readers of the same bytes could disagree (request smuggling): RFC 9112 sections 3.2, 6.1, 6.3;
// RFC 9110 sections 7.6.1, 10.1.1. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "ingress/head.h"
#include "ingress/head_parser.h"

namespace fairlead::ingress {

struct BodyFraming {
  enum class Kind : uint8_t { none, length, chunked, until_close };
  Kind kind = Kind::none;
  uint64_t length = 0;

  friend bool operator==(const BodyFraming&, const BodyFraming&) = default;
};

struct RequestFacts {
  BodyFraming body;
  std::string_view authority;  // Host, or that of an absolute-form target, as sent
  std::string_view target;     // origin-form or "*"
  bool keep_alive = true;
  bool expect_continue = false;
  std::string_view upgrade;  // the wanted protocol, "" for none
  bool is_head = false;
  bool idempotent = false;  // RFC 9110 section 9.2.2: may be sent again
};
Refusal check_request(const RequestHead& head, RequestFacts& facts);

struct ResponseFacts {
  BodyFraming body;
  bool keep_alive = true;
  std::string_view upgrade;
};
// `answers_head`: the request was HEAD. Refusals have status 502.
Refusal check_response(const ResponseHead& head, bool answers_head, ResponseFacts& facts);

// Whether a field goes no further than this hop (RFC 9110 section 7.6.1). Naming a field in
// Connection removes it, save for those that other parts of a system rely on.
class HopByHop {
 public:
  explicit HopByHop(const std::vector<Field>& fields);
  bool drops(const Field& field) const;

 private:
  const std::vector<Field>& fields_;
  bool nominates_ = false;
};

}  // namespace fairlead::ingress

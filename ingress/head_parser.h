// Bytes to heads: finding the end, then Beast's parser with views. What a head means, and whether
// it may pass, is framing_guard.h's business.
#pragma once

#include <cstddef>
#include <string_view>

#include "ingress/head.h"
#include "ingress/limits.h"

namespace fairlead::ingress {

// Why a message is refused: the status that a client gets, and a word for the log.
struct Refusal {
  int status = 0;  // 0: nothing is refused
  std::string_view why;

  explicit operator bool() const { return status != 0; }
};

// Looks for the empty line, going on where it left off. Refuses at once what no later byte can
// mend: a line feed without carriage return, a folded line, a first line or a head that is too
// long, too many fields.
class HeadScanner {
 public:
  enum class Result { more, complete, refused };

  // `bytes` begin with the head and grow from call to call.
  Result scan(std::string_view bytes, const Limits& limits);

  size_t head_bytes() const { return position_; }  // complete: the empty line included
  const Refusal& refusal() const { return refusal_; }
  bool started() const { return position_ > 0 || lines_ > 0; }

 private:
  Result refuse(int status, std::string_view why);

  size_t position_ = 0;  // start of the line that has no end yet
  size_t lines_ = 0;
  Refusal refusal_;
};

// `head` is complete. Views point into it. Refusals: 400, 431, 505.
Refusal parse_request_head(std::string_view head, RequestHead& into);
// The refusal's status is 502.
Refusal parse_response_head(std::string_view head, ResponseHead& into);

}  // namespace fairlead::ingress

// Where a body ends, found while it streams through, and the chunked coding checked on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ingress/framing_guard.h"

namespace fairlead::ingress {

// Takes the bytes of one body and gives the bytes to send on. The chunked coding is kept or taken
// off; chunk extensions and trailers are dropped either way. Output is never longer than input, so
// that it may overwrite it.
class BodyFramer {
 public:
  enum class Chunks : uint8_t { keep, strip };
  static constexpr size_t max_extension_bytes = 1024;     // of one chunk
  static constexpr size_t max_trailer_bytes = 16 * 1024;  // of all trailer fields

  BodyFramer() = default;  // no body: done
  explicit BodyFramer(const BodyFraming& framing, Chunks chunks = Chunks::keep);

  struct Step {
    size_t consumed = 0;
    size_t produced = 0;
  };
  // Writes to `out`, which may be anywhere at or before `in`. Stops at the end of the body.
  Step feed(const char* in, size_t size, char* out);

  bool done() const { return state_ == State::done; }
  bool failed() const { return state_ == State::failed; }
  bool until_close() const { return state_ == State::until_close; }
  void finish() { state_ = State::done; }  // until_close: the connection ended in order

 private:
  enum class State : uint8_t {
    length,
    until_close,
    done,
    failed,
    size,       // in the digits
    extension,  // from ';' or a blank to CR
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer,  // in a trailer field, to CR
    trailer_lf,
    end_lf,
  };
  bool step(char c, char*& out);
  void end_of_size();

  State state_ = State::done;
  Chunks chunks_ = Chunks::keep;
  uint8_t digits_ = 0;
  uint32_t dropped_ = 0;  // bytes of this extension or of the trailers
  uint64_t left_ = 0;     // of the body, or of the chunk
};

}  // namespace fairlead::ingress

#include "ingress/body_framer.h"

#include <algorithm>
#include <cstring>

namespace fairlead::ingress {
namespace {

constexpr uint8_t max_size_digits = 15;  // 2^60 bytes

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_text(char c) { return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f); }

}  // namespace

BodyFramer::BodyFramer(const BodyFraming& framing, Chunks chunks)
    : chunks_(chunks), left_(framing.length) {
  switch (framing.kind) {
    case BodyFraming::Kind::none:
      state_ = State::done;
      break;
    case BodyFraming::Kind::length:
      state_ = left_ == 0 ? State::done : State::length;
      break;
    case BodyFraming::Kind::until_close:
      state_ = State::until_close;
      break;
    case BodyFraming::Kind::chunked:
      state_ = State::size;
      left_ = 0;
      break;
  }
}

BodyFramer::Step BodyFramer::feed(const char* in, size_t size, char* out) {
  const char* const begin = in;
  const char* const end = in + size;
  char* const out_begin = out;
  while (in != end && state_ != State::done && state_ != State::failed) {
    if (state_ == State::data || state_ == State::length || state_ == State::until_close) {
      size_t span = static_cast<size_t>(end - in);
      if (state_ != State::until_close) span = std::min<uint64_t>(span, left_);
      if (out != in) std::memmove(out, in, span);
      in += span;
      out += span;
      if (state_ == State::until_close) continue;
      left_ -= span;
      if (left_ == 0) state_ = state_ == State::data ? State::data_cr : State::done;
      continue;
    }
    if (!step(*in++, out)) state_ = State::failed;
  }
  return {static_cast<size_t>(in - begin), static_cast<size_t>(out - out_begin)};
}

void BodyFramer::end_of_size() {
  dropped_ = 0;
  digits_ = 0;
  state_ = left_ == 0 ? State::trailer_start : State::data;
}

// One byte of the framing between the data (RFC 9112 section 7.1). False: it is malformed.
bool BodyFramer::step(char c, char*& out) {
  const auto keep = [&] {
    if (chunks_ == Chunks::keep) *out++ = c;
    return true;
  };
  switch (state_) {
    case State::size: {
      if (const int value = hex_value(c); value >= 0) {
        if (++digits_ > max_size_digits) return false;
        left_ = left_ * 16 + static_cast<uint64_t>(value);
        return keep();
      }
      if (digits_ == 0) return false;
      if (c == ';' || c == ' ' || c == '\t') {
        state_ = State::extension;
        return true;
      }
      if (c != '\r') return false;
      state_ = State::size_lf;
      return keep();
    }
    case State::extension:
      if (c == '\r') {
        state_ = State::size_lf;
        return keep();
      }
      return is_text(c) && ++dropped_ <= max_extension_bytes;
    case State::size_lf:
      if (c != '\n') return false;
      end_of_size();
      return keep();
    case State::data_cr:
      state_ = State::data_lf;
      return c == '\r' && keep();
    case State::data_lf:
      state_ = State::size;
      return c == '\n' && keep();
    case State::trailer_start:
      if (c == '\r') {
        state_ = State::end_lf;
        return keep();
      }
      state_ = State::trailer;
      return is_text(c) && c != ' ' && c != '\t' && ++dropped_ <= max_trailer_bytes;
    case State::trailer:
      if (c == '\r') {
        state_ = State::trailer_lf;
        return true;
      }
      return is_text(c) && ++dropped_ <= max_trailer_bytes;
    case State::trailer_lf:
      state_ = State::trailer_start;
      return c == '\n';
    case State::end_lf:
      state_ = State::done;
      return c == '\n' && keep();
    default:
      return false;
  }
}

}  // namespace fairlead::ingress

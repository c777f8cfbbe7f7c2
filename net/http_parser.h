// An incremental, strict HTTP/1.1 parser for requests and responses (RFC 9112). It refuses what
// another reader could frame differently: see docs/net.md, "What the parser refuses".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/http.h"

namespace fairlead::net {

// Takes the chunked coding off (RFC 9112 section 7.1). Extensions and trailers are read within
// limits and dropped.
class ChunkDecoder {
 public:
  static constexpr uint32_t max_extension_bytes = 8 * 1024;  // of all chunks of a message together
  static constexpr uint32_t max_trailer_bytes = 8 * 1024;

  // Appends data to `body`; returns how many bytes it used, fewer than all only when it is done or
  // has failed.
  size_t feed(std::string_view bytes, std::string& body);
  bool done() const { return state_ == State::done; }
  bool failed() const { return state_ == State::failed; }

 private:
  enum class State {
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer,
    trailer_lf,
    end_lf,
    done,
    failed
  };
  State step(char c);
  State step_size(char c);

  State state_ = State::size;
  uint64_t left_ = 0;    // of this chunk
  uint32_t digits_ = 0;  // of this chunk's size
  uint32_t extension_bytes_ = 0;
  uint32_t trailer_bytes_ = 0;
};

class HttpParser {
 public:
  enum class Kind { request, response };
  enum class State { head, body, done, failed };

  struct Limits {
    size_t head_bytes = 64 * 1024;
    size_t headers = 128;
    uint64_t body_bytes = UINT64_MAX;
  };
  struct Head {
    std::string method;  // requests
    std::string target;  // origin-form, or "*"; absolute-form is reduced to it
    int status = 0;      // responses
    int minor_version = 1;
    Headers headers;
    bool keep_alive = false;  // by version, Connection field and framing
    bool chunked = false;
    bool until_close = false;  // responses: the body ends with the connection
    bool expect_continue = false;
    std::optional<uint64_t> content_length;
  };

  HttpParser(Kind kind, const Limits& limits) : kind_(kind), limits_(limits) {}

  // Returns how many bytes were used; give the rest again with more behind it. Stops after the
  // head, so that the caller can look at head(), and after the end of the message. Body bytes,
  // with the chunked coding taken off, are appended to `body`.
  size_t feed(std::string_view bytes, std::string& body);
  // No more bytes will come: ends an until_close body; fails anything else that is unfinished.
  void feed_eof();

  // Before feed(): the next response answers HEAD and has no body (RFC 9112 section 6.3).
  void set_head_response() { head_response_ = true; }
  void reset();  // for the next message. REQUIRES: done

  State state() const { return state_; }
  bool started() const { return scanned_ > 0 || state_ != State::head; }  // some byte has been seen
  const Head& head() const { return head_; }
  Head& head() { return head_; }
  int error_status() const { return error_status_; }  // 400, 413, 414, 417, 431, 501, 505
  const std::string& error() const { return error_; }

 private:
  size_t feed_head(std::string_view bytes);
  size_t feed_body(std::string_view bytes, std::string& body);
  bool scan_lines(std::string_view bytes);
  bool check_line(std::string_view line);
  bool check_start_line(std::string_view line);
  bool check_request();
  bool check_target();
  bool check_framing();
  bool finish_head();
  bool refuse(int status, std::string message);  // always false

  Kind kind_;
  Limits limits_;
  State state_ = State::head;
  size_t scanned_ = 0;     // bytes of the head that have been looked at
  size_t line_start_ = 0;  // where its unfinished line starts
  size_t lines_ = 0;
  size_t skipped_lines_ = 0;  // empty ones before the request (RFC 9112 section 2.2)
  bool head_response_ = false;
  Head head_;
  ChunkDecoder chunks_;
  uint64_t body_bytes_ = 0;
  int error_status_ = 0;
  std::string error_;
};

}  // namespace fairlead::net

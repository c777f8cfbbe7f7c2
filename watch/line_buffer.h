// Bytes as they arrive to whole lines.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace fairlead::watch {

class LineBuffer {
 public:
  explicit LineBuffer(size_t max_line_bytes) : max_(max_line_bytes) {}

  // Calls visit(line) for every whole line, without its newline, until it returns false. A line
  // that lies in one piece is not copied. False when a line is too long or visit said so.
  template <class Visit>
  bool feed(std::string_view bytes, Visit visit) {
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      if (end == std::string_view::npos) {
        if (partial_.size() + bytes.size() > max_) return too_long_ = true, false;
        partial_ += bytes;
        return true;
      }
      std::string_view line = bytes.substr(0, end);
      bytes.remove_prefix(end + 1);
      if (partial_.size() + line.size() > max_) return too_long_ = true, false;
      if (partial_.empty()) {
        if (!visit(line)) return false;
        continue;
      }
      partial_ += line;
      const std::string whole = std::exchange(partial_, {});
      if (!visit(std::string_view(whole))) return false;
    }
    return true;
  }

  bool too_long() const { return too_long_; }
  bool inside_line() const { return !partial_.empty(); }
  void reset() {
    partial_ = {};
    too_long_ = false;
  }

 private:
  size_t max_;
  std::string partial_;
  bool too_long_ = false;
};

}  // namespace fairlead::watch

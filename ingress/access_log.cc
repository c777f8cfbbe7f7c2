#include "ingress/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/text.h"
#include "net/socket.h"

namespace fairlead::ingress {
namespace {

constexpr size_t flush_bytes = 32 * 1024;
constexpr size_t max_value_bytes = 2048;  // of one field in the log: the rest is cut off

// JSON (RFC 8259 section 7). Bytes that are not ASCII are written as \u00XX: a log line is valid
// whatever a client sent.
void append_escaped(std::string& out, std::string_view value) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (value.size() > max_value_bytes) value = value.substr(0, max_value_bytes);
  const auto plain = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte < 0x7f && c != '"' && c != '\\';
  };
  size_t start = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    if (plain(value[i])) continue;
    out.append(value, start, i - start);
    start = i + 1;
    const auto byte = static_cast<unsigned char>(value[i]);
    if (value[i] == '"' || value[i] == '\\') {
      out += '\\';
      out += value[i];
    } else {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  out.append(value, start);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  out += ",\"";
  out += name;
  out += "\":\"";
  append_escaped(out, value);
  out += '"';
}

void append_number(std::string& out, std::string_view name, uint64_t value) {
  out += ",\"";
  out += name;
  out += "\":";
  append(out, value);
}

}  // namespace

Result<std::unique_ptr<AccessLogFile>> AccessLogFile::open(const std::string& path) {
  auto file = std::unique_ptr<AccessLogFile>(new AccessLogFile(path));
  FL_TRY_VOID(file->reopen());
  return file;
}

Result<void> AccessLogFile::reopen() {
  if (path_ == "-") {
    fd_ = net::Fd(::fcntl(1, F_DUPFD_CLOEXEC, 3));
  } else {
    fd_ = net::Fd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640));
  }
  if (!fd_) return fail(cat("access log ", path_, ": ", net::errno_text(errno)));
  return {};
}

void AccessLogFile::write(std::string_view lines) {
  const std::lock_guard lock(mutex_);
  while (!lines.empty()) {
    const ssize_t written = ::write(fd_.get(), lines.data(), lines.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      failures_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    lines.remove_prefix(static_cast<size_t>(written));
  }
}

void AccessLogFile::reopen_if_moved() {
  if (path_ == "-") return;
  const std::lock_guard lock(mutex_);
  struct stat named{}, held{};
  if (::fstat(fd_.get(), &held) != 0) return;
  if (::stat(path_.c_str(), &named) == 0 && named.st_ino == held.st_ino &&
      named.st_dev == held.st_dev) {
    return;
  }
  net::Fd old = std::move(fd_);
  if (!reopen()) fd_ = std::move(old);
}

void AccessLog::add_time(WallTime time) {
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
  if (ms / 1000 != second_) {
    second_ = ms / 1000;
    second_text_ = to_rfc3339(time);
    second_text_.pop_back();
  }
  const int fraction = static_cast<int>(ms % 1000);
  const char digits[] = {'.', static_cast<char>('0' + fraction / 100),
                         static_cast<char>('0' + fraction / 10 % 10),
                         static_cast<char>('0' + fraction % 10), 'Z'};
  lines_ += second_text_;
  lines_.append(digits, sizeof digits);
}

void AccessLog::add(const AccessEntry& entry) {
  if (file_ == nullptr) return;
  lines_ += "{\"time\":\"";
  add_time(entry.time);
  lines_ += '"';
  append_field(lines_, "client", entry.client);
  append_field(lines_, "method", entry.method);
  append_field(lines_, "host", entry.host);
  append_field(lines_, "target", entry.target);
  lines_ += entry.version == 10 ? ",\"protocol\":\"HTTP/1.0\"" : ",\"protocol\":\"HTTP/1.1\"";
  if (entry.tls) lines_ += ",\"tls\":true";
  append_number(lines_, "status", static_cast<uint64_t>(entry.status));
  append_number(lines_, "bytes_sent", entry.bytes_sent);
  append_number(lines_, "bytes_received", entry.bytes_received);
  append_number(lines_, "duration_us",
                static_cast<uint64_t>(std::max<int64_t>(entry.duration.count() / 1000, 0)));
  append_field(lines_, "namespace", entry.ingress_namespace);
  append_field(lines_, "ingress", entry.ingress);
  append_field(lines_, "service", entry.service);
  append_field(lines_, "upstream", entry.upstream);
  if (entry.tries > 1) append_number(lines_, "tries", entry.tries);
  append_field(lines_, "request_id", entry.request_id);
  append_field(lines_, "user_agent", entry.user_agent);
  append_field(lines_, "referer", entry.referer);
  append_field(lines_, "note", entry.note);
  lines_ += "}\n";
  if (lines_.size() >= flush_bytes) flush();
}

void AccessLog::flush() {
  if (file_ == nullptr || lines_.empty()) return;
  file_->write(lines_);
  lines_.clear();
}

void AccessLog::maintain() {
  if (file_ == nullptr) return;
  flush();
  file_->reopen_if_moved();
}

}  // namespace fairlead::ingress

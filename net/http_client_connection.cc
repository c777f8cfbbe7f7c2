#include "net/http_client_connection.h"

#include "base/text.h"

namespace fairlead::net {

ClientConnection::ClientConnection(ClientOwner& owner, Fd fd, std::shared_ptr<const TlsContext> tls,
                                   const std::string& host)
    : owner_(owner),
      stream_(std::make_unique<Stream>(owner.loop(), std::move(fd), Stream::Role::client,
                                       std::move(tls), *this, host)),
      parser_(HttpParser::Kind::response, {.head_bytes = owner.max_head_bytes()}) {}

void ClientConnection::send() {
  parser_ = HttpParser(HttpParser::Kind::response, {.head_bytes = owner_.max_head_bytes()});
  if (call_->request.method == "HEAD") parser_.set_head_response();
  call_->last_progress = owner_.loop().now();
  stream_->write(call_->bytes);
}

void ClientConnection::note_progress() {
  if (stream_->moved_bytes() == moved_) return;
  moved_ = stream_->moved_bytes();
  call_->last_progress = owner_.loop().now();
}

void ClientConnection::close() {
  call_.reset();
  stream_.reset();
}

void ClientConnection::on_open() {
  open_ = true;
  const auto keep = owner_.keep_alive();
  const auto call = call_;
  owner_.on_connected(call);
}

void ClientConnection::on_input() {
  const auto keep = owner_.keep_alive();
  const auto call = call_;
  if (!call) return owner_.discard(*this);  // an answer that nobody asked for
  call->last_progress = owner_.loop().now();
  call->answered = true;
  while (call->connection == this && feed(call)) {
  }
}

// One step of the parser. False when it needs more bytes or the call is over.
bool ClientConnection::feed(const std::shared_ptr<CallState>& call) {
  if (stream_->input().empty()) return false;
  const HttpParser::State before = parser_.state();
  std::string body;
  const size_t used = parser_.feed(stream_->input(), body);
  stream_->consume(used);
  if (parser_.state() == HttpParser::State::failed) {
    owner_.fail_call(call, cat("malformed answer: ", parser_.error()));
    return false;
  }
  if (used == 0) return false;
  return on_step(call, before, body);
}

bool ClientConnection::on_step(const std::shared_ptr<CallState>& call, HttpParser::State before,
                               std::string_view body) {
  if (before == HttpParser::State::head) {
    const int status = parser_.head().status;
    if (status == 101) {
      owner_.fail_call(call, "malformed answer: 101 without a request to switch protocols");
      return false;
    }
    if (status / 100 == 1) {  // interim: the answer is still to come (RFC 9110 15.2)
      parser_.reset();
      if (call->request.method == "HEAD") parser_.set_head_response();
      return true;
    }
    if (call->callbacks.on_head) {
      call->callbacks.on_head(HttpHead{status, std::move(parser_.head().headers)});
      if (call->connection != this) return false;
    }
  }
  if (!body.empty() && call->callbacks.on_data) {
    call->callbacks.on_data(body);
    if (call->connection != this) return false;
  }
  if (parser_.state() != HttpParser::State::done) return true;
  finish(call);
  return false;
}

void ClientConnection::finish(const std::shared_ptr<CallState>& call) {
  const bool reusable = parser_.head().keep_alive && !peer_done_ && stream_->input().empty() &&
                        stream_->unsent_bytes() == 0;
  call_.reset();
  owner_.on_answered(call, reusable);
}

void ClientConnection::on_eof() {
  const auto keep = owner_.keep_alive();
  const auto call = call_;
  peer_done_ = true;
  if (!call) return owner_.discard(*this);
  if (!parser_.started()) {
    return owner_.on_broken(call, "the server closed the connection without an answer", true);
  }
  parser_.feed_eof();
  if (parser_.state() == HttpParser::State::done) return finish(call);
  owner_.fail_call(call, cat("malformed answer: ", parser_.error()));
}

void ClientConnection::on_failed(const Error& error) {
  const auto keep = owner_.keep_alive();
  const auto call = call_;
  if (!call) return owner_.discard(*this);
  owner_.on_broken(call, error.message, open_);
}

}  // namespace fairlead::net

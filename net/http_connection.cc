#include "net/http_connection.h"

#include "base/check.h"
#include "base/text.h"

namespace fairlead::net {
namespace {

// A peer that reads slowly gets no further pipelined request handled above this.
constexpr size_t max_unsent_bytes = 1024 * 1024;
// How long a peer may take to see the end of the last answer before its socket is closed, which
// would throw the answer away if the peer is still sending (RFC 9112 section 9.6).
constexpr Duration drain_time = std::chrono::seconds(2);

HttpParser::Limits parser_limits(const HttpServer::Options& options) {
  return {.head_bytes = options.max_head_bytes, .body_bytes = options.max_body_bytes};
}

}  // namespace

// The handler's end of one exchange. Either side may go first: the connection on failure, the
// Answer when the handler drops it. After release() neither knows the other.
class ServerConnection::Answer final : public Responder {
 public:
  explicit Answer(ServerConnection& connection) : connection_(&connection) {
    connection.answer_ = this;
  }
  ~Answer() override {
    ServerConnection* connection = release();
    if (connection != nullptr) connection->abandon();
  }

  void send(HttpResponse response) override {
    if (ServerConnection* connection = release()) connection->send(std::move(response));
  }
  void start(HttpResponse head) override {
    if (connection_ != nullptr) connection_->start(std::move(head));
  }
  void write(std::string_view bytes) override {
    if (connection_ != nullptr) connection_->write(bytes);
  }
  void finish() override {
    if (ServerConnection* connection = release()) connection->finish();
  }
  size_t unsent_bytes() const override {
    return connection_ == nullptr ? 0 : connection_->stream_->unsent_bytes();
  }
  void on_gone(std::move_only_function<void()> gone) override { gone_ = std::move(gone); }

  // Cuts the tie between the two.
  ServerConnection* release() {
    ServerConnection* connection = std::exchange(connection_, nullptr);
    if (connection != nullptr) connection->answer_ = nullptr;
    return connection;
  }
  std::move_only_function<void()> take_gone() { return std::move(gone_); }

 private:
  ServerConnection* connection_;
  std::move_only_function<void()> gone_;
};

ServerConnection::ServerConnection(ConnectionOwner& owner, Fd fd,
                                   std::shared_ptr<const TlsContext> tls)
    : owner_(owner),
      stream_(std::make_unique<Stream>(owner.loop(), std::move(fd), Stream::Role::server,
                                       std::move(tls), *this)),
      parser_(HttpParser::Kind::request, parser_limits(owner.options())) {
  set_deadline(owner_.options().head_timeout);
}

ServerConnection::~ServerConnection() {
  if (answer_ != nullptr) answer_->release();  // the server goes, not the peer: no on_gone
}

void ServerConnection::on_open() {
  peer_ = stream_->peer();
  phase_ = Phase::idle;
  set_deadline(owner_.options().idle_timeout);
}

void ServerConnection::on_input() {
  if (phase_ == Phase::draining) {
    stream_->consume(stream_->input().size());
  } else if (phase_ != Phase::busy) {
    process();
  }
}

void ServerConnection::on_sent() {
  if (phase_ == Phase::draining) {
    if (peer_done_) return close();
    set_deadline(drain_time);
  } else if (phase_ == Phase::idle || phase_ == Phase::reading) {
    process();
  }
}

void ServerConnection::on_eof() {
  peer_done_ = true;
  switch (phase_) {
    case Phase::busy:
      // A peer may shut its sending side and still wait for a whole answer; one that follows an
      // endless stream has gone.
      if (started_) close();
      break;
    case Phase::draining:
      if (stream_->unsent_bytes() == 0) close();
      break;
    case Phase::idle:
    case Phase::reading:
      if (stream_->unsent_bytes() == 0 && stream_->input().empty()) return close();
      process();
      break;
    default:
      close();
  }
}

void ServerConnection::on_failed(const Error&) { close(); }

// Handles the requests that are there, one after the other.
void ServerConnection::process() {
  if (processing_) return;
  processing_ = true;
  while ((phase_ == Phase::idle || phase_ == Phase::reading) &&
         stream_->unsent_bytes() <= max_unsent_bytes && read_request()) {
    dispatch();
  }
  processing_ = false;
  if (!peer_done_ || (phase_ != Phase::idle && phase_ != Phase::reading)) return;
  // Requests that wait until the answers before them are sent still get theirs.
  if (stream_->unsent_bytes() <= max_unsent_bytes || at_end()) drain();
}

bool ServerConnection::at_end() const { return peer_done_ && stream_->input().empty(); }

// True when a whole request is there.
bool ServerConnection::read_request() {
  while (!stream_->input().empty()) {
    const HttpParser::State before = parser_.state();
    const size_t used = parser_.feed(stream_->input(), body_);
    stream_->consume(used);
    if (parser_.state() == HttpParser::State::failed) {
      refuse(parser_.error_status(), parser_.error());
      return false;
    }
    if (parser_.state() == HttpParser::State::done) return true;
    if (parser_.state() == before && used == 0) break;
  }
  if (parser_.state() == HttpParser::State::body) {
    if (parser_.head().expect_continue && body_.empty() && !continue_sent_) {
      continue_sent_ = true;
      stream_->write("HTTP/1.1 100 Continue\r\n\r\n");
    }
    phase_ = Phase::reading;
    set_deadline(owner_.options().idle_timeout);
  } else if (phase_ == Phase::idle && parser_.started()) {
    phase_ = Phase::reading;
    set_deadline(owner_.options().head_timeout);  // of the whole head, not of each piece
  }
  return false;
}

void ServerConnection::dispatch() {
  HttpParser::Head& head = parser_.head();
  phase_ = Phase::busy;
  started_ = false;
  keep_alive_ = head.keep_alive;
  minor_version_ = head.minor_version;
  head_request_ = head.method == "HEAD";
  HttpRequest request{.method = std::move(head.method),
                      .target = std::move(head.target),
                      .headers = std::move(head.headers),
                      .body = std::move(body_),
                      .peer = peer_};
  body_ = {};
  continue_sent_ = false;
  parser_.reset();
  set_deadline(owner_.options().idle_timeout);
  owner_.handler()(std::move(request), std::make_unique<Answer>(*this));
}

bool ServerConnection::may_have_body(int status) const {
  return !head_request_ && status != 204 && status != 304;
}

void ServerConnection::send(HttpResponse response) {
  CHECK(!started_);
  keep_alive_ = keep_alive_ && !at_end();
  ResponseFraming framing{.keep_alive = keep_alive_, .minor_version = minor_version_};
  if (response.status != 204 && response.status != 304) {
    // The answer to HEAD has the length that GET would have had, which its handler may know.
    const auto own = head_request_ && response.body.empty()
                         ? parse_int(response.headers.get("Content-Length"), 0)
                         : std::nullopt;
    framing.content_length = own ? static_cast<size_t>(*own) : response.body.size();
  }
  std::string out = response_head(response, framing, owner_.date());
  constexpr size_t copy_bytes = 64 * 1024;
  if (!may_have_body(response.status)) response.body.clear();
  if (response.body.size() <= copy_bytes) {
    out += response.body;
    stream_->write(out);
  } else {
    stream_->write(out);
    stream_->write(response.body);
  }
  complete();
}

// HTTP/1.0 has no chunked coding: there the end of the connection ends the body (RFC 9112 6.3).
void ServerConnection::start(HttpResponse head) {
  CHECK(!started_);
  started_ = true;
  bodyless_ = !may_have_body(head.status);
  chunked_ = minor_version_ == 1 && head.status != 204 && head.status != 304;
  if ((!chunked_ && !bodyless_) || at_end()) keep_alive_ = false;
  const ResponseFraming framing{
      .keep_alive = keep_alive_, .chunked = chunked_, .minor_version = minor_version_};
  stream_->write(response_head(head, framing, owner_.date()));
  set_deadline(owner_.options().idle_timeout);
  if (peer_done_) resume_ = owner_.loop().after(Duration::zero(), [this] { close(); });
}

void ServerConnection::write(std::string_view bytes) {
  CHECK(started_);
  if (bytes.empty() || bodyless_) return;
  if (!chunked_) return stream_->write(bytes);
  std::string chunk;
  chunk.reserve(bytes.size() + 24);
  append_chunk(chunk, bytes);
  stream_->write(chunk);
}

void ServerConnection::finish() {
  CHECK(started_);
  if (chunked_ && !bodyless_) stream_->write(last_chunk);
  complete();
}

void ServerConnection::abandon() {
  if (!started_) return send(HttpResponse::text(500, "the request was not answered\n"));
  stream_->abort_on_close();
  // Not at once: this may be inside a callback that still uses the connection.
  phase_ = Phase::draining;
  resume_ = owner_.loop().after(Duration::zero(), [this] { close(); });
}

// The answer is written. What comes next depends on whether the connection goes on.
void ServerConnection::complete() {
  started_ = false;
  resume_.reset();  // of start(): the stream has ended in time
  if (!keep_alive_) return drain();
  phase_ = Phase::idle;
  set_deadline(owner_.options().idle_timeout);
  if (!processing_ && !stream_->input().empty()) {
    resume_ = owner_.loop().after(Duration::zero(), [this] { process(); });
  }
}

// After a framing error nothing that follows can be trusted to be a request.
void ServerConnection::refuse(int status, const std::string& message) {
  keep_alive_ = false;
  head_request_ = false;
  stream_->consume(stream_->input().size());
  send(HttpResponse::text(status, message + "\n"));
}

// Ends the sending side, then waits a moment for the peer to do the same (RFC 9112 9.6).
void ServerConnection::drain() {
  phase_ = Phase::draining;
  stream_->consume(stream_->input().size());
  stream_->shutdown_write();
  if (stream_->unsent_bytes() > 0) return set_deadline(owner_.options().idle_timeout);
  set_deadline(peer_done_ ? Duration::zero() : drain_time);
}

void ServerConnection::close() {
  if (phase_ == Phase::closed) return;
  phase_ = Phase::closed;
  timer_.reset();
  resume_.reset();
  std::move_only_function<void()> gone;
  if (answer_ != nullptr) {
    gone = answer_->take_gone();
    answer_->release();
  }
  stream_.reset();
  owner_.retire(*this);
  if (gone) gone();
}

void ServerConnection::set_deadline(Duration from_now) {
  deadline_ = owner_.loop().now() + from_now;
  if (stream_) moved_at_deadline_ = stream_->moved_bytes();
  // A timer that is due earlier looks at the deadline again: re-arming for every request would
  // cost more than that.
  if (!timer_ || timer_due_ > deadline_) arm_timer();
}

void ServerConnection::arm_timer() {
  timer_due_ = deadline_;
  timer_ = owner_.loop().after(deadline_ - owner_.loop().now(), [this] { on_deadline(); });
}

void ServerConnection::on_deadline() {
  if (deadline_ > owner_.loop().now()) return arm_timer();
  const bool moved = stream_->moved_bytes() != moved_at_deadline_;
  const Duration idle = owner_.options().idle_timeout;
  if (phase_ == Phase::reading && !(moved && parser_.state() == HttpParser::State::body)) {
    return refuse(408, "the request did not arrive in time");
  }
  // A handler may take its time; a peer may not when there is something to send to it.
  const bool waits_for_peer = stream_->unsent_bytes() > 0;
  if (phase_ == Phase::busy && !waits_for_peer) return set_deadline(idle);
  if (moved && waits_for_peer) return set_deadline(idle);
  if (phase_ == Phase::reading) return set_deadline(idle);
  close();
}

}  // namespace fairlead::net

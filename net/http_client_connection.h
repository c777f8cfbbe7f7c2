// One connection of the HTTP client, for net/http_client.cc.
#pragma once

#include <deque>
#include <memory>
#include <string>

#include "net/http_client.h"
#include "net/http_parser.h"
#include "net/stream.h"

namespace fairlead::net {

class ClientConnection;

// One request, as the client, its connection and the caller's handle share it. (Shared, because a
// callback may destroy the handle or the client that is calling it.)
struct CallState {
  HttpRequest request;  // without the body
  std::string bytes;    // on the wire; kept for one more try
  HttpCallbacks callbacks;
  Duration idle_timeout{};
  std::deque<Ip> candidates;  // addresses not yet tried
  ClientConnection* connection = nullptr;
  Timer timer;  // connect, then idle
  MonoTime last_progress;
  bool reused = false;  // on a connection that had an answer before
  bool retried = false;
  bool answered = false;  // some byte of the answer has come
  bool finished = false;  // done, or given up by its owner: no more callbacks
};

// What a connection needs of its client.
class ClientOwner {
 public:
  virtual ~ClientOwner() = default;
  virtual EventLoop& loop() = 0;
  virtual size_t max_head_bytes() const = 0;
  virtual std::shared_ptr<void> keep_alive() = 0;  // the client lives as long as this
  virtual void on_connected(const std::shared_ptr<CallState>& call) = 0;
  virtual void on_broken(const std::shared_ptr<CallState>& call, std::string message,
                         bool was_open) = 0;
  virtual void on_answered(const std::shared_ptr<CallState>& call, bool reusable) = 0;
  virtual void fail_call(const std::shared_ptr<CallState>& call, std::string message) = 0;
  virtual void discard(ClientConnection& connection) = 0;
};

// Carries one call at a time. `call_` holds the call's state while callbacks run, so that captures
// live until they return; after each of them `call->connection` says whether the call is still
// ours.
class ClientConnection final : public Stream::Handler {
 public:
  ClientConnection(ClientOwner& owner, Fd fd, std::shared_ptr<const TlsContext> tls,
                   const std::string& host);

  void assign(std::shared_ptr<CallState> call) { call_ = std::move(call); }
  void send();           // the assigned call's request. REQUIRES: open
  void note_progress();  // bytes moved since the last look count as progress of the call
  void close();

 private:
  void on_open() override;
  void on_input() override;
  void on_sent() override {}
  void on_eof() override;
  void on_failed(const Error& error) override;

  bool feed(const std::shared_ptr<CallState>& call);
  bool on_step(const std::shared_ptr<CallState>& call, HttpParser::State before,
               std::string_view body);
  void finish(const std::shared_ptr<CallState>& call);

  ClientOwner& owner_;
  std::unique_ptr<Stream> stream_;
  HttpParser parser_;
  std::shared_ptr<CallState> call_;  // null when idle
  uint64_t moved_ = 0;
  bool open_ = false;
  bool peer_done_ = false;
};

}  // namespace fairlead::net

// One connection of the HTTP server, for net/http_server.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/http_parser.h"
#include "net/http_server.h"
#include "net/http_writer.h"
#include "net/stream.h"

namespace fairlead::net {

class ServerConnection;

// What a connection needs of its server.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  virtual EventLoop& loop() = 0;
  virtual const HttpServer::Options& options() const = 0;
  virtual const HttpServer::Handler& handler() const = 0;
  virtual std::string_view date() = 0;
  // The connection has let go of its socket; it is destroyed later in this turn of the loop or in
  // the next, never inside the call.
  virtual void retire(ServerConnection& connection) = 0;
};

// Reads one request at a time and hands it to the server's handler together with an Answer, which
// stays tied to the connection until it is complete or one of the two goes away. One timer serves
// all time-outs: it looks at deadline_ when it fires, so that a request costs no timer of its own.
class ServerConnection final : public Stream::Handler {
 public:
  ServerConnection(ConnectionOwner& owner, Fd fd, std::shared_ptr<const TlsContext> tls);
  ~ServerConnection() override;

 private:
  class Answer;  // the Responder of the request that is being handled

  // opening: TLS. idle: between requests. reading: inside one. busy: the handler has it.
  // draining: the last answer is on its way, input is thrown away.
  enum class Phase { opening, idle, reading, busy, draining, closed };

  void on_open() override;
  void on_input() override;
  void on_sent() override;
  void on_eof() override;
  void on_failed(const Error& error) override;

  void process();
  bool read_request();
  void dispatch();
  void send(HttpResponse response);
  void start(HttpResponse head);
  void write(std::string_view bytes);
  void finish();
  void abandon();  // the Answer was destroyed before it was complete
  void complete();
  void refuse(int status, const std::string& message);
  void drain();
  void close();
  bool may_have_body(int status) const;
  bool at_end() const;  // the peer sends no more, and all that it sent is read

  void set_deadline(Duration from_now);
  void arm_timer();
  void on_deadline();

  ConnectionOwner& owner_;
  std::unique_ptr<Stream> stream_;
  HttpParser parser_;
  std::string body_;
  Peer peer_;
  Phase phase_ = Phase::opening;
  Answer* answer_ = nullptr;
  bool processing_ = false;  // inside process(): an answer given there needs no new turn
  bool continue_sent_ = false;
  bool started_ = false;     // a streamed answer is under way
  bool chunked_ = false;     // ... in chunks
  bool bodyless_ = false;    // ... whose body is not sent: HEAD, 204, 304
  bool keep_alive_ = false;  // after this answer
  bool peer_done_ = false;   // it has sent its last byte
  int minor_version_ = 1;    // of the request
  bool head_request_ = false;
  MonoTime deadline_;
  MonoTime timer_due_;
  uint64_t moved_at_deadline_ = 0;  // whether bytes moved since deadline_ was set
  Timer timer_;
  Timer resume_;  // work that must wait until the caller's stack has unwound
};

}  // namespace fairlead::net

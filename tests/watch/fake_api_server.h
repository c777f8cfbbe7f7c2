// An API server that plays a script: the n-th request for a kind gets the n-th reply of that kind.
//
// A script has one reply a line:
//   services list 10 a=80 b=81             a whole list at version 10, Services with these ports
//   services list 10 continue=T a=80       one page of it
//   services status 410 too old            an error answer with a Status
//   services body {"kind": ...             200 with this body
//   services torn {"kind": ...             the same, but the connection ends inside the body
//   services hang                          no answer at all
//   services watch STEP; STEP; ...         a watch with these steps; it stays open after the last
// Steps: `+a=80@11` added, `~a=81@12` modified, `-a@13` deleted, `bookmark@20`, `error 410 text`,
// `line TEXT`, `part TEXT` (no newline), `long N` (a line of N bytes), `end`, `cut`.
// A kind without a (further) reply gets an empty list at version 1 and a watch that stays open.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "net/event_loop.h"
#include "net/http_client.h"
#include "net/http_server.h"

namespace fairlead::watch {

class FakeApiServer {
 public:
  explicit FakeApiServer(net::EventLoop& loop, std::string_view script = {});

  net::HttpTarget listen();  // on loopback
  Result<void> listen_unix(const std::string& path) { return server_->listen_unix(path); }
  void stop() { held_.clear(), server_.reset(); }  // every connection ends
  void add(std::string_view script);
  // One more step of the last watch of that kind that stays open.
  void step(const std::string& kind, std::string_view text);

  // "services limit=500", "services watch 10", in order; of kinds in the script only.
  const std::vector<std::string>& requests() const { return requests_; }
  size_t requests_of(std::string_view kind) const;
  const net::Headers& last_headers() const { return last_headers_; }

 private:
  void on_request(net::HttpRequest request, std::unique_ptr<net::Responder> responder);
  void play(const std::string& kind, std::string_view reply,
            std::unique_ptr<net::Responder> responder);
  bool play_step(net::Responder& responder, const std::string& kind, std::string_view text);

  net::EventLoop& loop_;
  FdLogSink sink_{2};
  Log log_{sink_, LogLevel::error};
  std::unique_ptr<net::HttpServer> server_;
  std::map<std::string, std::deque<std::string>> replies_;
  std::vector<std::string> requests_;
  net::Headers last_headers_;
  std::map<std::string, std::unique_ptr<net::Responder>> held_;  // the last open one of each kind
  std::vector<std::unique_ptr<net::Responder>> hanging_;
};

}  // namespace fairlead::watch

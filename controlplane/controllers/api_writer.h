// How a controller talks back to the API server: requests in flight on its loop, each with one
// answer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "api/json.h"
#include "net/event_loop.h"
#include "net/http_client.h"

namespace fairlead::controlplane {

struct ApiAnswer {
  int status = 0;     // 0: no answer; `error` says why
  json::value body;   // the object, or a Status
  std::string error;  // the Status' message, or what went wrong on the way

  bool ok() const { return status >= 200 && status < 300; }
};

// Belongs to the loop. Destruction cancels what is in flight.
class ApiWriter {
 public:
  using Done = std::function<void(const ApiAnswer& answer)>;

  ApiWriter(net::EventLoop& loop, net::HttpTarget target, net::Headers headers);

  // `body` null: none. The callback comes from the loop, never from inside send().
  void send(std::string method, std::string path, const json::value& body, Done done);
  size_t in_flight() const { return calls_.size(); }

 private:
  struct Call {
    std::unique_ptr<net::HttpCall> http;
    int status = 0;
    std::string body;
    Done done;
  };
  void finish(uint64_t id, const Result<void>& outcome);

  net::HttpClient client_;
  net::Headers headers_;
  uint64_t next_ = 0;
  std::map<uint64_t, Call> calls_;
};

}  // namespace fairlead::controlplane

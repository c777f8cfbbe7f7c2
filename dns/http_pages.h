// The HTTP pages of `health`, `ready` and `prometheus`: one server per address, its pages by path.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/ip.h"
#include "base/log.h"
#include "base/result.h"
#include "net/event_loop.h"
#include "net/http_server.h"

namespace fairlead::dns {

// Belongs to its loop.
class HttpPages {
 public:
  using Page = std::function<net::HttpResponse()>;

  HttpPages(net::EventLoop& loop, const Log& log) : loop_(loop), log_(log) {}

  // Adding the same path twice at one address keeps the first. `owner` is who asked for the
  // address: "Corefile:3: health".
  void add(const SocketAddress& address, std::string path, std::string owner, Page page);
  // The addresses as bound; the error names owner and address.
  Result<std::vector<SocketAddress>> listen();

 private:
  struct Site {
    std::string owner;
    std::map<std::string, Page, std::less<>> pages;
    std::unique_ptr<net::HttpServer> server;
  };

  net::EventLoop& loop_;
  Log log_;
  std::map<SocketAddress, Site> sites_;
};

}  // namespace fairlead::dns

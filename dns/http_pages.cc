#include "dns/http_pages.h"

#include "base/text.h"

namespace fairlead::dns {

void HttpPages::add(const SocketAddress& address, std::string path, std::string owner, Page page) {
  Site& site = sites_[address];
  if (site.owner.empty()) site.owner = std::move(owner);
  site.pages.emplace(std::move(path), std::move(page));
}

Result<std::vector<SocketAddress>> HttpPages::listen() {
  std::vector<SocketAddress> bound;
  for (auto& [address, site] : sites_) {
    const auto& pages = site.pages;
    site.server = std::make_unique<net::HttpServer>(
        loop_, log_,
        [&pages](const net::HttpRequest& request, std::unique_ptr<net::Responder> responder) {
          const auto page = pages.find(request.path());
          if (page == pages.end()) {
            return responder->send(net::HttpResponse::text(404, "not found\n"));
          }
          if (request.method != "GET" && request.method != "HEAD") {
            return responder->send(net::HttpResponse::text(405, "only GET is served\n"));
          }
          responder->send(page->second());
        });
    const auto at = site.server->listen(address);
    if (!at) return fail(cat(site.owner, ": ", address.to_string()), at.error());
    bound.push_back(*at);
  }
  return bound;
}

}  // namespace fairlead::dns

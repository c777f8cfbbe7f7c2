// A feed from a server that answers by a script.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/text.h"
#include "fake_api_server.h"
#include "feed_fixture.h"

namespace fairlead::watch {

class ApiFeed : public FeedFixture {
 protected:
  ApiFeed() {
    options_.min_backoff = std::chrono::milliseconds(2);
    options_.kinds = {api::Kind::service};
  }
  void start(std::string_view script) {
    server_ = std::make_unique<FakeApiServer>(loop_, script);
    connect(server_->listen());
  }
  void connect(net::HttpTarget target) {
    feed_ = make_api_feed(loop_, std::move(target), headers_, options_, log_, registry_, sink());
  }
  std::string requests() const { return join(server_->requests(), "\n"); }
  uint64_t count(std::string_view metric, Labels labels = {{"kind", "Service"}}) {
    return registry_.counter(metric, "", labels).value();
  }

  Registry registry_;
  FeedOptions options_;
  net::Headers headers_;
  std::unique_ptr<FakeApiServer> server_;
};

}  // namespace fairlead::watch

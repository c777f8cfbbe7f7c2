#include "controlplane/controllers/manager.h"

#include <thread>

#include "base/clock.h"
#include "controlplane/controllers/namespace_controller.h"
#include "controlplane/controllers/slice_controller.h"
#include "watch/feed.h"

namespace fairlead::controlplane {
namespace {

watch::FeedOptions feed_options() {
  watch::FeedOptions options;
  options.kinds = {api::Kind::namespace_, api::Kind::node, api::Kind::pod, api::Kind::service,
                   api::Kind::endpoint_slice};
  options.max_backoff = std::chrono::seconds(2);  // the server is on this machine
  return options;
}

// Everything that lives on the controllers' thread, top to bottom in the order of need.
class Controllers {
 public:
  Controllers(net::EventLoop& loop, net::HttpTarget target, net::Headers headers, const Log& log,
              Registry& registry)
      : writer_(loop, target, headers),
        slices_(loop, writer_, clock_, log, registry),
        namespaces_(loop, writer_, log),
        feed_(watch::make_api_feed(
            loop, std::move(target), std::move(headers), feed_options(), log.named("feed"),
            registry,
            [this](std::shared_ptr<const api::Snapshot> snapshot, const api::Changes& changes) {
              namespaces_.on_tick(*snapshot, changes);
              slices_.on_tick(std::move(snapshot), changes);
            })) {}

 private:
  const RealClock clock_;
  ApiWriter writer_;
  SliceController slices_;
  NamespaceController namespaces_;
  std::unique_ptr<watch::Feed> feed_;
};

}  // namespace

struct ControllerManager::Impl {
  net::HttpTarget target;
  net::Headers headers;
  Log log;
  Registry& registry;
  net::EventLoop loop;
  std::thread thread;
};

ControllerManager::ControllerManager(net::HttpTarget target, net::Headers headers, Log log,
                                     Registry& registry)
    : impl_(new Impl{std::move(target), std::move(headers), std::move(log), registry, {}, {}}) {}

ControllerManager::~ControllerManager() { stop(); }

void ControllerManager::start() {
  if (impl_->thread.joinable()) return;
  impl_->thread = std::thread([impl = impl_.get()] {
    Controllers controllers(impl->loop, impl->target, impl->headers, impl->log, impl->registry);
    impl->loop.run();
  });
}

void ControllerManager::stop() {
  if (!impl_->thread.joinable()) return;
  impl_->loop.stop();
  impl_->thread.join();
}

}  // namespace fairlead::controlplane

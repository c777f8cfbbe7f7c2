#include "dataplane/userspace/fake_kernel.h"

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

Result<void> written(FakeKernel& kernel, const std::string& write) {
  if (kernel.changed) kernel.changed(write);
  return {};
}

class FakeCapture final : public Capture {
 public:
  explicit FakeCapture(FakeKernel& kernel) : kernel_(kernel) { kernel_.capture = {}; }
  ~FakeCapture() override { kernel_.capture = {}; }

  Result<void> attach(int, int) override {
    if (!kernel_.attach_error.empty()) return fail(kernel_.attach_error);
    kernel_.capture.attached = true;
    kernel_.deferring = false;
    return {};
  }
  void detach() override { kernel_.capture.attached = false; }
  Result<void> defer() override {
    FL_TRY_VOID(kernel_.capture_door.maybe_fail("no other socket"));
    kernel_.deferring = true;
    return {};
  }
  Result<void> set(const CaptureKey& key, const CaptureValue& value) override {
    FL_TRY_VOID(kernel_.capture_door.maybe_fail(cat("refused: ", to_text(key))));
    kernel_.capture.entries.insert_or_assign(key, value);
    return written(kernel_, to_text(key, value));
  }
  Result<void> erase(const CaptureKey& key) override {
    FL_TRY_VOID(kernel_.capture_door.maybe_fail(cat("cannot remove ", to_text(key))));
    kernel_.capture.entries.erase(key);
    return written(kernel_, cat("no ", to_text(key)));
  }
  Result<CaptureState> read() const override {
    FL_TRY_VOID(kernel_.capture_door.maybe_fail("cannot read the maps"));
    return kernel_.capture;
  }

 private:
  FakeKernel& kernel_;
};

class FakeRoutes final : public LocalRoutes {
 public:
  explicit FakeRoutes(FakeKernel& kernel) : kernel_(kernel) {}

  Result<void> open() override { return kernel_.routes_door.maybe_fail("no netlink socket"); }
  Result<void> add(const Ip& ip, const std::optional<Ip>& source) override {
    FL_TRY_VOID(kernel_.routes_door.maybe_fail(cat("no route to ", ip.to_string())));
    if (kernel_.routes.contains(ip)) return fail(cat(ip.to_string(), " is local already"));
    if (source && !kernel_.addresses.contains(*source)) {
      return fail(cat(source->to_string(), " is no address of this node"));
    }
    kernel_.routes.emplace(ip, source);
    return written(kernel_, cat("route to ", ip.to_string()));
  }
  Result<void> remove(const Ip& ip) override {
    FL_TRY_VOID(kernel_.routes_door.maybe_fail(cat("the route to ", ip.to_string(), " stays")));
    if (kernel_.routes.erase(ip) == 0) return fail(cat("no route to ", ip.to_string()));
    return written(kernel_, cat("no route to ", ip.to_string()));
  }
  Result<RouteSources> list() override {
    FL_TRY_VOID(kernel_.routes_door.maybe_fail("cannot list the routes"));
    return kernel_.routes;
  }
  Result<std::set<Ip>> addresses() override {
    FL_TRY_VOID(kernel_.routes_door.maybe_fail("cannot list the addresses"));
    return kernel_.addresses;
  }

 private:
  FakeKernel& kernel_;
};

}  // namespace

std::unique_ptr<Capture> make_fake_capture(FakeKernel& kernel) {
  return std::make_unique<FakeCapture>(kernel);
}

std::unique_ptr<LocalRoutes> make_fake_routes(FakeKernel& kernel) {
  return std::make_unique<FakeRoutes>(kernel);
}

}  // namespace fairlead::dataplane::userspace

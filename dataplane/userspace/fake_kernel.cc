#include "dataplane/userspace/fake_kernel.h"

#include "base/text.h"

namespace fairlead::dataplane::userspace {
namespace {

class FakeCapture final : public Capture {
 public:
  explicit FakeCapture(FakeKernel& kernel) : kernel_(kernel) { kernel_.capture = {}; }
  ~FakeCapture() override { kernel_.capture = {}; }

  Result<void> attach(int, int) override {
    if (!kernel_.attach_error.empty()) return fail(kernel_.attach_error);
    kernel_.capture.attached = true;
    return {};
  }
  void detach() override { kernel_.capture.attached = false; }
  Result<void> set(const FlowKey& key, CaptureAction action) override {
    FL_TRY_VOID(kernel_.write(cat("capture ", key.to_string())));
    kernel_.capture.captured.insert_or_assign(key, action);
    return {};
  }
  Result<void> erase(const FlowKey& key) override {
    FL_TRY_VOID(kernel_.write(cat("end of ", key.to_string())));
    kernel_.capture.captured.erase(key);
    return {};
  }
  Result<void> add_vip(const Ip& ip) override {
    FL_TRY_VOID(kernel_.write(cat("vip ", ip.to_string())));
    kernel_.capture.vips.insert(ip);
    return {};
  }
  Result<void> erase_vip(const Ip& ip) override {
    FL_TRY_VOID(kernel_.write(cat("end of vip ", ip.to_string())));
    kernel_.capture.vips.erase(ip);
    return {};
  }
  Result<CaptureState> read() const override { return kernel_.capture; }

 private:
  FakeKernel& kernel_;
};

class FakeRoutes final : public LocalRoutes {
 public:
  explicit FakeRoutes(FakeKernel& kernel) : kernel_(kernel) {}

  Result<void> open() override { return {}; }
  Result<void> add(const Ip& ip, const std::optional<Ip>& source) override {
    FL_TRY_VOID(kernel_.write(cat("route to ", ip.to_string())));
    if (kernel_.routes.contains(ip)) return fail(cat(ip.to_string(), " is local already"));
    if (source && !kernel_.addresses.contains(*source)) {
      return fail(cat(source->to_string(), " is no address of this node"));
    }
    kernel_.routes.emplace(ip, source);
    return {};
  }
  Result<void> remove(const Ip& ip) override {
    FL_TRY_VOID(kernel_.write(cat("end of the route to ", ip.to_string())));
    if (kernel_.routes.erase(ip) == 0) return fail(cat("no route to ", ip.to_string()));
    return {};
  }
  Result<RouteSources> list() override { return kernel_.routes; }
  Result<std::set<Ip>> addresses() override { return kernel_.addresses; }

 private:
  FakeKernel& kernel_;
};

}  // namespace

Result<void> FakeKernel::write(std::string_view what) {
  if (++writes == fail_at) return fail(cat("this write was to fail: ", what));
  return {};
}

std::unique_ptr<Capture> make_fake_capture(FakeKernel& kernel) {
  return std::make_unique<FakeCapture>(kernel);
}

std::unique_ptr<LocalRoutes> make_fake_routes(FakeKernel& kernel) {
  return std::make_unique<FakeRoutes>(kernel);
}

}  // namespace fairlead::dataplane::userspace

// Capture and LocalRoutes without a kernel, for tests: they keep what they are told, and fail when
// the test says so.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dataplane/fails_once.h"
#include "dataplane/userspace/capture.h"
#include "dataplane/userspace/local_routes.h"

namespace fairlead::dataplane::userspace {

// What several fakes, one run after the other, see as one kernel. Outlives them.
struct FakeKernel {
  struct Door : FailsOnce {
    using FailsOnce::maybe_fail;
  };

  CaptureState capture;
  RouteSources routes;
  std::set<Ip> addresses;
  bool deferring = false;    // new TCP connections wait
  std::string attach_error;  // "": attach() works
  // Told of each write that was taken, if it is set.
  std::function<void(const std::string& write)> changed;
  Door capture_door, routes_door;
};

std::unique_ptr<Capture> make_fake_capture(FakeKernel& kernel);  // its state ends with it
std::unique_ptr<LocalRoutes> make_fake_routes(FakeKernel& kernel);

}  // namespace fairlead::dataplane::userspace

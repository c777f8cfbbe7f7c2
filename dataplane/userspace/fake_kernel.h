// Capture and LocalRoutes without a kernel, for tests: they keep what they are told, and fail when
// the test says so.
#pragma once

#include <memory>
#include <string>

#include "dataplane/userspace/capture.h"
#include "dataplane/userspace/local_routes.h"

namespace fairlead::dataplane::userspace {

// What several fakes, one run after the other, see as one kernel. Outlives them.
struct FakeKernel {
  CaptureState capture;
  RouteSources routes;
  std::set<Ip> addresses;
  size_t writes = 0;
  size_t fail_at = 0;        // the write with this number fails, counting from 1; 0: none
  std::string attach_error;  // "": attach() works

  // Counts one write and says whether it is the one to fail.
  Result<void> write(std::string_view what);
};

std::unique_ptr<Capture> make_fake_capture(FakeKernel& kernel);  // its state ends with it
std::unique_ptr<LocalRoutes> make_fake_routes(FakeKernel& kernel);

}  // namespace fairlead::dataplane::userspace

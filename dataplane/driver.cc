#include "dataplane/driver.h"

#include "base/text.h"

namespace fairlead::dataplane {

Result<std::vector<Drift>> Driver::verify(bool) {
  return fail(cat("the ", mode(), " mode cannot read the kernel back"));
}

std::vector<std::string> Driver::kernel_entries(const api::ObjectKey&) const { return {}; }

}  // namespace fairlead::dataplane

// A kubeconfig: an error names the file, and what is accepted leads to a server. Files that it
// names are looked for beside it, where there are none.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/text.h"
#include "watch/kubeconfig.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fairlead;
  // An absolute path could be a device that never ends, or never begins.
  if (std::string_view(reinterpret_cast<const char*>(data), size).find("/dev") !=
      std::string_view::npos) {
    return 0;
  }
  const int fd = memfd_create("kubeconfig", MFD_CLOEXEC);
  CHECK(fd >= 0);
  CHECK(write(fd, data, size) == static_cast<ssize_t>(size));
  const std::string path = cat("/proc/self/fd/", fd);
  if (const auto access = watch::load_kubeconfig(path)) {
    CHECK(!access->server.empty());
    CHECK(!access->target.unix_path.empty() || !access->target.host.empty());
  } else {
    CHECK(access.error().message.starts_with(path));
  }
  close(fd);
  return 0;
}

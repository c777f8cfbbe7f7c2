// The loaded BPF object: its programs, and its maps, which are the pinned ones where there are any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "bpf/shared/marks.h"
#include "dataplane/ebpf/driver.h"
#include "dataplane/ebpf/flow_maps.h"
#include "dataplane/ebpf/kernel_maps.h"
#include "dataplane/ebpf/pins.h"

namespace fairlead::dataplane::ebpf {

// The cgroup programs, in the order in which they are attached. Answers are translated before the
// first request is.
struct SocketHook {
  const char* name;          // of program, link pin and function in the BPF object
  int attach_type;           // enum bpf_attach_type
  bool EbpfSupport::* need;  // false: this kernel has no such hook
};
const std::vector<SocketHook>& socket_hooks();

class Object {
 public:
  // Maps that are pinned in another size are copied into new ones. Pins every map and program.
  static Result<std::unique_ptr<Object>> load(const Pins& pins, const EbpfOptions& options,
                                              const EbpfSupport& support);
  ~Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  KernelMaps::Fds map_fds() const;
  int map_fd(const std::string& name) const;      // -1: no such map; "conntrack": that of now
  int program_fd(const std::string& name) const;  // -1: not loaded
  fl_marks& marks() const;                        // shared with the programs; new ones: everything
  EntryTypes conntrack_types() const;
  // Gives the conntrack map the size that the options want, and ends what an earlier run began.
  // Programs that use another map than our `flows` must be gone. Its descriptor may be another one
  // afterwards. Returns how many entries moved.
  Result<size_t> resize_flows();

 private:
  struct Impl;
  explicit Object(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dataplane::ebpf

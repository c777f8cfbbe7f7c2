// Where the driver's maps, programs and links are pinned, and the bpffs that holds them.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace fairlead::dataplane::ebpf {

class Pins {
 public:
  explicit Pins(std::string bpffs);

  // Mounts a bpffs on the folder when it is none, and makes the folders of this layout.
  Result<void> open();

  std::string map(const std::string& name) const { return root_ + "/maps/" + name; }
  std::string link(const std::string& name) const { return root_ + "/links/" + name; }
  std::vector<std::string> links() const;  // names of the pins of this layout
  std::string program(const std::string& name) const { return root_ + "/programs/" + name; }

  // The link of an older layout, or "".
  std::string older_link(const std::string& name) const;
  std::string older_map(const std::string& name) const;  // the same for maps
  bool has_older() const { return !older().empty(); }
  void remove_older() const;

  // Takes away every layout, and the mount if it was made by open(), now or in an earlier run.
  Result<void> remove_all() const;

 private:
  std::vector<std::string> older() const;  // folders of other layouts

  std::string bpffs_, home_, root_;  // <bpffs>, <bpffs>/fairlead, <bpffs>/fairlead/v<layout>
};

// Replaces what is pinned at `path`; between the two nothing is missing.
Result<void> pin(int fd, const std::string& path);

}  // namespace fairlead::dataplane::ebpf

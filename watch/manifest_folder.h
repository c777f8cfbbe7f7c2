// The manifests below a folder as objects: what each file last had that was good, and what is wrong
// with it now. Reading is synchronous. Belongs to one thread.
#pragma once

#include <sys/stat.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/schema.h"
#include "api/snapshot.h"
#include "api/validate.h"
#include "base/clock.h"
#include "base/result.h"
#include "watch/file_events.h"

namespace fairlead::watch {

class ManifestFolder {
 public:
  ManifestFolder(std::string directory, api::Schema schema, Duration settle)
      : directory_(std::move(directory)), schema_(std::move(schema)), settle_(settle) {}

  struct Look {
    bool changed = false;              // objects() may differ
    bool unsettled = false;            // some file is being written: look again soon
    std::vector<std::string> folders;  // that exist, for FileEvents::follow()
  };
  // Reads the files that are new or different. A file that is being written is left for later,
  // one that is gone takes its objects with it, one that is bad keeps those that it had. The error
  // says why the folder itself cannot be read; then nothing changes.
  Result<Look> look(const FileEvents::Seen& seen);

  // Objects by kind and key; of two files with the same object the later path counts.
  std::map<api::Change, api::Object> objects() const;
  std::vector<std::string> errors() const;       // files: "path:line: problem"
  std::vector<std::string> bad_objects() const;  // objects left out, or kept as they were

 private:
  struct Stamp {
    uint64_t device = 0, inode = 0, size = 0;
    int64_t modified_ns = 0, changed_ns = 0;  // its content; also its mode, owner and name
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  struct File {
    Stamp stamp;
    std::vector<api::Object> objects;
    std::vector<api::Problem> problems;
  };

  static std::optional<Stamp> stamp_of(const std::string& path);
  bool settled(const Stamp& stamp) const;
  bool read(const std::string& path, const Stamp& stamp, File& file);
  void take_objects(api::Manifests manifests, File& file);

  std::string directory_;
  api::Schema schema_;
  Duration settle_;
  std::map<std::string, File> files_;
  bool first_ = true;
};

}  // namespace fairlead::watch

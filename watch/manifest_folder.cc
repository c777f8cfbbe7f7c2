#include "watch/manifest_folder.h"

#include <filesystem>

#include "api/manifest_files.h"
#include "base/text.h"

namespace fairlead::watch {
namespace {

namespace fs = std::filesystem;

constexpr size_t max_listed = 100;
constexpr int64_t ns_per_s = 1'000'000'000;

// As read_manifests() names the objects of its problems.
std::string title(const api::Object& object) {
  return cat(api::info(api::kind_of(object)).name, ' ', api::meta_of(object).key.to_string());
}

// Links to folders are not followed: they could lead round in a circle.
std::vector<std::string> folders_below(const std::string& directory) {
  std::vector<std::string> out{directory};
  std::error_code error;
  fs::recursive_directory_iterator at(directory, error), end;
  for (; !error && at != end; at.increment(error)) {
    std::error_code gone;
    if (!at->is_directory(gone) || at->is_symlink(gone)) continue;
    if (at->path().filename().string().starts_with('.')) {
      at.disable_recursion_pending();
    } else {
      out.push_back(at->path().string());
    }
  }
  return out;
}

}  // namespace

std::optional<ManifestFolder::Stamp> ManifestFolder::stamp_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  const auto ns = [](const timespec& time) { return time.tv_sec * ns_per_s + time.tv_nsec; };
  return Stamp{status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
               ns(status.st_mtim), ns(status.st_ctim)};
}

// Nobody has written to it for a while, going by the file system's own clock.
bool ManifestFolder::settled(const Stamp& stamp) const {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t age = now.tv_sec * ns_per_s + now.tv_nsec - stamp.modified_ns;
  return age < 0 || age >= settle_.count();
}

Result<ManifestFolder::Look> ManifestFolder::look(const FileEvents::Seen& seen) {
  if (!fs::is_directory(directory_)) return fail(cat(directory_, ": no such folder"));
  auto paths = api::manifest_files(directory_);
  if (!paths) return fail(cat(directory_, ": ", paths.error().message));
  Look out;
  out.folders = folders_below(directory_);
  std::set<std::string> present(paths->begin(), paths->end());
  out.changed =
      std::erase_if(files_, [&](const auto& entry) { return !present.contains(entry.first); }) > 0;
  for (const std::string& path : present) {
    const auto stamp = stamp_of(path);
    if (!stamp) {  // vanished since the listing
      out.unsettled = true;
      continue;
    }
    // A close event is a promise that the content is whole; without one only time tells.
    const bool known = files_.contains(path);
    const bool finished = seen.finished.contains(path);
    if (known && files_[path].stamp == *stamp && !finished) continue;
    // At the start there is no event to wait for: the file is taken as it is.
    if (!first_ && !finished && !settled(*stamp)) {
      out.unsettled = true;
      continue;
    }
    File& file = files_[path];
    if (read(path, *stamp, file)) {
      out.changed = true;
    } else {
      out.unsettled = true;
      if (!known) files_.erase(path);
    }
  }
  first_ = false;
  return out;
}

// False when the file changed under our hands.
bool ManifestFolder::read(const std::string& path, const Stamp& stamp, File& file) {
  const auto text = api::read_manifest_file(path);
  if (stamp_of(path) != stamp) return false;
  file.stamp = stamp;
  file.problems.clear();
  if (!text) {
    file.problems.push_back({.file = path, .object = "", .message = text.error().message});
    return true;
  }
  api::Manifests manifests;
  api::read_manifests(*text, path, schema_, manifests);
  file.problems = std::move(manifests.problems);
  take_objects(std::move(manifests), file);
  return true;
}

// The new objects, and of the old ones those that the file still means to have: the ones that are
// bad now, or all when not even the file could be parsed.
void ManifestFolder::take_objects(api::Manifests manifests, File& file) {
  std::set<std::string> bad, good;
  bool unreadable = false;
  for (const api::Problem& problem : file.problems) {
    unreadable |= problem.object.empty();
    bad.insert(problem.object);
  }
  std::vector<api::Object> objects;
  for (api::LocatedObject& located : manifests.objects) {
    good.insert(title(located.object));
    objects.push_back(std::move(located.object));
  }
  for (api::Object& old : file.objects) {
    const std::string name = title(old);
    if (!good.contains(name) && (unreadable || bad.contains(name))) {
      objects.push_back(std::move(old));
    }
  }
  file.objects = std::move(objects);
}

std::map<api::Change, api::Object> ManifestFolder::objects() const {
  std::map<api::Change, api::Object> out;
  for (const auto& [path, file] : files_) {
    for (const api::Object& object : file.objects) {
      out.insert_or_assign({api::kind_of(object), api::meta_of(object).key}, object);
    }
  }
  return out;
}

std::vector<std::string> ManifestFolder::errors() const {
  std::vector<std::string> out;
  for (const auto& [path, file] : files_) {
    for (const api::Problem& problem : file.problems) {
      if (out.size() < max_listed && problem.object.empty()) out.push_back(problem.to_string());
    }
  }
  return out;
}

std::vector<std::string> ManifestFolder::bad_objects() const {
  std::vector<std::string> out;
  for (const auto& [path, file] : files_) {
    for (const api::Problem& problem : file.problems) {
      if (out.size() < max_listed && !problem.object.empty()) out.push_back(problem.to_string());
    }
  }
  return out;
}

}  // namespace fairlead::watch

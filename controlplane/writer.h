// What it means to create, update, patch and delete an object: the rules between an HTTP request
// and the store. Every call runs on the API's loop; `done` runs there when the change is durable,
// or at once when it is refused.
// Source: apiserver pkg/registry/generic (object rules), spec of each option in meta/v1.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "controlplane/api_error.h"
#include "controlplane/objects/allocator.h"
#include "controlplane/objects/rules.h"
#include "controlplane/selector.h"
#include "controlplane/store.h"

namespace fairlead::controlplane {

enum class FieldValidation { ignore, warn, strict };

struct WriteOptions {
  bool dry_run = false;
  FieldValidation validation = FieldValidation::warn;
  std::vector<std::string> duplicates;  // fields that the body had twice
};

struct DeleteOptions {
  bool dry_run = false;
  std::optional<int64_t> grace_s;
  std::string uid, resource_version;  // preconditions; "" = none
};

struct Target {
  const Resource* resource = nullptr;
  std::string ns, name, subresource;
};

struct Written {
  ObjectPtr object;  // as stored; with dry_run as it would be; for a removal the last state
  bool created = false;
  bool removed = false;
  std::vector<std::string> warnings;
};

class Writer {
 public:
  using Done = std::move_only_function<void(Outcome<Written>)>;

  // All of them must outlive this.
  Writer(Store& store, const ResourceTable& resources, const ObjectRules& rules,
         const AllocatorConfig& addresses, const Clock& clock);

  // The Services that the store holds keep what they have. After Store::load().
  void adopt_services();

  void create(Target target, json::value document, WriteOptions options, Done done);
  void update(Target target, json::value document, WriteOptions options, Done done);
  void patch(Target target, PatchType type, const json::value& patch, WriteOptions options,
             Done done);
  void remove(const Target& target, const DeleteOptions& options, Done done);
  // `done` gets what was selected, as it was before.
  void remove_selected(const Resource& resource, const Selection& selection,
                       const DeleteOptions& options,
                       std::move_only_function<void(Outcome<std::vector<ObjectPtr>>)> done);
  // Deletes what has outlived its kind's ttl_s.
  void sweep();

 private:
  struct Update;

  Outcome<std::monostate> check_body(const Target& target, json::value& document,
                                     const WriteOptions& options,
                                     std::vector<std::string>& warnings) const;
  Outcome<std::monostate> check_namespace(const Target& target) const;
  Outcome<std::monostate> name_new(Target& target, json::value& document) const;
  Outcome<std::monostate> check_update(const Update& update) const;
  Outcome<std::monostate> admit(Update& update);
  void take_subresource(Update& update) const;
  void apply(Update update, Done done);
  void put(const Target& target, uint64_t expected, json::value document, Written result,
           Done done);
  void drop(const Target& target, const ObjectPtr& head, const json::value& document,
            Written result, Done done);

  Store& store_;
  const ResourceTable& resources_;
  const ObjectRules& rules_;
  AllocatorConfig addresses_;
  std::optional<ServiceAllocator> allocator_;
  const Clock& clock_;
};

}  // namespace fairlead::controlplane

// The kinds that the control plane serves, as one table. Discovery, routing, tables, selectors,
// OpenAPI and validation are all read from these rows: a further kind is a further row here, its
// printer in table_*.cc and, when it has rules of its own, a function in objects/.
// Source of the names: the Kubernetes 1.32 API, api/data/api-resources-1.32.json.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead::controlplane {

// One printed column (meta.k8s.io/v1 TableColumnDefinition).
struct Column {
  std::string_view name;
  std::string_view type = "string";  // "string", "integer", "boolean", "date"
  int32_t priority = 0;              // > 0: only with -o wide
  std::string_view format = {};      // "name" for the first column
};

// A field that a fieldSelector may name. metadata.name and metadata.namespace are always there.
struct SelectableField {
  std::string_view label;             // "spec.nodeName"
  std::string_view path = {};         // where the value is; "" = the label itself
  std::string_view when_absent = {};  // what an absent field counts as: "false"
};

struct Subresource {
  std::string_view name;  // "status", "finalize"
  std::vector<std::string_view> verbs;
};

struct Resource {
  std::string_view group;    // "" for the core group
  std::string_view version;  // "v1"
  std::string_view plural;   // "endpointslices": the path segment
  std::string_view singular;
  std::string_view kind;
  std::string_view schema;  // definition in api-schema-1.32.json: "io.k8s.api.core.v1.Pod"
  bool namespaced = true;
  std::vector<std::string_view> short_names = {};
  std::vector<std::string_view> categories = {};
  std::vector<std::string_view> verbs = {};
  std::vector<Subresource> subresources = {};
  std::vector<Column> columns = {};
  std::vector<SelectableField> fields = {};
  bool has_generation = false;        // metadata.generation counts changes of the spec
  bool graceful = false;              // deletion waits for a node agent (pods)
  bool returns_deleted = false;       // DELETE answers with the object instead of a Status
  bool create_on_update = false;      // PUT of an absent object creates it
  bool version_required = false;      // PUT without resourceVersion is refused
  std::string_view old_version = {};  // of the same shape, for reading by old clients: "v1beta1"
  uint32_t ttl_s = 0;                 // objects older than this are dropped; 0: never

  std::string group_version() const;   // "v1", "discovery.k8s.io/v1": the apiVersion
  std::string group_resource() const;  // "pods", "ingresses.networking.k8s.io": for messages
  std::string group_kind() const;      // "Pod", "Ingress.networking.k8s.io"
  const Subresource* subresource(std::string_view name) const;
  bool has_status() const { return subresource("status") != nullptr; }
  bool allows(std::string_view verb) const;
};

// Immutable after construction; rows keep their addresses as long as the table lives.
class ResourceTable {
 public:
  ResourceTable();  // the built-in kinds

  std::span<const Resource> all() const { return rows_; }
  // By its version or its old version.
  const Resource* find(std::string_view group, std::string_view version,
                       std::string_view plural) const;
  const Resource* find_kind(std::string_view api_version, std::string_view kind) const;
  // Group versions in order of preference, core first: {"v1", "discovery.k8s.io/v1", ...}.
  std::vector<std::string> group_versions() const;
  size_t index(const Resource& row) const { return static_cast<size_t>(&row - rows_.data()); }

 private:
  std::vector<Resource> rows_;
};

}  // namespace fairlead::controlplane

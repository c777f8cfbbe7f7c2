// Snapshots to RouteTables, with work in proportion to the change.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "api/snapshot.h"
#include "ingress/class_rules.h"
#include "ingress/ingress_claims.h"
#include "ingress/route_table.h"

namespace fairlead::ingress {

// Belongs to one thread. Where Ingresses contradict each other the oldest one wins (creation time,
// then namespace and name) and the other one's problem is told; nothing else of it is affected.
class RouteBuilder {
 public:
  struct Options {
    std::string controller;
    bool watch_without_class = false;
  };
  explicit RouteBuilder(Options options) : options_(std::move(options)) {}

  // The table for `snapshot`, which differs by `changes` from the one of the previous call.
  std::shared_ptr<const RouteTable> update(const api::Snapshot& snapshot,
                                           const api::Changes& changes);

  // Of the last table, sorted by object.
  const std::vector<std::string>& problems() const { return problems_; }

 private:
  using Age = std::tuple<std::string, std::string, std::string>;  // creation, namespace, name
  using Certificates = std::map<std::string, std::shared_ptr<const Certificate>>;

  struct Served {
    Age age;
    IngressClaims claims;
    std::map<std::string, std::shared_ptr<const RouteOwner>> owners;  // by Service name
    Certificates certificates;                      // by host; null where the Secret is broken
    std::map<std::string, std::string> tls_fields;  // by host
    std::vector<std::string> tls_problems;
  };
  struct BackendState {
    uint32_t id = 0;
    size_t uses = 0;
    std::shared_ptr<const Backend> backend;
  };
  struct SecretState {
    std::set<api::ObjectKey> users;  // Ingresses
    std::shared_ptr<const api::Secret> secret;
    Result<std::shared_ptr<const Certificate>> certificate;
  };

  std::set<api::ObjectKey> dirty_ingresses(const api::Snapshot& snapshot,
                                           const api::Changes& changes);
  void refresh_backends(const api::Snapshot& snapshot, const api::Changes& changes);
  void refresh_ingress(const api::Snapshot& snapshot, const api::ObjectKey& key);
  void read_certificates(const api::Snapshot& snapshot, const api::ObjectKey& key, Served& served);
  void adopt(const api::Snapshot& snapshot, const api::ObjectKey& key, Served served);
  void drop(const api::ObjectKey& key);
  void use_backends(const api::Snapshot& snapshot, const IngressClaims& claims);
  void release_backends(const IngressClaims& claims);
  void use_backend(const api::Snapshot& snapshot, const BackendKey& key);
  void release_backend(const BackendKey& key);
  const Result<std::shared_ptr<const Certificate>>& certificate_of(const api::Snapshot& snapshot,
                                                                   const api::ObjectKey& secret,
                                                                   const api::ObjectKey& user);
  void mark_differences(const Served* before, const Served* after);
  void rebuild_host(const std::string& host);
  void rebuild_certificate(const std::string& host);
  void rebuild_default();
  void collect_problems();
  Route make_route(Served& served, const PathClaim* claim, const BackendKey& backend);
  void release_secrets(const api::ObjectKey& user, const IngressClaims& before,
                       const IngressClaims& after);

  Options options_;
  ClassRules classes_;
  std::map<api::ObjectKey, Served> served_;
  std::unordered_map<std::string, std::set<Age>> host_claims_, tls_claims_;
  std::set<Age> catch_alls_;
  std::map<BackendKey, BackendState> backends_;
  std::vector<uint32_t> free_ids_;
  uint32_t next_backend_ = 0;
  uint32_t next_owner_ = 0;
  std::map<api::ObjectKey, SecretState> secrets_;

  std::set<std::string> dirty_hosts_, dirty_tls_;
  bool dirty_default_ = false, dirty_problems_ = false;
  std::map<std::string, std::vector<std::string>> conflicts_;  // by host; "tls host"; "default"
  std::vector<std::string> problems_;
  RouteTable table_;
};

}  // namespace fairlead::ingress

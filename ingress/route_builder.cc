#include "ingress/route_builder.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "ingress/backend_resolver.h"

namespace fairlead::ingress {
namespace {

api::ObjectKey key_of(const std::tuple<std::string, std::string, std::string>& age) {
  return {std::get<1>(age), std::get<2>(age)};
}

std::string problem_of(const api::ObjectKey& ingress, std::string_view text) {
  return cat("Ingress ", ingress.to_string(), ": ", text);
}

template <class Visit>
void each_backend(const IngressClaims& claims, Visit visit) {
  if (claims.default_backend) visit(*claims.default_backend, "spec.defaultBackend");
  for (const auto& [host, paths] : claims.hosts) {
    for (const PathClaim& path : paths) visit(path.backend, path.field + ".backend");
  }
}

}  // namespace

std::shared_ptr<const RouteTable> RouteBuilder::update(const api::Snapshot& snapshot,
                                                       const api::Changes& changes) {
  refresh_backends(snapshot, changes);
  for (const api::ObjectKey& key : dirty_ingresses(snapshot, changes)) {
    refresh_ingress(snapshot, key);
  }
  for (const std::string& host : dirty_hosts_) rebuild_host(host);
  for (const std::string& host : dirty_tls_) rebuild_certificate(host);
  if (dirty_default_) rebuild_default();
  if (dirty_problems_) collect_problems();
  dirty_hosts_.clear();
  dirty_tls_.clear();
  dirty_default_ = dirty_problems_ = false;
  return std::make_shared<RouteTable>(table_);
}

std::set<api::ObjectKey> RouteBuilder::dirty_ingresses(const api::Snapshot& snapshot,
                                                       const api::Changes& changes) {
  std::set<api::ObjectKey> dirty;
  if (changes.everything || changes.touches(api::Kind::ingress_class)) {
    classes_ = ClassRules(snapshot, options_.controller, options_.watch_without_class);
    for (const auto& [key, served] : served_) dirty.insert(key);
    snapshot.each<api::Ingress>(
        [&](const api::Ingress& ingress) { dirty.insert(ingress.meta.key); });
  }
  for (const api::Change& change : changes.objects) {
    if (change.kind == api::Kind::ingress) dirty.insert(change.key);
    if (change.kind != api::Kind::secret) continue;
    if (const auto secret = secrets_.find(change.key); secret != secrets_.end()) {
      dirty.insert(secret->second.users.begin(), secret->second.users.end());
    }
  }
  return dirty;
}

void RouteBuilder::refresh_backends(const api::Snapshot& snapshot, const api::Changes& changes) {
  const auto refresh = [&](const BackendKey& key, BackendState& state) {
    auto next = std::make_shared<Backend>(resolve_backend(snapshot, key));
    if (*next == *state.backend) return;
    dirty_problems_ |= next->problem != state.backend->problem;
    state.backend = std::move(next);
    table_.backends.set(state.id, state.backend);
  };
  if (changes.everything) {
    for (auto& [key, state] : backends_) refresh(key, state);
    return;
  }
  for (const api::ObjectKey& service : changes.services) {
    for (auto it = backends_.lower_bound({service, ""});
         it != backends_.end() && it->first.service == service; ++it) {
      refresh(it->first, it->second);
    }
  }
}

void RouteBuilder::refresh_ingress(const api::Snapshot& snapshot, const api::ObjectKey& key) {
  const auto ingress = snapshot.find<api::Ingress>(key);
  if (ingress == nullptr || !classes_.serves(*ingress)) {
    drop(key);
    return;
  }
  Served next{.age = {ingress->meta.creation_timestamp, key.ns, key.name},
              .claims = read_claims(*ingress)};
  read_certificates(snapshot, key, next);
  adopt(snapshot, key, std::move(next));
}

const Result<std::shared_ptr<const Certificate>>& RouteBuilder::certificate_of(
    const api::Snapshot& snapshot, const api::ObjectKey& secret, const api::ObjectKey& user) {
  const auto found = snapshot.find<api::Secret>(secret);
  auto [it, inserted] = secrets_.try_emplace(secret);
  SecretState& state = it->second;
  state.users.insert(user);
  const bool same =
      !inserted && (state.secret == found ||
                    (state.secret != nullptr && found != nullptr && *state.secret == *found));
  state.secret = found;
  if (!same) {
    if (found == nullptr) {
      state.certificate = fail("not found");
    } else {
      state.certificate = Certificate::from_secret(*found);
    }
  }
  return state.certificate;
}

void RouteBuilder::read_certificates(const api::Snapshot& snapshot, const api::ObjectKey& key,
                                     Served& served) {
  for (const TlsRequest& request : served.claims.tls) {
    const auto& certificate = certificate_of(snapshot, {key.ns, request.secret}, key);
    const std::string secret = cat(request.field, ".secretName: Secret '", request.secret, "' ");
    std::vector<std::string> hosts = request.hosts;
    if (!certificate) {
      const std::string_view why = certificate.error().message;
      served.tls_problems.push_back(cat(secret, why == "not found" ? "" : "is not usable: ", why,
                                        ": serving the default certificate"));
    } else {
      if (hosts.empty()) hosts = (*certificate)->names();
      if ((*certificate)->expired()) {
        served.tls_problems.push_back(secret + "holds an expired certificate");
      }
    }
    for (const std::string& host : hosts) {
      served.certificates.emplace(host, certificate ? *certificate : nullptr);
      served.tls_fields.emplace(host, request.field);
    }
  }
}

void RouteBuilder::adopt(const api::Snapshot& snapshot, const api::ObjectKey& key, Served next) {
  const auto found = served_.find(key);
  Served* before = found == served_.end() ? nullptr : &found->second;
  if (before != nullptr) next.owners = before->owners;
  use_backends(snapshot, next.claims);
  mark_differences(before, &next);
  if (before != nullptr) {
    release_backends(before->claims);
    release_secrets(key, before->claims, next.claims);
  }
  for (const auto& [host, paths] : next.claims.hosts) host_claims_[host].insert(next.age);
  for (const auto& [host, certificate] : next.certificates) tls_claims_[host].insert(next.age);
  if (next.claims.catch_all) catch_alls_.insert(next.age);
  served_[key] = std::move(next);
}

void RouteBuilder::drop(const api::ObjectKey& key) {
  const auto found = served_.find(key);
  if (found == served_.end()) return;
  mark_differences(&found->second, nullptr);
  release_backends(found->second.claims);
  release_secrets(key, found->second.claims, {});
  served_.erase(found);
}

void RouteBuilder::release_secrets(const api::ObjectKey& user, const IngressClaims& before,
                                   const IngressClaims& after) {
  for (const TlsRequest& request : before.tls) {
    const auto same = [&](const TlsRequest& other) { return other.secret == request.secret; };
    if (std::any_of(after.tls.begin(), after.tls.end(), same)) continue;
    const auto secret = secrets_.find({user.ns, request.secret});
    if (secret == secrets_.end()) continue;
    secret->second.users.erase(user);
    if (secret->second.users.empty()) secrets_.erase(secret);
  }
}

// Takes `before` out of the claim indexes and marks what the change touches, nothing more: an edit
// of one rule in an Ingress with ten thousand hosts rebuilds one host.
void RouteBuilder::mark_differences(const Served* before, const Served* after) {
  static const Served empty{};
  const Served& a = before == nullptr ? empty : *before;
  const Served& b = after == nullptr ? empty : *after;
  const bool whole = a.age != b.age || a.claims.default_backend != b.claims.default_backend ||
                     a.claims.redirect_to_https != b.claims.redirect_to_https;
  const auto erase = [&](auto& index, const std::string& host) {
    const auto found = index.find(host);
    if (found == index.end()) return;
    found->second.erase(a.age);
    if (found->second.empty()) index.erase(found);
  };
  for (const auto& [host, paths] : a.claims.hosts) {
    const auto other = b.claims.hosts.find(host);
    if (whole || other == b.claims.hosts.end() || other->second != paths) dirty_hosts_.insert(host);
    erase(host_claims_, host);
  }
  for (const auto& [host, paths] : b.claims.hosts) {
    if (whole || !a.claims.hosts.contains(host)) dirty_hosts_.insert(host);
  }
  if (whole || a.certificates != b.certificates || a.tls_fields != b.tls_fields) {
    for (const auto& [host, certificate] : a.certificates) dirty_tls_.insert(host);
    for (const auto& [host, certificate] : b.certificates) dirty_tls_.insert(host);
  }
  for (const auto& [host, certificate] : a.certificates) erase(tls_claims_, host);
  if (a.claims.catch_all) catch_alls_.erase(a.age);
  dirty_default_ |= a.claims.catch_all || b.claims.catch_all;
  for (const Served* served : {&a, &b}) {
    dirty_problems_ |= !served->claims.problems.empty() || !served->tls_problems.empty();
    each_backend(served->claims, [&](const BackendKey& key, const std::string&) {
      const auto state = backends_.find(key);
      dirty_problems_ |= state != backends_.end() && !state->second.backend->problem.empty();
    });
  }
}

void RouteBuilder::use_backends(const api::Snapshot& snapshot, const IngressClaims& claims) {
  each_backend(claims,
               [&](const BackendKey& key, const std::string&) { use_backend(snapshot, key); });
}

void RouteBuilder::release_backends(const IngressClaims& claims) {
  each_backend(claims, [&](const BackendKey& key, const std::string&) { release_backend(key); });
}

void RouteBuilder::use_backend(const api::Snapshot& snapshot, const BackendKey& key) {
  auto [it, inserted] = backends_.try_emplace(key);
  ++it->second.uses;
  if (!inserted) return;
  if (free_ids_.empty()) {
    it->second.id = next_backend_++;
  } else {
    it->second.id = free_ids_.back();
    free_ids_.pop_back();
  }
  it->second.backend = std::make_shared<Backend>(resolve_backend(snapshot, key));
  table_.backends.set(it->second.id, it->second.backend);
}

// The slot keeps its last backend until the id is used again: no route of a newer table names it.
void RouteBuilder::release_backend(const BackendKey& key) {
  const auto found = backends_.find(key);
  CHECK(found != backends_.end());
  if (--found->second.uses > 0) return;
  free_ids_.push_back(found->second.id);
  backends_.erase(found);
}

Route RouteBuilder::make_route(Served& served, const PathClaim* claim, const BackendKey& backend) {
  auto& owner = served.owners[backend.service.name];
  if (owner == nullptr) {
    owner = std::make_shared<RouteOwner>(
        RouteOwner{key_of(served.age), backend.service.name, next_owner_++});
  }
  return {.type = claim == nullptr ? api::PathType::prefix : claim->type,
          .path = claim == nullptr ? "" : claim->path,
          .backend = backends_.at(backend).id,
          .owner = owner,
          .redirect_to_https = served.claims.redirect_to_https};
}

void RouteBuilder::rebuild_host(const std::string& host) {
  if (const HostRoutes* old = table_.hosts.find(host)) table_.route_count -= old->routes().size();
  dirty_problems_ |= conflicts_.erase(host) > 0;
  const auto claims = host_claims_.find(host);
  if (claims == host_claims_.end()) {
    table_.hosts.set(host, nullptr);
    return;
  }
  std::vector<Route> routes;
  std::optional<Route> fallback;
  std::map<std::pair<api::PathType, std::string_view>, api::ObjectKey> taken;
  for (const Age& age : claims->second) {  // oldest first
    const api::ObjectKey key = key_of(age);
    Served& served = served_.at(key);
    for (const PathClaim& path : served.claims.hosts.at(host)) {
      const auto [winner, free] = taken.try_emplace({path.type, path.path}, key);
      if (free) {
        routes.push_back(make_route(served, &path, path.backend));
        continue;
      }
      conflicts_[host].push_back(problem_of(
          key, cat(path.field, ": host '", host, "' path '", path.path,
                   "' is already taken by Ingress ", winner->second.to_string(), ": ignored")));
      dirty_problems_ = true;
    }
    if (!fallback && served.claims.default_backend) {
      fallback = make_route(served, nullptr, *served.claims.default_backend);
    }
  }
  table_.route_count += routes.size();
  table_.hosts.set(host, std::make_shared<HostRoutes>(std::move(routes), std::move(fallback)));
}

void RouteBuilder::rebuild_certificate(const std::string& host) {
  const std::string slot = "tls " + host;
  dirty_problems_ |= conflicts_.erase(slot) > 0;
  std::shared_ptr<const Certificate> chosen;
  api::ObjectKey winner;
  if (const auto claims = tls_claims_.find(host); claims != tls_claims_.end()) {
    for (const Age& age : claims->second) {
      const api::ObjectKey key = key_of(age);
      const Served& served = served_.at(key);
      const auto& certificate = served.certificates.at(host);
      if (certificate == nullptr) continue;
      if (chosen == nullptr) {
        chosen = certificate;
        winner = key;
      } else if (chosen != certificate) {
        conflicts_[slot].push_back(problem_of(
            key, cat(served.tls_fields.at(host), ": host '", host,
                     "' already has a certificate by Ingress ", winner.to_string(), ": ignored")));
        dirty_problems_ = true;
      }
    }
  }
  table_.certificates.set(host, std::move(chosen));
}

void RouteBuilder::rebuild_default() {
  dirty_problems_ |= conflicts_.erase("default backend") > 0;
  table_.default_backend.reset();
  for (const Age& age : catch_alls_) {
    const api::ObjectKey key = key_of(age);
    Served& served = served_.at(key);
    if (!table_.default_backend) {
      table_.default_backend = make_route(served, nullptr, *served.claims.default_backend);
      continue;
    }
    conflicts_["default backend"].push_back(
        problem_of(key, cat("spec.defaultBackend: the default backend is already that of Ingress ",
                            table_.default_backend->owner->ingress.to_string(), ": ignored")));
    dirty_problems_ = true;
  }
}

void RouteBuilder::collect_problems() {
  problems_.clear();
  for (const auto& [key, served] : served_) {
    for (const std::string& text : served.claims.problems) {
      problems_.push_back(problem_of(key, text));
    }
    for (const std::string& text : served.tls_problems) problems_.push_back(problem_of(key, text));
    each_backend(served.claims, [&](const BackendKey& backend, const std::string& field) {
      const Backend& state = *backends_.at(backend).backend;
      if (state.problem.empty()) return;
      const std::string_view effect = state.endpoints.empty() ? ": answering 503" : "";
      problems_.push_back(problem_of(key, cat(field, ".service: ", state.problem, effect)));
    });
  }
  for (const auto& [place, texts] : conflicts_) {
    problems_.insert(problems_.end(), texts.begin(), texts.end());
  }
  std::sort(problems_.begin(), problems_.end());
}

}  // namespace fairlead::ingress

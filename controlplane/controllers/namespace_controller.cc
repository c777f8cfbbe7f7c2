#include "controlplane/controllers/namespace_controller.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

constexpr Duration first_retry = std::chrono::milliseconds(100);
constexpr Duration last_retry = std::chrono::seconds(10);

std::string path_in(const Resource& resource, const std::string& ns) {
  const std::string root = resource.group.empty() ? "/api/" : "/apis/";
  return cat(root, resource.group_version(), "/namespaces/", ns, '/', resource.plural);
}

}  // namespace

NamespaceController::NamespaceController(net::EventLoop& loop, ApiWriter& writer, const Log& log)
    : loop_(loop), writer_(writer), log_(log.named("namespace")) {}

void NamespaceController::on_tick(const api::Snapshot& snapshot, const api::Changes& changes) {
  const auto look = [&](const api::Namespace& object) {
    const std::string& name = object.meta.key.name;
    if (object.meta.deleting && !rounds_.contains(name)) begin(name);
  };
  if (changes.everything) {
    snapshot.each<api::Namespace>(look);
    return;
  }
  for (const api::Change& change : changes.objects) {
    if (change.kind != api::Kind::namespace_) continue;
    if (const auto object = snapshot.find<api::Namespace>(change.key)) {
      look(*object);
    } else {
      rounds_.erase(change.key.name);
    }
  }
}

void NamespaceController::begin(const std::string& name) {
  Round& round = rounds_[name];
  round.paths.clear();
  round.next = round.left = 0;
  // Pods first: what they use should outlive them.
  for (const bool pods : {true, false}) {
    for (const Resource& resource : resources_.all()) {
      if (!resource.namespaced || !resource.allows("deletecollection")) continue;
      if ((resource.kind == "Pod") == pods) round.paths.push_back(path_in(resource, name));
    }
  }
  empty_next(name);
}

void NamespaceController::empty_next(const std::string& name) {
  const auto found = rounds_.find(name);
  if (found == rounds_.end()) return;
  Round& round = found->second;
  if (round.next == round.paths.size()) return round.left == 0 ? finalize(name) : again(name);
  const std::string path = round.paths[round.next++];
  const json::value options{{"gracePeriodSeconds", 0}, {"propagationPolicy", "Background"}};
  writer_.send("DELETE", path, options, [this, name, path](const ApiAnswer& answer) {
    if (!answer.ok() && answer.status != 404) {
      log_.warn("cannot empty a namespace, trying again",
                {{"namespace", name}, {"path", path}, {"error", answer.error}});
    }
    count(name, path);
  });
}

void NamespaceController::count(const std::string& name, const std::string& path) {
  writer_.send("GET", path + "?limit=1", nullptr, [this, name](const ApiAnswer& answer) {
    const auto found = rounds_.find(name);
    if (found == rounds_.end()) return;
    const json::value* items = find(answer.body, "items");
    const bool empty =
        answer.ok() && items != nullptr && items->is_array() && items->get_array().empty();
    if (!empty) ++found->second.left;
    empty_next(name);
  });
}

void NamespaceController::finalize(const std::string& name) {
  const std::string path = "/api/v1/namespaces/" + name;
  writer_.send("GET", path, nullptr, [this, name, path](const ApiAnswer& answer) {
    if (answer.status == 404) return;  // gone already
    if (!answer.ok() || !answer.body.is_object()) return again(name);
    json::value document = answer.body;
    document.get_object()["spec"] = json::object{{"finalizers", json::array()}};
    writer_.send("PUT", path + "/finalize", document, [this, name](const ApiAnswer& done) {
      if (!done.ok() && done.status != 404) again(name);
    });
  });
}

void NamespaceController::again(const std::string& name) {
  const auto found = rounds_.find(name);
  if (found == rounds_.end()) return;
  Round& round = found->second;
  round.backoff = std::clamp(round.backoff * 2, first_retry, last_retry);
  round.timer = loop_.after(round.backoff, [this, name] {
    if (rounds_.contains(name)) begin(name);
  });
}

}  // namespace fairlead::controlplane

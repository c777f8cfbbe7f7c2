// How to reach an API server, from a kubeconfig file or from a pod's service account.
#pragma once

#include <string>

#include "base/result.h"
#include "net/http_client.h"

namespace fairlead::watch {

struct ApiAccess {
  net::HttpTarget target;
  net::Headers headers;    // Authorization: Bearer ..., or none
  std::string token_file;  // set: for FeedOptions::token_file (tokens of pods are replaced hourly)
  std::string server;      // as written, for messages
};

// `context` "" = current-context. Server may also be unix:///path. Files named in it are relative
// to the kubeconfig's folder. Unsupported user methods (exec, auth-provider) are errors by name.
Result<ApiAccess> load_kubeconfig(const std::string& path, const std::string& context = {});

// KUBERNETES_SERVICE_HOST/PORT and /var/run/secrets/kubernetes.io/serviceaccount. `root` prefixes
// the folder, for tests.
Result<ApiAccess> in_cluster(const std::string& root = {});

}  // namespace fairlead::watch

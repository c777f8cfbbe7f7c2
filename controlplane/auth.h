// Who asks, and whether they may. Two kinds of credentials: a client certificate of our own
// authority (CN = user, O = groups), and the uid at the other end of a unix socket.
// Source: Kubernetes authentication (X.509) and the system:masters bypass of authorization.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/api_error.h"
#include "controlplane/route.h"
#include "net/http.h"

namespace fairlead::controlplane {

struct User {
  std::string name;
  std::vector<std::string> groups;

  bool is_master() const;  // of system:masters, who may do everything
  friend bool operator==(const User&, const User&) = default;
};

// Uid 0 and `own_uid` are system:masters on a unix socket; nobody at all is system:anonymous.
// 401 for credentials that say something we cannot check: any Authorization header.
Outcome<User> authenticate(const net::HttpRequest& request, uid_t own_uid);

// Everyone may read the version and the health; masters may do everything. `route` null: `path`
// is not a resource.
Outcome<std::monostate> authorize(const User& user, const Route* route, std::string_view method,
                                  std::string_view path);

}  // namespace fairlead::controlplane

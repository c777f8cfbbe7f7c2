// One request on its way to its answer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "controlplane/api_error.h"
#include "controlplane/auth.h"
#include "controlplane/route.h"
#include "controlplane/view.h"
#include "controlplane/writer.h"
#include "net/http_server.h"

namespace fairlead::controlplane {

struct Exchange {
  net::HttpRequest request;
  std::unique_ptr<net::Responder> responder;
  Query query;
  User user;
  std::optional<Route> route;  // nothing: not a resource
  View view;
  MonoTime begun;

  Exchange(net::HttpRequest incoming, std::unique_ptr<net::Responder> answer, MonoTime now)
      : request(std::move(incoming)),
        responder(std::move(answer)),
        query(request.query()),
        begun(now) {}
};

// What a request's body says.
struct Body {
  json::value document;
  std::vector<std::string> duplicates;  // fields that it had twice
};

// JSON, YAML or protobuf, by Content-Type; none counts as JSON. 400 for what cannot be read, 415
// for another type.
Outcome<Body> read_body(const net::HttpRequest& request, const ObjectRules& rules);
// The media type of a Content-Type header, in lower case, without parameters.
std::string media_type(const net::HttpRequest& request);

Outcome<WriteOptions> write_options(const Query& query);
// From the body, when there is one, and the query.
Outcome<DeleteOptions> delete_options(const net::HttpRequest& request, const Query& query,
                                      const ObjectRules& rules);
Outcome<DeleteOptions> delete_options(const json::value& document, const Query& query);

// Selection of a list, watch or deletecollection.
Outcome<Selection> read_selection(const Route& route, const Query& query);

}  // namespace fairlead::controlplane

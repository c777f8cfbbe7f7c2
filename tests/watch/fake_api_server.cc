#include "fake_api_server.h"

#include "api/json.h"
#include "api/kinds.h"
#include "base/check.h"
#include "base/text.h"
#include "net/http.h"

namespace fairlead::watch {
namespace {

const api::KindInfo& kind_of_path(std::string_view path) {
  for (const api::KindInfo& kind : api::kinds()) {
    if (api::collection_path(kind) == path) return kind;
  }
  CHECK(false);
}

// "a=80" or "a", at a version.
json::object make_object(const api::KindInfo& kind, std::string_view text,
                         std::string_view version) {
  const size_t equals = text.find('=');
  json::object metadata{{"name", text.substr(0, equals)}, {"resourceVersion", version}};
  if (kind.namespaced) metadata["namespace"] = "n";
  json::object out{{"metadata", metadata}};
  if (equals != std::string_view::npos) {
    const int64_t port = parse_int(text.substr(equals + 1)).value();
    out["spec"] = {{"clusterIP", "10.0.0.1"}, {"ports", json::array{{{"port", port}}}}};
  }
  return out;
}

std::string list_body(const api::KindInfo& kind, const std::vector<std::string_view>& words) {
  json::object metadata{{"resourceVersion", words.at(1)}};
  json::array items;
  for (size_t i = 2; i < words.size(); ++i) {
    if (words[i].starts_with("continue=")) {
      metadata["continue"] = words[i].substr(9);
    } else {
      items.push_back(make_object(kind, words[i], words[1]));
    }
  }
  return json::serialize(json::object{{"kind", cat(kind.name, "List")},
                                      {"apiVersion", kind.api_version},
                                      {"metadata", metadata},
                                      {"items", items}});
}

std::string event(std::string_view type, json::object object) {
  return json::serialize(json::object{{"type", type}, {"object", object}}) + "\n";
}

net::HttpResponse status(int code, std::string_view message) {
  return net::HttpResponse::json(
      code,
      json::serialize(json::object{{"kind", "Status"}, {"code", code}, {"message", message}}));
}

// What follows the first word.
std::string_view rest(std::string_view text) {
  const size_t blank = text.find(' ');
  return blank == std::string_view::npos ? std::string_view() : trim(text.substr(blank));
}

}  // namespace

FakeApiServer::FakeApiServer(net::EventLoop& loop, std::string_view script) : loop_(loop) {
  server_ = std::make_unique<net::HttpServer>(
      loop_, log_, [this](net::HttpRequest request, std::unique_ptr<net::Responder> responder) {
        on_request(std::move(request), std::move(responder));
      });
  add(script);
}

net::HttpTarget FakeApiServer::listen() {
  const auto bound = server_->listen({*Ip::parse("127.0.0.1"), 0});
  CHECK(bound);
  return {.unix_path = "", .host = "127.0.0.1", .port = bound->port, .tls = nullptr};
}

void FakeApiServer::add(std::string_view script) {
  for (const std::string_view line : split(script, '\n')) {
    const std::string_view text = trim(line);
    if (text.empty() || text.starts_with('#')) continue;
    const std::string kind(text.substr(0, text.find(' ')));
    const std::string_view reply = rest(text);
    replies_[kind];
    if (!reply.empty()) replies_[kind].emplace_back(reply);
  }
}

size_t FakeApiServer::requests_of(std::string_view kind) const {
  return std::count_if(requests_.begin(), requests_.end(), [&](const std::string& request) {
    return request.starts_with(cat(kind, ' '));
  });
}

void FakeApiServer::on_request(net::HttpRequest request,
                               std::unique_ptr<net::Responder> responder) {
  const api::KindInfo& kind = kind_of_path(request.path());
  const std::string plural(kind.plural);
  last_headers_ = request.headers;
  bool watching = false;
  std::string version, others;
  for (const auto& [name, value] : net::parse_query(request.query())) {
    if (name == "watch") watching = true;
    if (name == "resourceVersion") version = value;
    if (name == "limit" || name == "continue" || name == "fieldSelector")
      others += cat(' ', name, '=', value);
  }
  const auto replies = replies_.find(plural);
  if (replies != replies_.end()) {
    requests_.push_back(watching ? cat(plural, " watch ", version) : plural + others);
  }
  if (replies == replies_.end() || replies->second.empty()) {
    return play(plural, watching ? "watch" : "list 1", std::move(responder));
  }
  const std::string reply = std::move(replies->second.front());
  replies->second.pop_front();
  play(plural, reply, std::move(responder));
}

void FakeApiServer::play(const std::string& kind, std::string_view reply,
                         std::unique_ptr<net::Responder> responder) {
  const auto words = split(reply, ' ');
  const std::string_view verb = words[0];
  const api::KindInfo* row = nullptr;
  for (const api::KindInfo& one : api::kinds()) {
    if (one.plural == kind) row = &one;
  }
  if (verb == "list") {
    responder->send(net::HttpResponse::json(200, list_body(*row, words)));
  } else if (verb == "status") {
    const auto code = static_cast<int>(parse_int(words.at(1)).value());
    responder->send(status(code, rest(rest(reply))));
  } else if (verb == "body") {
    responder->send(net::HttpResponse::json(200, std::string(rest(reply))));
  } else if (verb == "torn") {
    responder->start(net::HttpResponse::json(200, ""));
    responder->write(rest(reply));
  } else if (verb == "hang") {
    hanging_.push_back(std::move(responder));
  } else {
    CHECK(verb == "watch");
    responder->start(net::HttpResponse::json(200, ""));
    for (const std::string_view one : split(rest(reply), ';')) {
      if (!trim(one).empty() && !play_step(*responder, kind, trim(one))) return;
    }
    held_[kind] = std::move(responder);
  }
}

void FakeApiServer::step(const std::string& kind, std::string_view text) {
  const auto found = held_.find(kind);
  CHECK(found != held_.end());
  if (!play_step(*found->second, kind, text)) held_.erase(found);
}

// False when the watch is over.
bool FakeApiServer::play_step(net::Responder& responder, const std::string& kind,
                              std::string_view text) {
  const api::KindInfo* row = nullptr;
  for (const api::KindInfo& one : api::kinds()) {
    if (one.plural == kind) row = &one;
  }
  const size_t at = text.find('@');
  const std::string_view version = at == std::string_view::npos ? "" : text.substr(at + 1);
  const auto typed = [&](std::string_view name) {
    json::object object = make_object(*row, name, version);
    object["kind"] = row->name;
    object["apiVersion"] = row->api_version;
    return object;
  };
  if (text == "cut") return false;
  if (text == "end") {
    responder.finish();
    return false;
  }
  if (text[0] == '+') responder.write(event("ADDED", typed(text.substr(1, at - 1))));
  if (text[0] == '~') responder.write(event("MODIFIED", typed(text.substr(1, at - 1))));
  if (text[0] == '-') responder.write(event("DELETED", typed(text.substr(1, at - 1))));
  if (text.starts_with("bookmark")) {
    json::object object = typed("x");
    object["metadata"] = {{"resourceVersion", version}};
    responder.write(event("BOOKMARK", object));
  }
  if (text.starts_with("error ")) {
    const auto code = parse_int(split(text, ' ').at(1)).value();
    responder.write(event(
        "ERROR",
        {{"kind", "Status"}, {"apiVersion", "v1"}, {"code", code}, {"message", rest(rest(text))}}));
  }
  if (text.starts_with("line ")) responder.write(cat(rest(text), '\n'));
  if (text.starts_with("part ")) responder.write(rest(text));
  if (text.starts_with("long ")) {
    responder.write(std::string(static_cast<size_t>(*parse_int(rest(text))), 'x') + "\n");
  }
  return true;
}

}  // namespace fairlead::watch

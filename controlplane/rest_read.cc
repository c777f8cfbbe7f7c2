// get, list and watch.
#include <algorithm>

#include "base/text.h"
#include "controlplane/list_token.h"
#include "controlplane/rest.h"

namespace fairlead::controlplane {
namespace {

constexpr int64_t kMaxPage = 1'000'000;

// resourceVersion of a get or list: how fresh, or exactly which state. Nothing: the newest.
struct Freshness {
  uint64_t revision = 0;
  bool exact = false;
};

Outcome<uint64_t> read_revision(std::string_view text) {
  if (text.empty()) return 0;
  std::optional<int64_t> number = parse_int(text, 0);
  if (!number)
    return std::unexpected(bad_request(cat("resourceVersion: \"", text, "\" is not a revision")));
  return static_cast<uint64_t>(*number);
}

Outcome<Freshness> read_freshness(const Query& query, uint64_t current) {
  std::string_view match = query.get("resourceVersionMatch");
  Outcome<uint64_t> revision = read_revision(query.get("resourceVersion"));
  if (!revision) return std::unexpected(revision.error());
  if (!match.empty()) {
    if (query.get("resourceVersion").empty())
      return std::unexpected(
          invalid_option("resourceVersionMatch",
                         "resourceVersionMatch is forbidden unless resourceVersion is provided"));
    if (!query.get("continue").empty())
      return std::unexpected(invalid_option(
          "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"));
    if (match != "Exact" && match != "NotOlderThan")
      return std::unexpected(
          invalid_option("resourceVersionMatch", cat("\"", match, "\" is not supported")));
    if (match == "Exact" && *revision == 0)
      return std::unexpected(
          invalid_option("resourceVersionMatch",
                         "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""));
  }
  if (*revision > current) return std::unexpected(too_large_version(*revision, current));
  return Freshness{*revision, match == "Exact"};
}

// Part of a collection: from `token` on, at most `limit` objects that `selection` wants.
ListPage cut(const Objects& objects, const Selection& selection, const ListToken& token,
             size_t limit, uint64_t revision) {
  ListPage page;
  page.revision = revision;
  auto at = objects.begin();
  if (!token.name.empty())
    at = objects.upper_bound(ObjectName{token.ns, token.name});
  else if (!selection.ns.empty())
    at = objects.lower_bound(ObjectName{selection.ns, ""});
  auto past = [&](const ObjectPtr& object) {
    return !selection.ns.empty() && object->ns != selection.ns;
  };
  for (; at != objects.end() && !past(*at); ++at) {
    if (!selection.matches(**at)) continue;
    if (limit != 0 && page.items.size() == limit) {
      const StoredObject& last = *page.items.back();
      page.continue_token = encode_token({revision, last.ns, last.name});
      if (!selection.selective()) {
        auto end = at;
        uint64_t remaining = 0;
        for (; end != objects.end() && !past(*end); ++end) ++remaining;
        page.remaining_items = remaining;
      }
      break;
    }
    page.items.push_back(*at);
  }
  return page;
}

// A watcher's end of an HTTP stream.
class StreamSink final : public WatchSink {
 public:
  explicit StreamSink(std::unique_ptr<net::Responder> responder)
      : responder_(std::move(responder)) {}
  void write(std::string_view bytes) override { responder_->write(bytes); }
  size_t unsent_bytes() const override { return responder_->unsent_bytes(); }
  void finish() override { responder_->finish(); }
  void abort() override { responder_.reset(); }  // no last chunk: the client sees it broken off
  void on_gone(std::function<void()> gone) override { responder_->on_gone(std::move(gone)); }

 private:
  std::unique_ptr<net::Responder> responder_;
};

net::HttpResponse stream_head() {
  net::HttpResponse head;
  head.headers.add("Content-Type", "application/json");
  head.headers.add("Cache-Control", "no-cache, private");
  return head;
}

constexpr int64_t kMinWatchSeconds = 1800;  // of a watch that names no timeout: spread over
constexpr int64_t kMaxWatchSeconds = 3600;  // half an hour, so that clients do not return at once

Outcome<Duration> watch_timeout(const Query& query, MonoTime now) {
  std::string_view text = query.get("timeoutSeconds");
  if (text.empty()) {
    int64_t spread = now.time_since_epoch().count() / 1000 % (kMaxWatchSeconds - kMinWatchSeconds);
    return std::chrono::seconds(kMinWatchSeconds + spread);
  }
  std::optional<int64_t> seconds = parse_int(text, 0, 86'400);
  if (!seconds)
    return std::unexpected(bad_request(cat("timeoutSeconds: \"", text, "\" is not in 0..86400")));
  return std::chrono::seconds(*seconds == 0 ? kMinWatchSeconds : *seconds);
}

// sendInitialEvents (KEP-3157) has conditions of its own.
Outcome<bool> initial_events(const Query& query, bool bookmarks) {
  if (!query.has("sendInitialEvents")) {
    if (!query.get("resourceVersionMatch").empty())
      return std::unexpected(invalid_option(
          "resourceVersionMatch",
          "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
    return false;
  }
  if (query.get("resourceVersionMatch") != "NotOlderThan")
    return std::unexpected(invalid_option(
        "resourceVersionMatch", "sendInitialEvents requires resourceVersionMatch=NotOlderThan"));
  bool wanted = query.flag("sendInitialEvents");
  if (wanted && !bookmarks)
    return std::unexpected(
        invalid_option("allowWatchBookmarks", "sendInitialEvents requires allowWatchBookmarks"));
  return wanted;
}

}  // namespace

void Api::get(Exchange& exchange) {
  const Route& route = *exchange.route;
  if (auto fresh = read_freshness(exchange.query, parts_.store.revision()); !fresh)
    return reply(exchange, fresh.error());
  ObjectPtr object = parts_.store.get(*route.resource, route.ns, route.name);
  if (!object) return reply(exchange, not_found(*route.resource, route.name));
  reply(exchange, net::HttpResponse::json(200, render_object(exchange.view, *route.resource,
                                                             *object, parts_.clock.wall())));
}

Outcome<ListPage> Api::page(const Route& route, const Query& query) const {
  uint64_t current = parts_.store.revision();
  Outcome<Selection> selection = read_selection(route, query);
  if (!selection) return std::unexpected(selection.error());
  Outcome<Freshness> fresh = read_freshness(query, current);
  if (!fresh) return std::unexpected(fresh.error());
  std::optional<int64_t> limit = 0;
  if (std::string_view text = query.get("limit"); !text.empty())
    limit = parse_int(text, 0, kMaxPage);
  if (!limit)
    return std::unexpected(bad_request(cat("limit: expected a number of 0 to ", kMaxPage)));
  ListToken token;
  if (std::string_view text = query.get("continue"); !text.empty()) {
    std::optional<ListToken> decoded = decode_token(text);
    if (!decoded) return std::unexpected(bad_request("continue: not a token of this server"));
    token = *std::move(decoded);
  }
  uint64_t revision = fresh->exact ? fresh->revision : token.revision;
  if (revision == 0) revision = current;
  const Objects& now = parts_.store.objects(*route.resource);
  auto size = static_cast<size_t>(*limit);
  if (revision == current) return cut(now, *selection, token, size, current);
  std::optional<Objects> then;
  if (revision < current) then = parts_.hub.at(*route.resource, now, revision);
  if (!then) {
    ApiError error = expired(
        "The provided continue parameter or resource version is too old to display a consistent "
        "list result. List again without it, or go on from the continue token of this answer.");
    if (!token.name.empty()) error.continue_token = encode_token({0, token.ns, token.name});
    return std::unexpected(std::move(error));
  }
  return cut(*then, *selection, token, size, revision);
}

void Api::list(Exchange& exchange) {
  Outcome<ListPage> listed = page(*exchange.route, exchange.query);
  if (!listed) return reply(exchange, listed.error());
  reply(exchange, net::HttpResponse::json(200, render_list(exchange.view, *exchange.route->resource,
                                                           *listed, parts_.clock.wall())));
}

void Api::watch(ExchangePtr exchange) {
  const Route& route = *exchange->route;
  const Query& query = exchange->query;
  uint64_t current = parts_.store.revision();
  WatchRequest request{.resource = route.resource, .view = exchange->view};
  request.bookmarks = query.flag("allowWatchBookmarks");
  Outcome<Selection> selection = read_selection(route, query);
  if (!selection) return reply(*exchange, selection.error());
  request.selection = *std::move(selection);
  Outcome<Duration> timeout = watch_timeout(query, parts_.clock.now());
  if (!timeout) return reply(*exchange, timeout.error());
  request.timeout = *timeout;
  Outcome<bool> initial = initial_events(query, request.bookmarks);
  if (!initial) return reply(*exchange, initial.error());
  Outcome<uint64_t> after = read_revision(query.get("resourceVersion"));
  if (!after) return reply(*exchange, after.error());
  request.initial_events_end = *initial;
  request.after = *initial ? 0 : *after;

  count(*exchange, 200);
  net::Responder& responder = *exchange->responder;
  responder.start(stream_head());
  // A revision that does not exist yet was another store's: its client must list again.
  bool too_old = request.after != 0 && request.after < parts_.hub.floor(*route.resource);
  if (too_old || request.after > current) {
    responder.write(render_error(
        expired(cat(too_old ? "too old" : "unknown", " resource version: ", request.after, " (",
                    too_old ? parts_.hub.floor(*route.resource) : current, ")"))));
    return responder.finish();
  }
  parts_.hub.watch(std::move(request), parts_.store.objects(*route.resource), current,
                   std::make_unique<StreamSink>(std::move(exchange->responder)));
}

}  // namespace fairlead::controlplane

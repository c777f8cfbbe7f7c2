#include "watch/reflector.h"

#include <fstream>

#include "base/text.h"

namespace fairlead::watch {
namespace {

constexpr size_t page_limit = 500;
constexpr size_t max_line_bytes = 8 * 1024 * 1024;
constexpr size_t max_refusal_bytes = 16 * 1024;
constexpr int min_watch_s = 300, max_watch_s = 600;  // as client-go draws them
constexpr int max_garbled = 3;
// A watch that lives so long shows that the server is well, also when nothing happens.
constexpr Duration healthy_watch = std::chrono::seconds(5);

Labels kind_label(const api::KindInfo& kind) { return {{"kind", std::string(kind.name)}}; }

std::string read_token(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  std::getline(file, token);
  return std::string(trim(token));
}

}  // namespace

Reflector::Reflector(Context context, api::Kind kind, std::function<void()> on_synced)
    : context_(context),
      kind_(api::info(kind)),
      on_synced_(std::move(on_synced)),
      backoff_(context.options.min_backoff, context.options.max_backoff),
      random_(std::random_device{}()),
      relists_(context.registry.counter("fairlead_feed_relists_total", "Lists after the first one.",
                                        kind_label(kind_))),
      errors_(context.registry.counter("fairlead_feed_errors_total",
                                       "Failed requests and answers that made no sense.",
                                       kind_label(kind_))),
      limit_(page_limit),
      lines_(max_line_bytes) {}

// resourceVersion is not set for lists: "most recent", which a cache that lags behind cannot
// answer.
net::HttpRequest Reflector::request(std::string query) const {
  net::HttpRequest out;
  out.target = cat(api::collection_path(kind_), '?', query);
  const auto& selectors = context_.options.field_selectors;
  if (const auto found = selectors.find(kind_.kind); found != selectors.end()) {
    out.target += cat("&fieldSelector=", net::percent_encode(found->second));
  }
  out.headers = context_.headers;
  out.headers.set("Accept", "application/json");
  if (!context_.options.token_file.empty()) {
    out.headers.set("Authorization", "Bearer " + read_token(context_.options.token_file));
  }
  return out;
}

void Reflector::begin() {
  status_ = 0;
  refusal_.clear();
}

void Reflector::on_head(const net::HttpHead& head) {
  status_ = head.status;
  count_request(cat(status_));
}

// Under client-go's name and labels.
void Reflector::count_request(const std::string& code) {
  context_.registry
      .counter("rest_client_requests_total", "Requests to the API server, by answer.",
               {{"code", code}, {"host", context_.host}, {"method", "GET"}})
      .add();
}

// ---- list

// A page, and from its answer the next one. Objects are delivered as pages come: they are true
// whether or not the list succeeds. Only its end can tell what is gone.
void Reflector::list() {
  if (continue_.empty()) listed_.clear();
  page_ = std::make_unique<ListParser>(kind_.kind);
  begin();
  std::string query = cat("limit=", limit_);
  if (!continue_.empty()) query += cat("&continue=", net::percent_encode(continue_));
  net::HttpCallbacks callbacks;
  callbacks.on_head = [this](const net::HttpHead& head) { on_head(head); };
  callbacks.on_data = [this](std::string_view bytes) {
    if (status_ != 200) {
      refusal_.append(
          bytes.substr(0, max_refusal_bytes - std::min(max_refusal_bytes, refusal_.size())));
    } else if (const auto fed = page_->feed(bytes); !fed) {
      if (page_->too_large()) limit_ = std::max<size_t>(limit_ / 10, 1);
      fail(Step::list, fed.error().message);
    }
  };
  callbacks.on_done = [this](Result<void> outcome) {
    if (!outcome && status_ == 0) count_request("<error>");
    if (!outcome) return fail(Step::list, outcome.error().message);
    if (status_ != 200) return on_refused(Step::list);
    on_page();
  };
  call_ = context_.client.call(request(std::move(query)), std::move(callbacks),
                               context_.options.request_timeout);
}

void Reflector::on_page() {
  auto page = page_->finish();
  page_.reset();
  if (!page) return fail(Step::list, page.error().message);
  apply_page(*std::move(page));
}

void Reflector::apply_page(ListPage page) {
  last_event_ = context_.loop.now();
  context_.registry
      .counter("fairlead_feed_events_total", "Objects and bookmarks received.",
               {{"kind", std::string(kind_.name)}, {"type", "listed"}})
      .add(page.objects.size() + page.bad.size());
  for (api::Object& object : page.objects) {
    listed_.insert(api::meta_of(object).key);
    context_.store.put(std::move(object));
  }
  for (const BadObject& bad : page.bad) {
    listed_.insert(bad.key);
    keep_bad(bad);
  }
  // A server that says "continue" without end would hold us here for ever.
  if (!page.continue_token.empty() && page.continue_token == continue_) {
    return fail(Step::list, "the list's continue token repeats itself");
  }
  continue_ = std::move(page.continue_token);
  if (!continue_.empty()) return go(Step::list, Duration::zero());
  end_list(std::move(page.resource_version));
}

// The errors of the past are over; the back-off is not, until the watch has shown that it works.
void Reflector::end_list(std::string resource_version) {
  context_.store.retain(kind_.kind, listed_);
  listed_.clear();
  resource_version_ = std::move(resource_version);
  garbled_ = 0;
  error_.clear();
  context_.log.debug("listed", {{"kind", kind_.name}, {"version", resource_version_}});
  go(Step::watch, Duration::zero());
  if (!std::exchange(synced_, true)) on_synced_();
}

void Reflector::keep_bad(const BadObject& bad) {
  context_.log.warn("object left out", {{"error", bad.error}});
  context_.store.mark_bad(kind_.kind, bad.key, bad.error);
}

// ---- watch

// The time-out is drawn anew each time, so that the watches of many nodes do not end together.
void Reflector::watch() {
  lines_.reset();
  begin();
  heard_ = false;
  watch_began_ = last_bytes_ = context_.loop.now();
  const int seconds = std::uniform_int_distribution<int>(min_watch_s, max_watch_s)(random_);
  net::HttpCallbacks callbacks;
  callbacks.on_head = [this](const net::HttpHead& head) {
    on_head(head);
    if (status_ == 200 && garbled_ == 0) error_.clear();
  };
  callbacks.on_data = [this](std::string_view bytes) { on_watch_bytes(bytes); };
  callbacks.on_done = [this](Result<void> outcome) {
    if (!outcome && status_ == 0) count_request("<error>");
    if (!outcome) return fail(Step::watch, outcome.error().message);
    if (status_ != 200) return on_refused(Step::watch);
    on_watch_end();
  };
  std::string query = cat("watch=true&allowWatchBookmarks=true&resourceVersion=",
                          net::percent_encode(resource_version_), "&timeoutSeconds=", seconds);
  call_ = context_.client.call(request(std::move(query)), std::move(callbacks),
                               std::chrono::seconds(2 * max_watch_s));
  timer_ = context_.loop.after(context_.options.watch_idle, [this] { check_idle(); });
}

// A server that vanished without a word leaves the connection open for ever.
void Reflector::check_idle() {
  const Duration silent = context_.loop.now() - last_bytes_;
  if (silent < context_.options.watch_idle) {
    timer_ = context_.loop.after(context_.options.watch_idle - silent, [this] { check_idle(); });
    return;
  }
  // With an answer's head the server was there: quiet, perhaps without bookmarks.
  if (status_ == 200) return go(Step::watch, Duration::zero());
  fail(Step::watch, "no answer to the watch");
}

void Reflector::on_watch_bytes(std::string_view bytes) {
  last_bytes_ = context_.loop.now();
  if (status_ != 200) {
    const size_t room = max_refusal_bytes - std::min(max_refusal_bytes, refusal_.size());
    refusal_.append(bytes.substr(0, room));
    return;
  }
  if (lines_.feed(bytes, [this](std::string_view line) { return on_line(line); })) return;
  if (lines_.too_long()) garbage(cat("a watch event of more than ", max_line_bytes, " bytes"));
}

bool Reflector::on_line(std::string_view line) {
  if (trim(line).empty()) return true;
  auto event = parse_event(kind_.kind, line);
  if (event) return on_event(*std::move(event));
  garbage(event.error().message);
  return false;
}

bool Reflector::on_event(WatchEvent event) {
  using Type = WatchEvent::Type;
  context_.registry
      .counter("fairlead_feed_events_total", "Objects and bookmarks received.",
               {{"kind", std::string(kind_.name)}, {"type", std::string(to_string(event.type))}})
      .add();
  if (event.type == Type::error) {
    if (event.code == 410) {
      relist(event.message);
    } else {
      fail(Step::watch, cat("the watch ended with an error: ", event.message));
    }
    return false;
  }
  resource_version_ = std::move(event.resource_version);
  progress();
  if (event.type == Type::deleted) {
    context_.store.erase(kind_.kind, event.key);
  } else if (event.object) {
    context_.store.put(*std::move(event.object));
  } else if (event.bad) {
    keep_bad(*event.bad);
  }
  return true;
}

void Reflector::on_watch_end() {
  if (lines_.inside_line()) return fail(Step::watch, "the watch ended inside an event");
  const bool healthy = heard_ || context_.loop.now() - watch_began_ >= healthy_watch;
  if (healthy) backoff_.reset();
  // A server that ends every watch at once must not make us spin.
  go(Step::watch, healthy ? Duration::zero() : backoff_.next());
}

// ---- what comes next

void Reflector::on_refused(Step step) {
  if (status_ == 410) return relist(status_message(status_, refusal_));
  fail(step, status_message(status_, refusal_));
}

void Reflector::relist(std::string reason) {
  context_.log.info("listing again", {{"kind", kind_.name}, {"reason", reason}});
  relists_.add();
  continue_.clear();
  go(Step::list, backoff_.next());
}

// A list starts from its first page again: tokens do not survive the server that made them.
void Reflector::fail(Step next, std::string error) {
  errors_.add();
  if (next == Step::list) continue_.clear();
  error_ = std::move(error);
  const Duration wait = backoff_.next();
  context_.log.warn(error_,
                    {{"kind", kind_.name}, {"retry_ms", wait / std::chrono::milliseconds(1)}});
  go(next, wait);
}

// The stream cannot be trusted further. The last version can: what came before it was understood.
// If every watch from there ends so, a list is the way out.
void Reflector::garbage(std::string error) {
  if (!heard_) ++garbled_;
  if (garbled_ < max_garbled) return fail(Step::watch, std::move(error));
  relists_.add();
  fail(Step::list, std::move(error));
}

// Ends what is in flight. Safe inside its callbacks: the client keeps a call alive while it calls.
void Reflector::go(Step next, Duration delay) {
  call_.reset();
  timer_ = context_.loop.after(delay, [this, next] { next == Step::list ? list() : watch(); });
}

void Reflector::progress() {
  heard_ = true;
  garbled_ = 0;
  last_event_ = context_.loop.now();
  backoff_.reset();
  error_.clear();
}

}  // namespace fairlead::watch

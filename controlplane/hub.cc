#include "controlplane/hub.h"

#include <algorithm>

#include "base/text.h"

namespace fairlead::controlplane {
namespace {

// How long before its end a stream gets a last bookmark, so that the next one starts near it.
constexpr Duration kLastBookmark = std::chrono::seconds(2);

size_t weight(const StoreEvent& event) { return event.object->text.size() + sizeof(StoreEvent); }

// A state that left the selection is told with the revision at which it left.
ObjectPtr at_revision(const Resource& resource, const StoredObject& object, uint64_t revision) {
  Result<json::value> document = parse_json(object.text);
  return make_stored(resource, document ? *std::move(document) : json::value(), revision);
}

}  // namespace

struct Hub::Queued {
  std::shared_ptr<const std::string> line;  // rendered, or
  EventType type = EventType::added;        // to be rendered when its turn comes
  ObjectPtr object;
};

struct Hub::Watcher {
  uint64_t id = 0;
  WatchRequest request;
  std::unique_ptr<WatchSink> sink;
  std::deque<Queued> queue;
  size_t initial = 0;  // of the queue's entries: what existed at the start is not held against it
  bool first = true;   // a table's columns have not been sent
  net::Timer retry, bookmark, timeout;
};

// The lines of one event, one per view among its watchers.
class Hub::FrameCache {
 public:
  std::shared_ptr<const std::string> get(const View& view, const Resource& resource, EventType type,
                                         const ObjectPtr& object, WallTime now) {
    for (const Entry& entry : entries_)
      if (entry.view == view && entry.type == type && entry.object == object) return entry.line;
    auto line = std::make_shared<const std::string>(
        render_event(view, resource, type, *object, false, now));
    entries_.push_back({view, type, object, line});
    return line;
  }
  // The same "left the selection" object for every watcher that it left.
  const ObjectPtr& left(const StoreEvent& event) {
    if (!left_) left_ = at_revision(*event.resource, *event.before, event.revision);
    return left_;
  }

 private:
  struct Entry {
    View view;
    EventType type;
    ObjectPtr object;
    std::shared_ptr<const std::string> line;
  };
  std::vector<Entry> entries_;
  ObjectPtr left_;
};

Hub::Hub(net::EventLoop& loop, const ResourceTable& resources, const Clock& clock,
         Registry& registry, Options options)
    : loop_(loop),
      resources_(resources),
      clock_(clock),
      options_(options),
      history_(resources.all().size()),
      watcher_gauge_(registry.gauge("fairlead_apiserver_watchers", "Open watch streams.")),
      event_counter_(
          registry.counter("fairlead_apiserver_watch_events_total", "Events queued for watchers.")),
      slow_counter_(registry.counter("fairlead_apiserver_watchers_dropped_total",
                                     "Watch streams closed because the reader was too slow.")) {}

Hub::~Hub() = default;

void Hub::set_floor(uint64_t revision) {
  for (History& history : history_) {
    history.floor = std::max(history.floor, revision);
    while (!history.events.empty() && history.events.front().revision <= revision) {
      history.bytes -= weight(history.events.front());
      history.events.pop_front();
    }
  }
}

uint64_t Hub::floor(const Resource& resource) const {
  return history_[resources_.index(resource)].floor;
}

void Hub::trim(History& history) {
  auto too_much = [&] {
    size_t count = history.events.size();
    if (count > options_.max_history || history.bytes > 8 * options_.history_bytes) return true;
    return count > options_.min_history && history.bytes > options_.history_bytes;
  };
  while (!history.events.empty() && too_much()) {
    history.floor = history.events.front().revision;
    history.bytes -= weight(history.events.front());
    history.events.pop_front();
  }
}

void Hub::publish(const StoreEvent& event) {
  History& history = history_[resources_.index(*event.resource)];
  history.events.push_back(event);
  history.bytes += weight(event);
  trim(history);
  revision_ = event.revision;
  FrameCache frames;
  for (auto at = watchers_.begin(); at != watchers_.end();) {
    Watcher& watcher = **at++;  // offer() may end it
    if (watcher.request.resource == event.resource) offer(watcher, event, frames);
  }
}

std::optional<Objects> Hub::at(const Resource& resource, const Objects& now,
                               uint64_t revision) const {
  const History& history = history_[resources_.index(resource)];
  if (revision < history.floor) return std::nullopt;
  Objects out = now;
  for (auto event = history.events.rbegin();
       event != history.events.rend() && event->revision > revision; ++event) {
    if (auto found = out.find(event->object); found != out.end()) out.erase(found);
    if (event->before) out.insert(event->before);
  }
  return out;
}

void Hub::offer(Watcher& watcher, const StoreEvent& event, FrameCache& frames) {
  const Selection& selection = watcher.request.selection;
  bool matched = event.before && selection.matches(*event.before);
  bool matches = !event.deleted && selection.matches(*event.object);
  if (matches)
    enqueue(watcher, matched ? EventType::modified : EventType::added, event.object, &frames);
  else if (matched)
    enqueue(watcher, EventType::deleted, event.deleted ? event.object : frames.left(event),
            &frames);
}

void Hub::enqueue(Watcher& watcher, EventType type, ObjectPtr object, FrameCache* frames) {
  event_counter_.add();
  Queued entry{nullptr, type, std::move(object)};
  // What waits is rendered at once when it is shared; history and initial state when they leave.
  if (frames != nullptr && !(watcher.first && watcher.request.view.form == View::Form::table))
    entry.line = frames->get(watcher.request.view, *watcher.request.resource, type, entry.object,
                             clock_.wall());
  watcher.queue.push_back(std::move(entry));
  if (frames == nullptr) return;
  if (watcher.queue.size() > options_.max_queue + watcher.initial) {
    slow_counter_.add();
    end(watcher, false);
    return;
  }
  pump(watcher);
}

void Hub::enqueue_line(Watcher& watcher, std::string line) {
  watcher.queue.push_back(
      {std::make_shared<const std::string>(std::move(line)), EventType::bookmark, nullptr});
}

void Hub::pump(Watcher& watcher) {
  while (!watcher.queue.empty() && watcher.sink->unsent_bytes() < options_.max_unsent_bytes) {
    Queued entry = std::move(watcher.queue.front());
    watcher.queue.pop_front();
    if (watcher.initial > 0) --watcher.initial;
    if (entry.line) {
      watcher.sink->write(*entry.line);
      continue;
    }
    watcher.sink->write(render_event(watcher.request.view, *watcher.request.resource, entry.type,
                                     *entry.object, watcher.first, clock_.wall()));
    watcher.first = false;
  }
  if (watcher.queue.empty())
    watcher.retry.reset();
  else if (!watcher.retry)
    watcher.retry = loop_.after(options_.retry_every, [this, id = watcher.id] {
      Watcher* again = find(id);
      if (again == nullptr) return;
      again->retry.reset();
      pump(*again);
    });
}

void Hub::arm_bookmark(Watcher& watcher) {
  watcher.bookmark = loop_.after(options_.bookmark_every, [this, id = watcher.id] {
    Watcher* again = find(id);
    if (again == nullptr) return;
    enqueue_line(*again,
                 render_bookmark(again->request.view, *again->request.resource, revision_, false));
    arm_bookmark(*again);
    pump(*again);
  });
}

uint64_t Hub::watch(WatchRequest request, const Objects& current, uint64_t revision,
                    std::unique_ptr<WatchSink> sink) {
  revision_ = std::max(revision_, revision);
  watchers_.push_back(std::make_unique<Watcher>());
  Watcher& watcher = *watchers_.back();
  watcher.id = next_id_++;
  watcher.request = std::move(request);
  watcher.sink = std::move(sink);
  watcher_gauge_.set(static_cast<int64_t>(watchers_.size()));
  // Not at once: the reader may be found gone while the watcher is in use.
  watcher.sink->on_gone([this, gone = watcher.id] { loop_.post([this, gone] { close(gone); }); });
  const WatchRequest& wanted = watcher.request;
  if (wanted.after == 0) {
    for (const ObjectPtr& object : current)
      if (wanted.selection.matches(*object)) enqueue(watcher, EventType::added, object, nullptr);
  } else {
    for (const StoreEvent& event : history_[resources_.index(*wanted.resource)].events) {
      if (event.revision <= wanted.after) continue;
      bool matched = event.before && wanted.selection.matches(*event.before);
      bool matches = !event.deleted && wanted.selection.matches(*event.object);
      if (matches)
        enqueue(watcher, matched ? EventType::modified : EventType::added, event.object, nullptr);
      else if (matched)
        enqueue(watcher, EventType::deleted,
                event.deleted ? event.object
                              : at_revision(*event.resource, *event.before, event.revision),
                nullptr);
    }
  }
  if (wanted.initial_events_end)
    enqueue_line(watcher, render_bookmark(wanted.view, *wanted.resource, revision, true));
  watcher.initial = watcher.queue.size();
  if (wanted.bookmarks) arm_bookmark(watcher);
  uint64_t id = watcher.id;
  watcher.timeout =
      loop_.after(std::max(wanted.timeout - kLastBookmark, Duration::zero()), [this, id] {
        Watcher* ending = find(id);
        if (ending == nullptr) return;
        if (ending->request.bookmarks) {
          enqueue_line(*ending, render_bookmark(ending->request.view, *ending->request.resource,
                                                revision_, false));
          pump(*ending);
        }
        Duration rest = std::min(ending->request.timeout, kLastBookmark);
        ending->timeout = loop_.after(rest, [this, id] {
          if (Watcher* ended = find(id); ended != nullptr) end(*ended, true);
        });
      });
  pump(watcher);
  return id;
}

Hub::Watcher* Hub::find(uint64_t id) {
  for (auto& watcher : watchers_)
    if (watcher->id == id) return watcher.get();
  return nullptr;
}

void Hub::end(Watcher& watcher, bool clean) {
  std::unique_ptr<WatchSink> sink = std::move(watcher.sink);
  close(watcher.id);
  if (clean)
    sink->finish();
  else
    sink->abort();
}

void Hub::close(uint64_t id) {
  watchers_.remove_if([id](const auto& watcher) { return watcher->id == id; });
  watcher_gauge_.set(static_cast<int64_t>(watchers_.size()));
}

}  // namespace fairlead::controlplane

#include "controlplane/store.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace fairlead::controlplane {
namespace {

std::string log_key(const Resource& resource, std::string_view ns, std::string_view name) {
  return cat(resource.group_resource(), "/", ns, "/", name);
}

// The scalar at "spec.nodeName" as a fieldSelector compares it.
std::string field_text(const json::value& document, const SelectableField& field) {
  const json::value* at = &document;
  for (std::string_view step : split(field.path.empty() ? field.label : field.path, '.')) {
    at = find(*at, step);
    if (at == nullptr) return std::string(field.when_absent);
  }
  if (at->is_string()) return std::string(at->get_string().data(), at->get_string().size());
  if (at->is_null()) return std::string(field.when_absent);
  return json::serialize(*at);
}

}  // namespace

ObjectPtr make_stored(const Resource& resource, json::value document, uint64_t revision) {
  auto object = std::make_shared<StoredObject>();
  object->revision = revision;
  json::object* top = document.if_object();
  json::value* metadata = top == nullptr ? nullptr : top->if_contains("metadata");
  CHECK(metadata != nullptr && metadata->is_object());
  metadata->get_object()["resourceVersion"] = cat(revision);
  object->ns = find_string(document, "metadata", "namespace");
  object->name = find_string(document, "metadata", "name");
  if (const json::value* labels = find(document, "metadata", "labels");
      labels != nullptr && labels->is_object()) {
    for (const auto& [key, value] : labels->get_object())
      if (value.is_string())
        object->labels.emplace_back(
            std::string(key.data(), key.size()),
            std::string(value.get_string().data(), value.get_string().size()));
    std::ranges::sort(object->labels);
  }
  object->fields.reserve(resource.fields.size());
  for (const SelectableField& field : resource.fields)
    object->fields.push_back(field_text(document, field));
  object->text = json::serialize(document);
  object->text.shrink_to_fit();
  return object;
}

struct Store::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::unique_ptr<Write>> queue;
  bool stopping = false;
  uint64_t compact_to = 0;
  // Used by the writer thread only, once it runs.
  std::unique_ptr<StoreLog> log;
  size_t max_batch = 1;
  std::move_only_function<void(Batch, Result<void>, double)> report;
  std::move_only_function<void(const Error&)> report_compaction;
};

struct Store::Metrics {
  explicit Metrics(Registry& registry)
      : commits(registry.counter("fairlead_store_commits_total",
                                 "Transactions of the store's log that became durable.")),
        writes(registry.counter("fairlead_store_writes_total", "Revisions that became durable.")),
        failures(registry.counter("fairlead_store_commit_failures_total",
                                  "Transactions that the log refused.")),
        objects(registry.gauge("fairlead_store_objects", "Objects in memory.")),
        seconds(registry.histogram("fairlead_store_commit_seconds",
                                   "Time of one transaction of the log.", latency_bounds_s())) {}
  Counter& commits;
  Counter& writes;
  Counter& failures;
  Gauge& objects;
  Histogram& seconds;
};

Store::Store(net::EventLoop& loop, const ResourceTable& resources, std::unique_ptr<StoreLog> log,
             Log diagnostics, Registry& registry, Options options)
    : loop_(loop),
      resources_(resources),
      diagnostics_(diagnostics),
      options_(options),
      objects_(resources.all().size()),
      metrics_(std::make_unique<Metrics>(registry)),
      shared_(std::make_shared<Shared>()),
      alive_(std::make_shared<bool>(true)) {
  shared_->log = std::move(log);
  shared_->max_batch = options_.max_batch;
  std::weak_ptr<bool> alive = alive_;
  shared_->report = [this, alive](Batch batch, Result<void> outcome, double seconds) {
    loop_.post(
        [this, alive, batch = std::move(batch), outcome = std::move(outcome), seconds]() mutable {
          if (alive.expired()) return;
          metrics_->seconds.observe(seconds);
          finish(std::move(batch), outcome);
        });
  };
  shared_->report_compaction = [sink = diagnostics_](const Error& error) {
    sink.warn("compaction failed, the log keeps more history", {{"error", error.message}});
  };
}

Store::~Store() {
  if (!writer_.joinable()) return;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->wake.notify_one();
  writer_.join();
}

Result<void> Store::load(EventSink sink) {
  sink_ = std::move(sink);
  FL_TRY(StoreLog::Position position,
         shared_->log->load([this](const LogRecord& record) { return replay(record); }));
  committed_ = position.revision;
  compacted_ = position.compacted;
  compact_at_ = position.compacted + options_.keep_revisions + options_.compact_every;
  next_ = committed_ + 1;
  writer_ = std::thread([shared = shared_] { write_loop(shared); });
  return {};
}

Result<void> Store::replay(const LogRecord& record) {
  std::vector<std::string_view> parts = split(record.key, '/');
  auto row = std::ranges::find_if(resources_.all(), [&](const Resource& resource) {
    return resource.group_resource() == parts[0];
  });
  if (parts.size() != 3 || row == resources_.all().end())
    return fail(cat("store: revision ", record.revision, " is of unknown kind: ", record.key));
  ObjectPtr before = get(*row, parts[1], parts[2]);
  if (!record.value && !before) return {};  // its earlier states were compacted away
  Result<json::value> document = parse_json(record.value ? *record.value : before->text);
  if (!document)
    return fail(cat("store: revision ", record.revision, " of ", record.key), document.error());
  if (parts[2].empty() || find_string(*document, "metadata", "name") != parts[2])
    return fail(cat("store: revision ", record.revision, " of ", record.key,
                    ": not an object of that name"));
  apply(*row, make_stored(*row, *std::move(document), record.revision), !record.value);
  return {};
}

const Objects& Store::objects(const Resource& resource) const {
  return objects_[resources_.index(resource)];
}

ObjectPtr Store::get(const Resource& resource, std::string_view ns, std::string_view name) const {
  const Objects& all = objects(resource);
  auto found = all.find(ObjectName{ns, name});
  return found == all.end() ? nullptr : *found;
}

ObjectPtr Store::head(const Resource& resource, std::string_view ns, std::string_view name) const {
  if (!pending_.empty())
    if (auto found = pending_.find(log_key(resource, ns, name)); found != pending_.end())
      return found->second.second;
  return get(resource, ns, name);
}

bool Store::put(const Resource& resource, uint64_t expected, json::value document, Done done) {
  std::string ns(find_string(document, "metadata", "namespace"));
  std::string name(find_string(document, "metadata", "name"));
  ObjectPtr current = head(resource, ns, name);
  if ((current ? current->revision : 0) != expected) return false;
  auto write = std::make_unique<Write>();
  write->resource = &resource;
  write->object = make_stored(resource, std::move(document), next_);
  // The text lives as long as the object that holds it.
  std::shared_ptr<const std::string> text(write->object, &write->object->text);
  write->record = {next_++, expected, log_key(resource, ns, name), std::move(text)};
  write->done = std::move(done);
  pending_[write->record.key] = {write->record.revision, write->object};
  enqueue(std::move(write));
  return true;
}

bool Store::remove(const Resource& resource, uint64_t expected, std::string_view ns,
                   std::string_view name, Done done) {
  ObjectPtr current = head(resource, ns, name);
  if (!current || current->revision != expected) return false;
  Result<json::value> last = parse_json(current->text);
  CHECK(last.has_value());  // we serialized it
  auto write = std::make_unique<Write>();
  write->resource = &resource;
  write->object = make_stored(resource, *std::move(last), next_);
  write->record = {next_++, expected, log_key(resource, ns, name), nullptr};
  write->done = std::move(done);
  pending_[write->record.key] = {write->record.revision, nullptr};
  enqueue(std::move(write));
  return true;
}

void Store::settle(Done done) {
  auto write = std::make_unique<Write>();
  write->done = std::move(done);
  enqueue(std::move(write));
}

void Store::enqueue(std::unique_ptr<Write> write) {
  write->epoch = epoch_;
  ++in_flight_;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->queue.push_back(std::move(write));
  }
  shared_->wake.notify_one();
}

void Store::write_loop(std::shared_ptr<Shared> shared) {
  uint64_t broken_epoch = UINT64_MAX;
  Error broken;
  for (;;) {
    Batch batch;
    uint64_t compact_to = 0;
    {
      std::unique_lock lock(shared->mutex);
      shared->wake.wait(lock, [&] {
        return shared->stopping || !shared->queue.empty() || shared->compact_to != 0;
      });
      if (shared->queue.empty() && shared->stopping) return;
      // One batch never mixes epochs: what follows a failed commit fails with it.
      while (!shared->queue.empty() && batch.size() < shared->max_batch &&
             (batch.empty() || batch.front()->epoch == shared->queue.front()->epoch)) {
        batch.push_back(std::move(shared->queue.front()));
        shared->queue.pop_front();
      }
      compact_to = std::exchange(shared->compact_to, 0);
    }
    if (!batch.empty()) {
      std::vector<LogRecord> records;
      for (const auto& write : batch)
        if (write->record.revision != 0) records.push_back(write->record);
      uint64_t epoch = batch.front()->epoch;
      Result<void> outcome;
      auto begin = std::chrono::steady_clock::now();
      if (epoch == broken_epoch)
        outcome = std::unexpected(broken);
      else if (!records.empty())
        outcome = shared->log->append(records);
      if (!outcome) {
        broken_epoch = epoch;
        broken = outcome.error();
      }
      std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      shared->report(std::move(batch), std::move(outcome), took.count());
    }
    if (compact_to != 0)
      if (Result<void> outcome = shared->log->compact(compact_to); !outcome)
        shared->report_compaction(outcome.error());
  }
}

void Store::finish(Batch batch, const Result<void>& outcome) {
  in_flight_ -= batch.size();
  if (!outcome) {
    metrics_->failures.add();
    trouble_ = outcome.error().message;
    bool first = batch.front()->epoch == epoch_;
    if (first) {
      diagnostics_.error("write refused by the log", {{"error", outcome.error().message}});
      roll_back();
    }
    for (auto& write : batch) write->done(std::unexpected(outcome.error()));
    return;
  }
  bool wrote = false;
  for (auto& write : batch) {
    if (write->record.revision != 0) {
      commit(*write);
      wrote = true;
    }
    write->done(write->object);
  }
  if (!wrote) return;
  trouble_.clear();
  metrics_->commits.add();
  if (committed_ < compact_at_) return;
  compacted_ = committed_ - options_.keep_revisions;
  compact_at_ = committed_ + options_.compact_every;
  {
    std::lock_guard lock(shared_->mutex);
    shared_->compact_to = compacted_;
  }
  shared_->wake.notify_one();
}

void Store::commit(Write& write) {
  auto found = pending_.find(write.record.key);
  if (found != pending_.end() && found->second.first == write.record.revision)
    pending_.erase(found);
  committed_ = write.record.revision;
  metrics_->writes.add();
  apply(*write.resource, write.object, write.record.value == nullptr);
}

void Store::roll_back() {
  ++epoch_;
  pending_.clear();
  next_ = committed_ + 1;
  if (rollback_hook_) rollback_hook_();
}

void Store::apply(const Resource& resource, ObjectPtr object, bool deleted) {
  Objects& all = objects_[resources_.index(resource)];
  auto found = all.find(object);
  StoreEvent event{&resource, object->revision, found == all.end() ? nullptr : *found, object,
                   deleted};
  if (found != all.end()) all.erase(found);
  if (!deleted) all.insert(object);
  metrics_->objects.add((deleted ? 0 : 1) - (event.before ? 1 : 0));
  sink_(event);
}

}  // namespace fairlead::controlplane

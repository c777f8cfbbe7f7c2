#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstring>

#include "base/text.h"
#include "controlplane/store_log.h"

namespace fairlead::controlplane {
namespace {

constexpr int kApplicationId = 0x66616972;  // "fair": tells our file from another program's
constexpr int kSchemaVersion = 1;
constexpr int kBusyTimeoutMs = 2000;  // a predecessor that is still going away
constexpr int64_t kRowsPerCompaction = 1000;

constexpr const char* kSchema =
    "CREATE TABLE log (revision INTEGER PRIMARY KEY, previous INTEGER NOT NULL,"
    " key TEXT NOT NULL, value BLOB);"
    "CREATE TABLE position (only_row INTEGER PRIMARY KEY CHECK (only_row = 1),"
    " compacted INTEGER NOT NULL);"
    "INSERT INTO position VALUES (1, 0);";

class Statement {
 public:
  Statement() = default;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(handle_); }

  bool prepare(sqlite3* db, const char* sql) {
    return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle_, nullptr) ==
           SQLITE_OK;
  }
  sqlite3_stmt* get() const { return handle_; }

 private:
  sqlite3_stmt* handle_ = nullptr;
};

class SqliteLog final : public StoreLog {
 public:
  explicit SqliteLog(std::string path) : path_(std::move(path)) {}
  ~SqliteLog() override {
    insert_.reset();
    sqlite3_close(db_);
  }

  Result<void> open();
  Result<Position> load(const std::function<Result<void>(LogRecord)>& each) override;
  Result<void> append(std::span<const LogRecord> records) override;
  Result<void> compact(uint64_t revision) override;

 private:
  std::unexpected<Error> trouble(std::string_view doing) const {
    return fail(cat("store ", path_, ": ", doing, ": ", sqlite3_errmsg(db_)));
  }
  Result<void> run(const char* sql, std::string_view doing) {
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) return trouble(doing);
    return {};
  }
  Result<int64_t> number(const char* sql, std::string_view doing);
  Result<void> check_identity();
  Result<void> check_damage();
  Result<void> insert(const LogRecord& record);
  Result<void> compact_range(int64_t low, int64_t high);

  std::string path_;
  sqlite3* db_ = nullptr;
  std::unique_ptr<Statement> insert_;
};

Result<void> SqliteLog::open() {
  // Secrets are in it: a new file is private, and SQLite gives its journal the same mode. Never
  // open and close an existing one here: that would drop the locks this process may hold on it.
  if (int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600); file >= 0)
    ::close(file);
  if (sqlite3_open_v2(path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) !=
      SQLITE_OK)
    return trouble("open");
  sqlite3_busy_timeout(db_, kBusyTimeoutMs);
  // Exclusive before WAL: one process, no shared-memory file, and the lock dies with the process.
  FL_TRY_VOID(run("PRAGMA locking_mode=EXCLUSIVE", "lock"));
  FL_TRY_VOID(run("PRAGMA journal_mode=WAL", "open (is another server running on it?)"));
  FL_TRY_VOID(run("PRAGMA synchronous=FULL; BEGIN EXCLUSIVE; COMMIT",
                  "lock (is another server running on it?)"));
  FL_TRY_VOID(check_damage());
  FL_TRY_VOID(check_identity());
  insert_ = std::make_unique<Statement>();
  if (!insert_->prepare(db_, "INSERT INTO log VALUES (?1, ?2, ?3, ?4)")) return trouble("prepare");
  return {};
}

Result<int64_t> SqliteLog::number(const char* sql, std::string_view doing) {
  Statement statement;
  if (!statement.prepare(db_, sql) || sqlite3_step(statement.get()) != SQLITE_ROW)
    return trouble(doing);
  return sqlite3_column_int64(statement.get(), 0);
}

Result<void> SqliteLog::check_damage() {
  Statement statement;
  if (!statement.prepare(db_, "PRAGMA quick_check(1)") ||
      sqlite3_step(statement.get()) != SQLITE_ROW)
    return trouble("check");
  const auto* verdict = reinterpret_cast<const char*>(sqlite3_column_text(statement.get(), 0));
  if (verdict == nullptr || std::strcmp(verdict, "ok") != 0)
    return fail(cat("store ", path_, ": the file is damaged (", verdict ? verdict : "no verdict",
                    "); restore it from a copy"));
  return {};
}

Result<void> SqliteLog::check_identity() {
  FL_TRY(int64_t tables, number("SELECT count(*) FROM sqlite_schema", "read schema"));
  FL_TRY(int64_t application, number("PRAGMA application_id", "read application id"));
  if (tables == 0 && application == 0) {
    FL_TRY_VOID(run("BEGIN IMMEDIATE", "begin"));
    std::string mark = cat("PRAGMA application_id=", kApplicationId,
                           "; PRAGMA user_version=", kSchemaVersion, "; COMMIT");
    FL_TRY_VOID(run(kSchema, "create tables"));
    return run(mark.c_str(), "create tables");
  }
  if (application != kApplicationId)
    return fail(cat("store ", path_, ": this is another program's SQLite file"));
  FL_TRY(int64_t version, number("PRAGMA user_version", "read version"));
  if (version != kSchemaVersion)
    return fail(
        cat("store ", path_, ": format ", version, ", this program reads format ", kSchemaVersion));
  return {};
}

Result<StoreLog::Position> SqliteLog::load(const std::function<Result<void>(LogRecord)>& each) {
  Position position;
  FL_TRY(int64_t compacted, number("SELECT compacted FROM position", "read position"));
  position.compacted = static_cast<uint64_t>(compacted);
  position.revision = position.compacted;
  Statement rows;
  if (!rows.prepare(db_, "SELECT revision, previous, key, value FROM log ORDER BY revision"))
    return trouble("read log");
  int step = SQLITE_DONE;
  while ((step = sqlite3_step(rows.get())) == SQLITE_ROW) {
    LogRecord record;
    record.revision = static_cast<uint64_t>(sqlite3_column_int64(rows.get(), 0));
    record.previous = static_cast<uint64_t>(sqlite3_column_int64(rows.get(), 1));
    record.key.assign(reinterpret_cast<const char*>(sqlite3_column_text(rows.get(), 2)),
                      static_cast<size_t>(sqlite3_column_bytes(rows.get(), 2)));
    if (sqlite3_column_type(rows.get(), 3) != SQLITE_NULL)
      record.value = std::make_shared<const std::string>(
          static_cast<const char*>(sqlite3_column_blob(rows.get(), 3)),
          static_cast<size_t>(sqlite3_column_bytes(rows.get(), 3)));
    position.revision = record.revision;
    FL_TRY_VOID(each(std::move(record)));
  }
  if (step != SQLITE_DONE) return trouble("read log");
  return position;
}

Result<void> SqliteLog::insert(const LogRecord& record) {
  sqlite3_stmt* row = insert_->get();
  sqlite3_bind_int64(row, 1, static_cast<sqlite3_int64>(record.revision));
  sqlite3_bind_int64(row, 2, static_cast<sqlite3_int64>(record.previous));
  sqlite3_bind_text64(row, 3, record.key.data(), record.key.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (record.value)
    sqlite3_bind_blob64(row, 4, record.value->data(), record.value->size(), SQLITE_STATIC);
  else
    sqlite3_bind_null(row, 4);
  int step = sqlite3_step(row);
  Result<void> outcome;
  if (step != SQLITE_DONE) outcome = trouble(cat("write ", record.key));
  sqlite3_reset(row);
  return outcome;
}

Result<void> SqliteLog::append(std::span<const LogRecord> records) {
  FL_TRY_VOID(run("BEGIN IMMEDIATE", "begin"));
  Result<void> outcome;
  for (const LogRecord& record : records)
    if (outcome = insert(record); !outcome) break;
  if (outcome) outcome = run("COMMIT", "commit");
  // A full disk may have rolled back by itself; then this is an error that says nothing new.
  if (!outcome && sqlite3_get_autocommit(db_) == 0)
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  return outcome;
}

Result<void> SqliteLog::compact_range(int64_t low, int64_t high) {
  std::string range = cat("revision > ", low, " AND revision <= ", high);
  std::string sql =
      cat("BEGIN IMMEDIATE;", "DELETE FROM log WHERE revision IN (SELECT previous FROM log WHERE ",
          range, " AND previous > 0);", "DELETE FROM log WHERE ", range, " AND value IS NULL;",
          "UPDATE position SET compacted = ", high, "; COMMIT");
  Result<void> outcome = run(sql.c_str(), "compact");
  if (!outcome && sqlite3_get_autocommit(db_) == 0)
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  return outcome;
}

Result<void> SqliteLog::compact(uint64_t revision) {
  FL_TRY(int64_t low, number("SELECT compacted FROM position", "read position"));
  auto high = static_cast<int64_t>(revision);
  for (; low < high; low += kRowsPerCompaction)
    FL_TRY_VOID(compact_range(low, std::min(high, low + kRowsPerCompaction)));
  return {};
}

}  // namespace

Result<std::unique_ptr<StoreLog>> open_sqlite_log(const std::string& path) {
  auto log = std::make_unique<SqliteLog>(path);
  FL_TRY_VOID(log->open());
  return log;
}

}  // namespace fairlead::controlplane

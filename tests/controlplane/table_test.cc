// Printed rows, as text: one file per case under tables/. A file is a document in JSON, a line
// "---", and the cells that it must give, one per line as "Column: value".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "controlplane/time_text.h"
#include "controlplane/view.h"
#include "store_support.h"

namespace fairlead::controlplane {
namespace {

constexpr std::string_view kNow = "2026-01-10T12:00:00Z";

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::string cells_text(const Resource& row, const json::value& document) {
  json::array cells = table_cells(row, document, *parse_rfc3339(kNow));
  EXPECT_EQ(cells.size(), row.columns.size());
  std::string out;
  for (size_t i = 0; i < cells.size() && i < row.columns.size(); ++i) {
    bool integer = row.columns[i].type == "integer";
    EXPECT_EQ(cells[i].is_int64(), integer) << row.columns[i].name;
    out +=
        cat(row.columns[i].name, ": ",
            cells[i].is_string() ? std::string(cells[i].get_string()) : json::serialize(cells[i]),
            "\n");
  }
  return out;
}

std::vector<std::string> cases() {
  std::vector<std::string> out;
  for (const auto& entry :
       std::filesystem::directory_iterator(FAIRLEAD_SOURCE_DIR "/tests/controlplane/tables"))
    out.push_back(entry.path().stem().string());
  std::ranges::sort(out);
  return out;
}

class TableCellsTest : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Files, TableCellsTest, testing::ValuesIn(cases()),
                         [](const auto& param) { return param.param; });

TEST_P(TableCellsTest, AreAsWritten) {
  ResourceTable table;
  std::string text =
      read(cat(FAIRLEAD_SOURCE_DIR "/tests/controlplane/tables/", GetParam(), ".txt"));
  size_t cut = text.find("\n---\n");
  ASSERT_NE(cut, std::string::npos);
  json::value document = parsed(std::string_view(text).substr(0, cut));
  const Resource* row =
      table.find_kind(find_string(document, "apiVersion"), find_string(document, "kind"));
  ASSERT_NE(row, nullptr);
  EXPECT_EQ(cells_text(*row, document), text.substr(cut + 5));
}

TEST(TableTest, EveryKindPrintsAnEmptyObject) {
  ResourceTable table;
  for (const Resource& row : table.all())
    EXPECT_EQ(table_cells(row, json::value(json::object{}), {}).size(), row.columns.size())
        << row.kind;
}

TEST(TableTest, EveryKindHasANameColumnForScripts) {
  ResourceTable table;
  for (const Resource& row : table.all())
    EXPECT_EQ(
        std::ranges::count_if(row.columns, [](const Column& c) { return c.format == "name"; }), 1)
        << row.kind;
}

struct DurationCase {
  int64_t seconds;
  const char* text;
};

constexpr DurationCase kDurations[] = {
    {-5, "<invalid>"},
    {-1, "0s"},
    {0, "0s"},
    {59, "59s"},
    {119, "119s"},
    {120, "2m"},
    {150, "2m30s"},
    {599, "9m59s"},
    {600, "10m"},
    {659, "10m"},
    {10'799, "179m"},
    {10'800, "3h"},
    {12'000, "3h20m"},
    {28'800, "8h"},
    {30'000, "8h"},
    {172'799, "47h"},
    {172'800, "2d"},
    {183'600, "2d3h"},
    {691'199, "7d23h"},
    {691'200, "8d"},
    {63'071'999, "729d"},
    {63'072'000, "2y"},
    {64'000'000, "2y10d"},
    {252'288'000, "8y"},
};

TEST(TableTimeTest, ShortDurations) {
  for (const DurationCase& c : kDurations)
    EXPECT_EQ(short_duration(c.seconds), c.text) << c.seconds;
}

TEST(TableTimeTest, AgesOfTimestamps) {
  const WallTime now = *parse_rfc3339("2026-03-01T12:00:00Z");
  EXPECT_EQ(age("2026-03-01T11:59:00Z", now), "60s");
  EXPECT_EQ(age("1970-01-01T00:00:00Z", now), "56y");
  EXPECT_EQ(age("2200-12-31T23:59:59Z", now), "<invalid>");
  for (const char* unknown : {"", "now", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"})
    EXPECT_EQ(age(unknown, now), "<unknown>") << unknown;
}

class TableViewTest : public testing::Test {
 protected:
  ResourceTable table;
  const Resource& maps = *table.find("", "v1", "configmaps");
  ObjectPtr object = make_stored(maps, config_map("d", "a"), 7);
};

TEST_F(TableViewTest, RowsCarryMetadataObjectsOrNothing) {
  View view{.form = View::Form::table};
  json::value with = parsed(render_object(view, maps, *object, {}));
  EXPECT_EQ(find_string(with, "apiVersion"), "meta.k8s.io/v1");
  EXPECT_EQ(find_string(with, "metadata", "resourceVersion"), "7");
  const json::value& row = find(with, "rows")->get_array().at(0);
  EXPECT_EQ(find_string(row, "object", "kind"), "PartialObjectMetadata");
  EXPECT_EQ(find_string(row, "object", "metadata", "name"), "a");
  EXPECT_EQ(find(row, "object", "data"), nullptr);
  view.include = View::Include::object;
  json::value whole = parsed(render_object(view, maps, *object, {}));
  EXPECT_NE(find(find(whole, "rows")->get_array().at(0), "object", "data"), nullptr);
  view.include = View::Include::none;
  view.version = "v1beta1";
  json::value bare = parsed(render_object(view, maps, *object, {}));
  EXPECT_EQ(find_string(bare, "apiVersion"), "meta.k8s.io/v1beta1");
  EXPECT_EQ(find(find(bare, "rows")->get_array().at(0), "object"), nullptr);
}

TEST_F(TableViewTest, ListsInEachForm) {
  ListPage page{
      .items = {object, object}, .revision = 9, .continue_token = "more", .remaining_items = 3};
  struct Case {
    View view;
    const char* kind;
    const char* items;
  };
  for (const Case& c :
       {Case{{}, "ConfigMapList", "items"}, Case{{.form = View::Form::table}, "Table", "rows"},
        Case{{.form = View::Form::metadata}, "PartialObjectMetadataList", "items"}}) {
    json::value list = parsed(render_list(c.view, maps, page, {}));
    EXPECT_EQ(find_string(list, "kind"), c.kind);
    EXPECT_EQ(find_string(list, "metadata", "resourceVersion"), "9");
    EXPECT_EQ(find_string(list, "metadata", "continue"), "more");
    EXPECT_EQ(find(list, "metadata", "remainingItemCount")->get_int64(), 3);
    EXPECT_EQ(find(list, c.items)->get_array().size(), 2U);
  }
  EXPECT_EQ(find(parsed(render_list({}, maps, {.revision = 9}, {})), "items")->get_array().size(),
            0U);
}

struct AcceptCase {
  const char* accept;
  const char* form;  // "406", or form and version
};

constexpr AcceptCase kAccepts[] = {
    {"", "object v1"},
    {"application/json", "object v1"},
    {"*/*", "object v1"},
    {"application/json, */*", "object v1"},
    {"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "table v1"},
    {"application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json", "table v1beta1"},
    {"application/json;g=meta.k8s.io;v=v1;as=Table", "table v1"},
    {"application/json;as=Table;v=v9;g=meta.k8s.io,application/json", "object v1"},
    {"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "metadata v1"},
    {"application/vnd.kubernetes.protobuf,application/json", "object v1"},
    {"application/vnd.kubernetes.protobuf", "406"},
    {"text/html", "406"},
    {"application/json;as=Scale;v=v1;g=autoscaling", "406"},
};

TEST_F(TableViewTest, NegotiatesTheForm) {
  for (const AcceptCase& c : kAccepts) {
    Outcome<View> view = negotiate(c.accept, Query(""));
    std::string got = cat(view ? 200 : view.error().code);
    if (view)
      got = cat(view->form == View::Form::table      ? "table "
                : view->form == View::Form::metadata ? "metadata "
                                                     : "object ",
                view->version);
    EXPECT_EQ(got, c.form) << c.accept;
  }
  EXPECT_EQ(negotiate("", Query("includeObject=All")).error().code, 400);
  EXPECT_EQ(negotiate("", Query("includeObject=Object"))->include, View::Include::object);
}

}  // namespace
}  // namespace fairlead::controlplane

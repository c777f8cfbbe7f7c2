#include "api/data.h"

// Made by fairlead_embed() from api/data: the file's bytes between two symbols.
#define FL_TABLES(X)                                              \
  X("api-resources-1.32.json", api_resources_1_32_json)           \
  X("api-schema-1.32.json", api_schema_1_32_json)                 \
  X("protobuf-fields.json", protobuf_fields_json)                 \
  X("protobuf-inline-fields.json", protobuf_inline_fields_json)   \
  X("protobuf-pointer-fields.json", protobuf_pointer_fields_json) \
  X("strategic-merge-keys.json", strategic_merge_keys_json)

#define FL_DECLARE(file, symbol) \
  extern "C" const char fairlead_data_##symbol[], fairlead_data_##symbol##_end[];
FL_TABLES(FL_DECLARE)
#undef FL_DECLARE

// The list is short and asked for by constants, so a chain of comparisons is all that it takes.
namespace fairlead::api {

std::string_view data(std::string_view file_name) {
#define FL_MATCH(file, symbol) \
  if (file_name == file) return {fairlead_data_##symbol, fairlead_data_##symbol##_end};
  FL_TABLES(FL_MATCH)
#undef FL_MATCH
  return {};
}

}  // namespace fairlead::api

// The tables of api/data, embedded in the binary.
#pragma once

#include <string_view>

namespace fairlead::api {

// The bytes of one file of api/data, "api-schema-1.32.json"; empty when there is no such file.
// They live as long as the program.
std::string_view data(std::string_view file_name);

}  // namespace fairlead::api

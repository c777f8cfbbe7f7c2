// Result<T>: how expected failures and untrusted input are reported. Impossible things use CHECK.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace fairlead {

// One sentence for a person: what was wrong, where (object, file:line, field), what was expected.
struct Error {
  std::string message;

  friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(std::string message) {
  return std::unexpected(Error{std::move(message)});
}

// `in` names the place that a caller knows and the callee did not: "config.yaml:3: " + message.
inline std::unexpected<Error> fail(std::string_view in, const Error& cause) {
  return fail(std::string(in) + ": " + cause.message);
}

}  // namespace fairlead

#define FL_CONCAT_INNER(a, b) a##b
#define FL_CONCAT(a, b) FL_CONCAT_INNER(a, b)

// FL_TRY(auto x, f()): x is the value, or the function returns f's error.
#define FL_TRY(declaration, expression) \
  FL_TRY_INNER(FL_CONCAT(fl_try_, __LINE__), declaration, expression)
#define FL_TRY_INNER(temporary, declaration, expression)                \
  auto temporary = (expression);                                        \
  if (!temporary) return std::unexpected(std::move(temporary).error()); \
  declaration = *std::move(temporary)

// FL_TRY_VOID(f()): for Result<void>.
#define FL_TRY_VOID(expression)                             \
  do {                                                      \
    if (auto fl_result = (expression); !fl_result)          \
      return std::unexpected(std::move(fl_result).error()); \
  } while (false)

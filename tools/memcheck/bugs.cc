// Bugs on purpose, one of each kind, in an addon of its own: what shows that a checker would find
// them in the real one. Built beside it with the same flags; no part of the package.
#include <node_api.h>

#include <climits>
#include <cstdlib>

namespace {

// Out of the optimizer's sight.
volatile int sink;

napi_value Overflow(napi_env, napi_callback_info) {
  auto* bytes = static_cast<volatile char*>(malloc(16));
  bytes[16] = 1;
  free(const_cast<char*>(bytes));
  return nullptr;
}

napi_value UseAfterFree(napi_env, napi_callback_info) {
  auto* bytes = static_cast<volatile char*>(malloc(16));
  free(const_cast<char*>(bytes));
  sink = bytes[0];
  return nullptr;
}

napi_value Leak(napi_env, napi_callback_info) {
  auto* bytes = static_cast<volatile char*>(malloc(4242));
  bytes[0] = 1;
  bytes = nullptr;
  return nullptr;
}

napi_value Undefined(napi_env, napi_callback_info) {
  volatile int largest = INT_MAX;
  sink = largest + 1;
  return nullptr;
}

napi_value Uninitialized(napi_env, napi_callback_info) {
  auto* number = static_cast<volatile int*>(malloc(sizeof(int)));
  if (*number == 42) sink = 1;
  free(const_cast<int*>(number));
  return nullptr;
}

napi_value Init(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
#define BUG(name, function) \
  {name, nullptr, function, nullptr, nullptr, nullptr, napi_enumerable, nullptr}
      BUG("overflow", Overflow),   BUG("useAfterFree", UseAfterFree),   BUG("leak", Leak),
      BUG("undefined", Undefined), BUG("uninitialized", Uninitialized),
#undef BUG
  };
  napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties);
  return exports;
}

}  // namespace

NAPI_MODULE(bugs, Init)

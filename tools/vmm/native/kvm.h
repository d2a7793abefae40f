// What the two halves of the addon share: errors, and the way to an ioctl's argument.
#pragma once

#include <napi.h>

namespace vmm {

// Throws a JavaScript error that names the call and its errno: `errno` is negative, as
// in errors of Node.
[[noreturn]] void ThrowErrno(Napi::Env env, const char* call, int error);

// The result of a call that returns -1 and sets errno.
int Check(Napi::Env env, const char* call, int result);

inline int IntArg(const Napi::CallbackInfo& info, size_t i) {
  return info[i].As<Napi::Number>().Int32Value();
}

inline uint64_t U64Arg(const Napi::CallbackInfo& info, size_t i) {
  bool lossless;
  return info[i].As<Napi::BigInt>().Uint64Value(&lossless);
}

// Whether this machine's processor is QEMU's emulation.
bool IsEmulated();

void InitVcpu(Napi::Env env, Napi::Object exports);

}  // namespace vmm

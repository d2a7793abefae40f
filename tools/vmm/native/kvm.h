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

// What the host's processor has, with this vCPU's own APIC id in it.
void SetCpuid(Napi::Env env, int kvm, int vcpu, int id);

// Where 64-bit code begins, and what it finds.
struct LongMode {
  uint64_t rip;
  uint64_t rsi;
  uint64_t page_tables;
  uint64_t gdt;
};

// With flat segments and no interrupts.
void SetLongMode(Napi::Env env, int vcpu, const LongMode& start);

void InitVcpu(Napi::Env env, Napi::Object exports);

}  // namespace vmm

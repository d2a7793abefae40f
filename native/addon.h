// What every file of the addon shares: per-environment state, the result convention, argument
// readers.
//
// Result convention: a function returns its value on success and the number -errno on failure; it
// throws only a TypeError for an argument of the wrong kind. TypeScript turns -errno into an error
// with code, syscall, path and hint, so no policy lives here.
#pragma once

#include <napi.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

namespace vhostnet {

struct Mapping;

// One per JavaScript environment (main thread or worker); there is no mutable static state but what
// a signal handler needs.
struct AddonData {
  Napi::FunctionReference fd_class;
  // Live mappings by start address, so that a vhost device can hold the memory it was told about.
  std::map<uintptr_t, std::weak_ptr<Mapping>> mappings;
};

inline AddonData& Data(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }

// Registration, one per file.
void InitConstants(Napi::Env env, Napi::Object exports);
void InitErrnoTable(Napi::Env env, Napi::Object exports);
void InitEventFd(Napi::Env env, Napi::Object exports);
void InitFd(Napi::Env env, Napi::Object exports);
void InitFrames(Napi::Env env, Napi::Object exports);
void InitIoUring(Napi::Env env, Napi::Object exports);
void InitKvm(Napi::Env env, Napi::Object exports);
void InitKvmGuest(Napi::Env env, Napi::Object exports);
void InitLayout(Napi::Env env, Napi::Object exports);
void InitMemory(Napi::Env env, Napi::Object exports);
void InitMemoryGuard(Napi::Env env, Napi::Object exports);
void InitNetif(Napi::Env env, Napi::Object exports);
void InitPacket(Napi::Env env, Napi::Object exports);
void InitPoller(Napi::Env env, Napi::Object exports);
void InitRtnetlink(Napi::Env env, Napi::Object exports);
void InitTun(Napi::Env env, Napi::Object exports);
void InitUnixSocket(Napi::Env env, Napi::Object exports);
void InitVhost(Napi::Env env, Napi::Object exports);
void InitVhostIotlb(Napi::Env env, Napi::Object exports);
void InitVhostVring(Napi::Env env, Napi::Object exports);

inline void Export(Napi::Env env, Napi::Object exports, const char* name,
                   Napi::Value (*function)(const Napi::CallbackInfo&)) {
  exports.Set(name, Napi::Function::New(env, function, name));
}

inline Napi::Value Result(Napi::Env env, long value) { return Napi::Number::New(env, value); }

// The result of a system call: its value, or -errno.
inline long Checked(long returned) { return returned < 0 ? -errno : returned; }

inline int Ioctl(int fd, unsigned long request, void* argument) {
  return static_cast<int>(Checked(ioctl(fd, request, argument)));
}

inline int IoctlValue(int fd, unsigned long request, unsigned long value) {
  return static_cast<int>(Checked(ioctl(fd, request, value)));
}

// Argument readers.

inline uint32_t U32(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsNumber()) throw Napi::TypeError::New(info.Env(), "expected a number");
  return info[index].As<Napi::Number>().Uint32Value();
}

inline int32_t I32(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsNumber()) throw Napi::TypeError::New(info.Env(), "expected a number");
  return info[index].As<Napi::Number>().Int32Value();
}

inline uint64_t U64(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsBigInt()) throw Napi::TypeError::New(info.Env(), "expected a bigint");
  bool lossless;
  uint64_t value = info[index].As<Napi::BigInt>().Uint64Value(&lossless);
  if (!lossless) throw Napi::TypeError::New(info.Env(), "expected an unsigned 64-bit bigint");
  return value;
}

inline std::string String(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsString()) throw Napi::TypeError::New(info.Env(), "expected a string");
  return info[index].As<Napi::String>().Utf8Value();
}

struct Bytes {
  uint8_t* data;
  size_t size;
};

inline Bytes BytesArg(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsTypedArray()) throw Napi::TypeError::New(info.Env(), "expected a typed array");
  auto array = info[index].As<Napi::TypedArray>();
  return {static_cast<uint8_t*>(array.ArrayBuffer().Data()) + array.ByteOffset(),
          array.ByteLength()};
}

}  // namespace vhostnet

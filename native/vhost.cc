// /dev/vhost-net, the device: one function per ioctl of linux/vhost.h that is not about a ring.
#include <cstdlib>
#include <vector>

#include "async.h"
#include "fd.h"
#include "memory.h"
#include "vhost_uapi.h"

namespace vhostnet {

static Napi::Value U64Result(Napi::Env env, int result, uint64_t value) {
  return result < 0 ? Result(env, result) : Napi::BigInt::New(env, value);
}

// vhostSetOwner(fd): starts the worker thread, so it waits.
static Napi::Value SetOwner(const Napi::CallbackInfo& info) {
  auto use = std::make_shared<InUse>(StateArg(info, 0));
  return RunOnPool(info.Env(), [use] { return Ioctl(use->fd(), VHOST_SET_OWNER, nullptr); });
}

// vhostResetOwner(fd): stops the worker thread, so it waits; the memory table and the log go with
// it.
static Napi::Value ResetOwner(const Napi::CallbackInfo& info) {
  auto state = StateArg(info, 0);
  auto use = std::make_shared<InUse>(state);
  return RunOnPool(info.Env(), [use, state] {
    int result = Ioctl(use->fd(), VHOST_RESET_OWNER, nullptr);
    if (result >= 0) {
      state->holds.clear();
      state->log_holds.clear();
    }
    return result;
  });
}

static Napi::Value GetFeatures(const Napi::CallbackInfo& info) {
  uint64_t features = 0;
  int result = Ioctl(FdArg(info, 0), VHOST_GET_FEATURES, &features);
  return U64Result(info.Env(), result, features);
}

static Napi::Value SetFeatures(const Napi::CallbackInfo& info) {
  uint64_t features = U64(info, 1);
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_SET_FEATURES, &features));
}

// Words of 64 feature bits in an array; kernels have two.
constexpr uint32_t kMostWords = 64;

// vhostGetFeaturesArray(fd, count): the first count 64-bit words.
static Napi::Value GetFeaturesArray(const Napi::CallbackInfo& info) {
  uint32_t count = U32(info, 1);
  if (count > kMostWords) return Result(info.Env(), -E2BIG);
  std::vector<uint64_t> words(1 + count);
  words[0] = count;
  int result = Ioctl(FdArg(info, 0), VHOST_GET_FEATURES_ARRAY, words.data());
  if (result < 0) return Result(info.Env(), result);
  auto array = Napi::Array::New(info.Env(), count);
  for (uint32_t i = 0; i < count; i++) {
    array.Set(i, Napi::BigInt::New(info.Env(), words[1 + i]));
  }
  return array;
}

// vhostSetFeaturesArray(fd, BigUint64Array)
static Napi::Value SetFeaturesArray(const Napi::CallbackInfo& info) {
  Bytes bytes = BytesArg(info, 1);
  std::vector<uint64_t> words(1 + bytes.size / sizeof(uint64_t));
  words[0] = words.size() - 1;
  if (words[0] > 0) memcpy(words.data() + 1, bytes.data, words[0] * sizeof(uint64_t));
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_SET_FEATURES_ARRAY, words.data()));
}

static Napi::Value GetBackendFeatures(const Napi::CallbackInfo& info) {
  uint64_t features = 0;
  int result = Ioctl(FdArg(info, 0), VHOST_GET_BACKEND_FEATURES, &features);
  return U64Result(info.Env(), result, features);
}

static Napi::Value SetBackendFeatures(const Napi::CallbackInfo& info) {
  uint64_t features = U64(info, 1);
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_SET_BACKEND_FEATURES, &features));
}

// A kernel without these two takes the argument for a ring's index, which has four bytes.
static Napi::Value GetForkFromOwner(const Napi::CallbackInfo& info) {
  __u8 mode[4] = {};
  int result = Ioctl(FdArg(info, 0), VHOST_GET_FORK_FROM_OWNER, mode);
  return Result(info.Env(), result < 0 ? result : mode[0]);
}

static Napi::Value SetForkFromOwner(const Napi::CallbackInfo& info) {
  __u8 mode[4] = {static_cast<__u8>(U32(info, 1))};
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_SET_FORK_FROM_OWNER, mode));
}

// vhostSetMemTable(fd, regions, padding): regions holds guest_phys_addr, memory_size,
// userspace_addr, flags_padding for each. On success the device holds the mappings the table names.
static Napi::Value SetMemTable(const Napi::CallbackInfo& info) {
  auto state = StateArg(info, 0);
  Bytes regions = BytesArg(info, 1);
  size_t count = regions.size / sizeof(struct vhost_memory_region);
  std::vector<uint8_t> table(sizeof(struct vhost_memory) + regions.size);
  auto* memory = reinterpret_cast<struct vhost_memory*>(table.data());
  memory->nregions = static_cast<uint32_t>(count);
  memory->padding = U32(info, 2);
  if (regions.size > 0) memcpy(memory->regions, regions.data, regions.size);
  int result = Ioctl(state->fd.load(), VHOST_SET_MEM_TABLE, memory);
  if (result >= 0) {
    std::vector<std::shared_ptr<Mapping>> holds;
    for (size_t i = 0; i < count; i++) {
      CollectMappings(info.Env(), memory->regions[i].userspace_addr, memory->regions[i].memory_size,
                      &holds);
    }
    state->holds.swap(holds);
  }
  return Result(info.Env(), result);
}

// vhostSetLogBase(fd, address): of the dirty bitmap, in this process. On success the device holds
// the mapping that has it, and lets go of the one before.
static Napi::Value SetLogBase(const Napi::CallbackInfo& info) {
  auto state = StateArg(info, 0);
  uint64_t base = U64(info, 1);
  int result = Ioctl(state->fd.load(), VHOST_SET_LOG_BASE, &base);
  if (result >= 0) {
    std::vector<std::shared_ptr<Mapping>> holds;
    CollectMappings(info.Env(), base, 1, &holds);
    state->log_holds.swap(holds);
  }
  return Result(info.Env(), result);
}

static Napi::Value SetLogFd(const Napi::CallbackInfo& info) {
  int fd = AnyFdArg(info, 1);
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_SET_LOG_FD, &fd));
}

// vhostNewWorker(fd): the new worker's id.
static Napi::Value NewWorker(const Napi::CallbackInfo& info) {
  struct vhost_worker_state worker = {};
  int result = Ioctl(FdArg(info, 0), VHOST_NEW_WORKER, &worker);
  return Result(info.Env(), result < 0 ? result : static_cast<long>(worker.worker_id));
}

static Napi::Value FreeWorker(const Napi::CallbackInfo& info) {
  struct vhost_worker_state worker = {U32(info, 1)};
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_FREE_WORKER, &worker));
}

void InitVhost(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "vhostSetOwner", SetOwner);
  Export(env, exports, "vhostResetOwner", ResetOwner);
  Export(env, exports, "vhostGetFeatures", GetFeatures);
  Export(env, exports, "vhostSetFeatures", SetFeatures);
  Export(env, exports, "vhostGetFeaturesArray", GetFeaturesArray);
  Export(env, exports, "vhostSetFeaturesArray", SetFeaturesArray);
  Export(env, exports, "vhostGetBackendFeatures", GetBackendFeatures);
  Export(env, exports, "vhostSetBackendFeatures", SetBackendFeatures);
  Export(env, exports, "vhostGetForkFromOwner", GetForkFromOwner);
  Export(env, exports, "vhostSetForkFromOwner", SetForkFromOwner);
  Export(env, exports, "vhostSetMemTable", SetMemTable);
  Export(env, exports, "vhostSetLogBase", SetLogBase);
  Export(env, exports, "vhostSetLogFd", SetLogFd);
  Export(env, exports, "vhostNewWorker", NewWorker);
  Export(env, exports, "vhostFreeWorker", FreeWorker);
}

}  // namespace vhostnet

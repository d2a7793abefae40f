// Memory that the kernel's vhost worker, KVM and JavaScript share: memfd, seals, mmap as an
// ArrayBuffer.
#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fd.h"

namespace vhostnet {

Mapping::~Mapping() {
  if (guard) Unguard(guard);
  munmap(address, size);
}

void CollectMappings(Napi::Env env, uint64_t address, uint64_t size,
                     std::vector<std::shared_ptr<Mapping>>* found) {
  for (auto& [start, weak] : Data(env).mappings) {
    std::shared_ptr<Mapping> mapping = weak.lock();
    if (!mapping || start >= address + size || address >= start + mapping->size) continue;
    found->push_back(std::move(mapping));
  }
}

// memfdCreate(name, flags): MFD_* flags; close-on-exec and sealable.
static Napi::Value MemfdCreate(const Napi::CallbackInfo& info) {
  std::string name = String(info, 0);
  return FdResult(info.Env(), Checked(memfd_create(
                                  name.c_str(), U32(info, 1) | MFD_CLOEXEC | MFD_ALLOW_SEALING)));
}

static Napi::Value Truncate(const Napi::CallbackInfo& info) {
  return Result(info.Env(), Checked(ftruncate(FdArg(info, 0), static_cast<off_t>(U64(info, 1)))));
}

static Napi::Value AddSeals(const Napi::CallbackInfo& info) {
  return Result(info.Env(), Checked(fcntl(FdArg(info, 0), F_ADD_SEALS, I32(info, 1))));
}

static Napi::Value GetSeals(const Napi::CallbackInfo& info) {
  return Result(info.Env(), Checked(fcntl(FdArg(info, 0), F_GET_SEALS)));
}

// {address, buffer} of a new mapping, which this owns from now on.
static Napi::Value Own(Napi::Env env, void* address, size_t size) {
  auto* owner = new std::shared_ptr<Mapping>(std::make_shared<Mapping>(address, size));
  napi_value buffer;
  napi_status status = napi_create_external_arraybuffer(
      env, address, size,
      [](napi_env, void*, void* hint) { delete static_cast<std::shared_ptr<Mapping>*>(hint); },
      owner, &buffer);
  if (status != napi_ok) {
    // Where the engine refuses the size an exception is pending already: it is the answer.
    delete owner;
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (pending) throw env.GetAndClearPendingException();
    return Result(env, -ENOTSUP);
  }
  auto& mappings = Data(env).mappings;
  for (auto it = mappings.begin(); it != mappings.end();) {
    it = it->second.expired() ? mappings.erase(it) : std::next(it);
  }
  mappings[reinterpret_cast<uintptr_t>(address)] = *owner;
  Napi::Object result = Napi::Object::New(env);
  result.Set("address",
             Napi::BigInt::New(env, static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address))));
  result.Set("buffer", Napi::Value(env, buffer));
  return result;
}

// memoryMap(fd, offset, size): shared, readable and writable; {address, buffer}.
static Napi::Value Map(const Napi::CallbackInfo& info) {
  size_t size = static_cast<size_t>(U64(info, 2));
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, FdArg(info, 0),
                       static_cast<off_t>(U64(info, 1)));
  if (address == MAP_FAILED) return Result(info.Env(), -errno);
  return Own(info.Env(), address, size);
}

// memoryMapAnonymous(size, alignment): this process's own pages, from a multiple of `alignment` on,
// which is one of the page size; {address, buffer}.
static Napi::Value MapAnonymous(const Napi::CallbackInfo& info) {
  size_t size = static_cast<size_t>(U64(info, 0));
  size_t alignment = static_cast<size_t>(U64(info, 1));
  // mmap knows no alignment: so much more that an aligned part is in it, and the rest given back.
  void* whole =
      mmap(nullptr, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (whole == MAP_FAILED) return Result(info.Env(), -errno);
  char* start = static_cast<char*>(whole);
  size_t before = (alignment - reinterpret_cast<uintptr_t>(start) % alignment) % alignment;
  if (before > 0) munmap(start, before);
  if (before < alignment) munmap(start + before + size, alignment - before);
  return Own(info.Env(), start + before, size);
}

// memoryAdvise(buffer, advice): MADV_* for all of a mapping.
static Napi::Value Advise(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) throw Napi::TypeError::New(info.Env(), "expected an ArrayBuffer");
  auto buffer = info[0].As<Napi::ArrayBuffer>();
  return Result(info.Env(), Checked(madvise(buffer.Data(), buffer.ByteLength(), I32(info, 1))));
}

// memoryDetach(buffer): every view of it becomes empty; the mapping goes with the last owner.
static Napi::Value Detach(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) throw Napi::TypeError::New(info.Env(), "expected an ArrayBuffer");
  auto buffer = info[0].As<Napi::ArrayBuffer>();
  if (!buffer.IsDetached()) buffer.Detach();
  return Napi::Boolean::New(info.Env(), buffer.IsDetached());
}

void InitMemory(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "memfdCreate", MemfdCreate);
  Export(env, exports, "truncate", Truncate);
  Export(env, exports, "addSeals", AddSeals);
  Export(env, exports, "getSeals", GetSeals);
  Export(env, exports, "memoryMap", Map);
  Export(env, exports, "memoryMapAnonymous", MapAnonymous);
  Export(env, exports, "memoryAdvise", Advise);
  Export(env, exports, "memoryDetach", Detach);
  exports.Set("pageSize", Napi::Number::New(env, static_cast<double>(sysconf(_SC_PAGESIZE))));
}

}  // namespace vhostnet

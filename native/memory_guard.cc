// Mappings of files that somebody else can cut short.
//
// Touching a page behind the end of its file is SIGBUS, which ends the process. Of a mapping that
// is guarded, the rest is replaced by pages of nobody's, and the touch goes on: whoever owns the
// mapping asks afterwards whether that happened. Anywhere else the signal is what it was before.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "memory.h"

namespace vhostnet {

// A handler belongs to the process and can neither lock nor allocate: a table that is never moved.
struct Guarded {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> start{0};
  std::atomic<size_t> size{0};
  std::atomic<bool> cut{false};
};

constexpr size_t kMost = 4096;
static Guarded table[kMost];
// Slots in use lie below this one.
static std::atomic<size_t> highest{0};
static std::atomic<uint32_t> cuts{0};
static struct sigaction before;
static uintptr_t page_size;

static bool Replace(uintptr_t at) {
  size_t end = highest.load();
  for (size_t i = 0; i < end; i++) {
    uintptr_t start = table[i].start.load();
    size_t size = table[i].size.load();
    if (start == 0 || at < start || at - start >= size) continue;
    uintptr_t page = at & ~(page_size - 1);
    void* rest = mmap(reinterpret_cast<void*>(page), start + size - page, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    if (rest == MAP_FAILED) return false;
    table[i].cut.store(true);
    cuts.fetch_add(1);
    return true;
  }
  return false;
}

static void OnBusError(int signal, siginfo_t* info, void* context) {
  int saved = errno;
  // Broken hardware is not a file that was cut short.
  bool replaced =
      info->si_code == BUS_ADRERR && Replace(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved;
  if (replaced) return;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  } else {
    // The touch comes again, and ends the process as it would have without this.
    sigaction(SIGBUS, &before, nullptr);
  }
}

// The library must stay, as no handler can be taken back safely: binding.gyp links it `nodelete`.
static int Install() {
  page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  return static_cast<int>(Checked(sigaction(SIGBUS, &action, &before)));
}

static int Guard(Mapping* mapping) {
  if (mapping->guard) return 0;
  static const int installed = Install();  // Once in a process.
  if (installed < 0) return installed;
  for (size_t i = 0; i < kMost; i++) {
    bool expected = false;
    if (!table[i].taken.compare_exchange_strong(expected, true)) continue;
    table[i].cut.store(false);
    table[i].size.store(mapping->size);
    table[i].start.store(reinterpret_cast<uintptr_t>(mapping->address));
    size_t end = highest.load();
    while (end <= i && !highest.compare_exchange_weak(end, i + 1)) {
    }
    mapping->guard = &table[i];
    return 0;
  }
  return -ENOSPC;
}

void Unguard(Guarded* guard) {
  guard->start.store(0);
  guard->size.store(0);
  guard->taken.store(false);
}

static std::shared_ptr<Mapping> MappingArg(const Napi::CallbackInfo& info) {
  if (!info[0].IsArrayBuffer()) throw Napi::TypeError::New(info.Env(), "expected an ArrayBuffer");
  auto& mappings = Data(info.Env()).mappings;
  auto found = mappings.find(reinterpret_cast<uintptr_t>(info[0].As<Napi::ArrayBuffer>().Data()));
  return found == mappings.end() ? nullptr : found->second.lock();
}

// memoryGuard(buffer): from now on, until it is unmapped. -ENOSPC where 4096 are guarded.
static Napi::Value MemoryGuard(const Napi::CallbackInfo& info) {
  auto mapping = MappingArg(info);
  return Result(info.Env(), mapping ? Guard(mapping.get()) : -EINVAL);
}

// memoryIsCut(buffer): whether a page behind the end of its file was touched.
static Napi::Value MemoryIsCut(const Napi::CallbackInfo& info) {
  auto mapping = MappingArg(info);
  return Napi::Boolean::New(info.Env(), mapping && mapping->guard && mapping->guard->cut.load());
}

// memoryCuts(): how often that happened in this process, to any mapping.
static Napi::Value MemoryCuts(const Napi::CallbackInfo& info) {
  return Result(info.Env(), cuts.load());
}

void InitMemoryGuard(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "memoryGuard", MemoryGuard);
  Export(env, exports, "memoryIsCut", MemoryIsCut);
  Export(env, exports, "memoryCuts", MemoryCuts);
}

}  // namespace vhostnet

// Runs a few bytes of x86 machine code as a guest: what a host's /dev/kvm can do is seen by doing
// it. Not a VMM: one vCPU in real mode, one megabyte of memory, and a port to print to.
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "async.h"
#include "fd.h"

namespace vhostnet {

#if defined(__x86_64__)

constexpr size_t kMemory = 1 << 20;
constexpr uint64_t kEntry = 0x1000;
constexpr uint16_t kPrintPort = 0xe9;
constexpr uint16_t kEndPort = 0xf4;
constexpr int kMostExits = 10000;

// struct kvm_cpuid2: the flexible array in the kernel's definition is four bytes long in C++, and
// the size is part of the request's number.
struct CpuidHeader {
  uint32_t count;
  uint32_t padding;
};
constexpr uint32_t kCpuidEntries = 128;
struct Cpuid : CpuidHeader {
  struct kvm_cpuid_entry2 entries[kCpuidEntries];
};

struct GuestEnd {
  // 0 when the guest wrote to the end port, -errno of a failed step, or KVM's exit reason.
  long result = 0;
  std::string printed;
};

// What has to be undone, in reverse.
struct Vcpu {
  ~Vcpu() {
    if (run) munmap(run, run_size);
    if (fd >= 0) close(fd);
    if (memory) munmap(memory, kMemory);
  }
  uint8_t* memory = nullptr;
  int fd = -1;
  struct kvm_run* run = nullptr;
  size_t run_size = 0;
};

static void* MapOrNull(size_t size, int flags, int fd) {
  void* address = mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, 0);
  return address == MAP_FAILED ? nullptr : address;
}

static long Prepare(int kvm, int vm, const std::string& code, Vcpu* vcpu) {
  vcpu->memory =
      static_cast<uint8_t*>(MapOrNull(kMemory, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1));
  if (!vcpu->memory) return -errno;
  memcpy(vcpu->memory + kEntry, code.data(), code.size());
  struct kvm_userspace_memory_region region = {};
  region.memory_size = kMemory;
  region.userspace_addr = reinterpret_cast<uintptr_t>(vcpu->memory);
  long result = Ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
  if (result < 0) return result;
  vcpu->fd = IoctlValue(vm, KVM_CREATE_VCPU, 0);
  if (vcpu->fd < 0) return vcpu->fd;
  long size = IoctlValue(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (size < 0) return size;
  vcpu->run_size = static_cast<size_t>(size);
  vcpu->run = static_cast<struct kvm_run*>(MapOrNull(vcpu->run_size, MAP_SHARED, vcpu->fd));
  if (!vcpu->run) return -errno;

  // A CPU that was given no CPUID has no long mode to switch to.
  Cpuid cpuid = {};
  cpuid.count = kCpuidEntries;
  result = Ioctl(kvm, _IOWR(KVMIO, 0x05, CpuidHeader), &cpuid);  // KVM_GET_SUPPORTED_CPUID
  if (result >= 0) result = Ioctl(vcpu->fd, _IOW(KVMIO, 0x90, CpuidHeader), &cpuid);  // SET_CPUID2
  if (result < 0) return result;

  struct kvm_sregs sregs;
  result = Ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
  if (result < 0) return result;
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  result = Ioctl(vcpu->fd, KVM_SET_SREGS, &sregs);
  if (result < 0) return result;
  struct kvm_regs regs = {};
  regs.rip = kEntry;
  regs.rsp = 0x8000;
  regs.rflags = 2;
  return Ioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

static long Run(const Vcpu& vcpu, std::string* printed) {
  for (int exits = 0; exits < kMostExits; exits++) {
    int result = IoctlValue(vcpu.fd, KVM_RUN, 0);
    if (result == -EINTR || result == -EAGAIN) continue;
    if (result < 0) return result;
    if (vcpu.run->exit_reason != KVM_EXIT_IO || vcpu.run->io.direction != KVM_EXIT_IO_OUT) {
      return vcpu.run->exit_reason;
    }
    if (vcpu.run->io.port == kEndPort) return 0;
    if (vcpu.run->io.port == kPrintPort) {
      printed->append(reinterpret_cast<char*>(vcpu.run) + vcpu.run->io.data_offset,
                      vcpu.run->io.size * vcpu.run->io.count);
    }
  }
  return -ELOOP;
}

class GuestRun : public Napi::AsyncWorker {
 public:
  GuestRun(Napi::Env env, std::shared_ptr<InUse> kvm, std::shared_ptr<InUse> vm, std::string code)
      : Napi::AsyncWorker(env),
        deferred(Napi::Promise::Deferred::New(env)),
        kvm_(std::move(kvm)),
        vm_(std::move(vm)),
        code_(std::move(code)) {}

  void Execute() override {
    {
      Vcpu vcpu;
      end_.result = Prepare(kvm_->fd(), vm_->fd(), code_, &vcpu);
      if (end_.result >= 0) end_.result = Run(vcpu, &end_.printed);
    }
    kvm_.reset();
    vm_.reset();
  }

  void OnOK() override {
    Napi::Object object = Napi::Object::New(Env());
    object.Set("result", Napi::Number::New(Env(), static_cast<double>(end_.result)));
    object.Set("printed", Napi::String::New(Env(), end_.printed));
    deferred.Resolve(object);
  }

  Napi::Promise::Deferred deferred;

 private:
  std::shared_ptr<InUse> kvm_;
  std::shared_ptr<InUse> vm_;
  std::string code_;
  GuestEnd end_;
};

// kvmRunGuest(kvm, vm, code): {result, printed}; once per VM.
static Napi::Value RunGuest(const Napi::CallbackInfo& info) {
  Bytes code = BytesArg(info, 2);
  if (code.size > 0x6000) throw Napi::TypeError::New(info.Env(), "expected at most 24 KiB of code");
  auto* worker = new GuestRun(info.Env(), std::make_shared<InUse>(StateArg(info, 0)),
                              std::make_shared<InUse>(StateArg(info, 1)),
                              std::string(reinterpret_cast<char*>(code.data), code.size));
  Napi::Promise promise = worker->deferred.Promise();
  worker->Queue();
  return promise;
}

#else

static Napi::Value RunGuest(const Napi::CallbackInfo& info) {
  auto deferred = Napi::Promise::Deferred::New(info.Env());
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("result", Napi::Number::New(info.Env(), -ENOSYS));
  object.Set("printed", Napi::String::New(info.Env(), ""));
  deferred.Resolve(object);
  return deferred.Promise();
}

#endif

void InitKvmGuest(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "kvmRunGuest", RunGuest);
}

}  // namespace vhostnet

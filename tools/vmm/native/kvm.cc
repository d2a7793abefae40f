// The virtual machine: memory slots, interrupt controllers and interrupt routing. Descriptors are
// plain numbers here; kvm/vm.ts owns them.
#include "kvm.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace vmm {

// Three pages for real mode and one for the identity map, which Intel's processors want: below 4
// GiB, where the machine has nothing.
constexpr uint64_t kTssAddress = 0xfffbd000;
constexpr uint64_t kIdentityMapAddress = 0xfffbc000;

void ThrowErrno(Napi::Env env, const char* call, int error) {
  Napi::Error thrown = Napi::Error::New(env, std::string(call) + ": " + strerror(error));
  thrown.Set("errno", Napi::Number::New(env, -error));
  thrown.Set("syscall", Napi::String::New(env, call));
  throw thrown;
}

int Check(Napi::Env env, const char* call, int result) {
  if (result < 0) ThrowErrno(env, call, errno);
  return result;
}

// open(): a descriptor of /dev/kvm.
static Napi::Value Open(const Napi::CallbackInfo& info) {
  int kvm = Check(info.Env(), "open(/dev/kvm)", open("/dev/kvm", O_RDWR | O_CLOEXEC));
  return Napi::Number::New(info.Env(), kvm);
}

// createVm(kvm, irqchip): a descriptor of a machine, with `irqchip` one with a local APIC for each
// vCPU and an I/O APIC.
static Napi::Value CreateVm(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int vm = Check(env, "ioctl(KVM_CREATE_VM)", ioctl(IntArg(info, 0), KVM_CREATE_VM, 0));
  uint64_t identity = kIdentityMapAddress;
  try {
    Check(env, "ioctl(KVM_SET_TSS_ADDR)", ioctl(vm, KVM_SET_TSS_ADDR, kTssAddress));
    Check(env, "ioctl(KVM_SET_IDENTITY_MAP_ADDR)", ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity));
    if (info[1].As<Napi::Boolean>()) {
      Check(env, "ioctl(KVM_CREATE_IRQCHIP)", ioctl(vm, KVM_CREATE_IRQCHIP, 0));
    }
  } catch (...) {
    close(vm);
    throw;
  }
  return Napi::Number::New(env, vm);
}

// setMemory(vm, slot, guestAddress, size, userAddress, readOnly): the guest's memory at an address
// is this process's at another. Where it is `readOnly`, a write leaves the guest as a device's
// would.
static Napi::Value SetMemory(const Napi::CallbackInfo& info) {
  struct kvm_userspace_memory_region region = {};
  region.slot = IntArg(info, 1);
  region.guest_phys_addr = U64Arg(info, 2);
  region.memory_size = U64Arg(info, 3);
  region.userspace_addr = U64Arg(info, 4);
  if (info[5].As<Napi::Boolean>()) region.flags = KVM_MEM_READONLY;
  Check(info.Env(), "ioctl(KVM_SET_USER_MEMORY_REGION)",
        ioctl(IntArg(info, 0), KVM_SET_USER_MEMORY_REGION, &region));
  return info.Env().Undefined();
}

// struct kvm_irq_routing: the flexible array in the kernel's definition has a size in C++, and the
// size is part of the request's number.
struct RoutingHeader {
  uint32_t count;
  uint32_t flags;
};
constexpr auto kSetRouting = _IOW(KVMIO, 0x6a, RoutingHeader);

// setRouting(vm, routes): what each global system interrupt is. Of each {gsi, pin} or {gsi,
// address, data}: a pin of the I/O APIC, or a message.
static Napi::Value SetRouting(const Napi::CallbackInfo& info) {
  Napi::Array routes = info[1].As<Napi::Array>();
  using Entry = struct kvm_irq_routing_entry;
  static_assert(sizeof(Entry) % sizeof(RoutingHeader) == 0, "both lie in one array");
  constexpr size_t kPerEntry = sizeof(Entry) / sizeof(RoutingHeader);
  std::vector<RoutingHeader> buffer(1 + routes.Length() * kPerEntry);
  buffer[0].count = routes.Length();
  auto* entries = reinterpret_cast<Entry*>(&buffer[1]);
  for (uint32_t i = 0; i < routes.Length(); i++) {
    Napi::Object route = routes.Get(i).As<Napi::Object>();
    Entry* entry = &entries[i];
    auto number = [&](const char* name) { return route.Get(name).As<Napi::Number>(); };
    entry->gsi = number("gsi").Uint32Value();
    if (route.Has("pin")) {
      entry->type = KVM_IRQ_ROUTING_IRQCHIP;
      entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
      entry->u.irqchip.pin = number("pin").Uint32Value();
    } else {
      bool lossless;
      uint64_t address = route.Get("address").As<Napi::BigInt>().Uint64Value(&lossless);
      entry->type = KVM_IRQ_ROUTING_MSI;
      entry->u.msi.address_lo = static_cast<uint32_t>(address);
      entry->u.msi.address_hi = static_cast<uint32_t>(address >> 32);
      entry->u.msi.data = number("data").Uint32Value();
    }
  }
  Check(info.Env(), "ioctl(KVM_SET_GSI_ROUTING)",
        ioctl(IntArg(info, 0), kSetRouting, buffer.data()));
  return info.Env().Undefined();
}

// setLine(vm, gsi, level): an interrupt line, as a device drives it.
static Napi::Value SetLine(const Napi::CallbackInfo& info) {
  struct kvm_irq_level line = {};
  line.irq = IntArg(info, 1);
  line.level = info[2].As<Napi::Boolean>() ? 1 : 0;
  Check(info.Env(), "ioctl(KVM_IRQ_LINE)", ioctl(IntArg(info, 0), KVM_IRQ_LINE, &line));
  return info.Env().Undefined();
}

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("open", Napi::Function::New(env, Open));
  exports.Set("createVm", Napi::Function::New(env, CreateVm));
  exports.Set("setMemory", Napi::Function::New(env, SetMemory));
  exports.Set("setRouting", Napi::Function::New(env, SetRouting));
  exports.Set("setLine", Napi::Function::New(env, SetLine));
  exports.Set("isEmulated", Napi::Boolean::New(env, IsEmulated()));
  InitVcpu(env, exports);
  return exports;
}

}  // namespace vmm

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return vmm::Init(env, exports); }
NODE_API_MODULE(vmm, Init)

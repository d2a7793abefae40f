// What a vCPU is at its start: the features that it shows, and the state of its registers.
#include <cpuid.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstring>
#include <memory>

#include "kvm.h"

namespace vmm {

// struct kvm_cpuid2: the flexible array in the kernel's definition is four bytes long in C++, and
// the size is part of the request's number.
struct CpuidHeader {
  uint32_t count;
  uint32_t padding;
};
constexpr uint32_t kCpuidEntries = 256;
struct Cpuid : CpuidHeader {
  struct kvm_cpuid_entry2 entries[kCpuidEntries];
};

// Bits of a segment as the processor caches it, and of the control registers.
constexpr uint8_t kCodeSegment = 0xb;
constexpr uint8_t kDataSegment = 0x3;
// Four descriptors.
constexpr uint16_t kGdtLimit = 31;
constexpr uint64_t kCr0ProtectionAndPaging = 0x8000'0001;
constexpr uint64_t kCr4PhysicalAddressExtension = 0x20;
constexpr uint64_t kEferLongModeEnabledActive = 0x500;
constexpr uint32_t kFeatureX2apic = 1u << 21;
constexpr uint32_t kFeatureTscDeadline = 1u << 24;
constexpr uint32_t kFeatureXsave = 1u << 26;
constexpr uint32_t kFeatureHypervisor = 1u << 31;

bool IsEmulated() {
  uint32_t eax, signature[3];
  __cpuid(0x4000'0000, eax, signature[0], signature[1], signature[2]);
  return memcmp(signature, "TCGTCGTCGTCG", sizeof signature) == 0;
}

// What the host has, with this vCPU's own APIC id in it.
void SetCpuid(Napi::Env env, int kvm, int vcpu, int id) {
  static_assert(sizeof(CpuidHeader) == 8, "the size is part of the request's number");
  auto cpuid = std::make_unique<Cpuid>();
  cpuid->count = kCpuidEntries;
  constexpr auto kGet = _IOWR(KVMIO, 0x05, CpuidHeader);
  constexpr auto kSet = _IOW(KVMIO, 0x90, CpuidHeader);
  Check(env, "ioctl(KVM_GET_SUPPORTED_CPUID)", ioctl(kvm, kGet, cpuid.get()));
  for (uint32_t i = 0; i < cpuid->count; i++) {
    struct kvm_cpuid_entry2* leaf = &cpuid->entries[i];
    if (leaf->function == 1) {
      leaf->ebx = (leaf->ebx & 0x00ff'ffff) | static_cast<uint32_t>(id) << 24;
      leaf->ecx |= kFeatureX2apic | kFeatureTscDeadline | kFeatureHypervisor;
      // There a guest's guest sets XCR0 without KVM seeing it: what CPUID says of XSAVE is wrong,
      // and a kernel may crash of it.
      if (IsEmulated()) leaf->ecx &= ~kFeatureXsave;
    } else if (leaf->function == 0xb || leaf->function == 0x1f) {
      leaf->edx = id;
    } else if (leaf->function == 0x8000'001e) {
      leaf->eax = id;
      leaf->ebx = (leaf->ebx & ~0xffu) | static_cast<uint32_t>(id);
    }
  }
  Check(env, "ioctl(KVM_SET_CPUID2)", ioctl(vcpu, kSet, cpuid.get()));
}

void SetLongMode(Napi::Env env, int vcpu, const LongMode& start) {
  struct kvm_sregs sregs;
  Check(env, "ioctl(KVM_GET_SREGS)", ioctl(vcpu, KVM_GET_SREGS, &sregs));
  struct kvm_segment code = {};
  code.limit = 0xffff'ffff;
  code.selector = 0x10;
  code.type = kCodeSegment;
  code.present = code.s = code.l = code.g = 1;
  struct kvm_segment data = code;
  data.selector = 0x18;
  data.type = kDataSegment;
  data.l = 0;
  data.db = 1;
  sregs.cs = code;
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
  sregs.gdt.base = start.gdt;
  sregs.gdt.limit = kGdtLimit;
  sregs.cr0 |= kCr0ProtectionAndPaging;
  sregs.cr3 = start.page_tables;
  sregs.cr4 |= kCr4PhysicalAddressExtension;
  sregs.efer |= kEferLongModeEnabledActive;
  Check(env, "ioctl(KVM_SET_SREGS)", ioctl(vcpu, KVM_SET_SREGS, &sregs));
  struct kvm_regs regs = {};
  regs.rip = start.rip;
  regs.rsi = start.rsi;
  regs.rflags = 2;
  Check(env, "ioctl(KVM_SET_REGS)", ioctl(vcpu, KVM_SET_REGS, &regs));
}

}  // namespace vmm

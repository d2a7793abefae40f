// KVM's side of kick and call: ioeventfd and irqfd on a VM that the caller owns.
#include <fcntl.h>
#include <linux/kvm.h>

#include "fd.h"

namespace vhostnet {

// kvmCheckExtension(fd, capability): on /dev/kvm or on a VM.
static Napi::Value CheckExtension(const Napi::CallbackInfo& info) {
  return Result(info.Env(), IoctlValue(FdArg(info, 0), KVM_CHECK_EXTENSION, U32(info, 1)));
}

// kvmCreateVm(kvm): a VM's descriptor.
static Napi::Value CreateVm(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(), IoctlValue(FdArg(info, 0), KVM_CREATE_VM, 0));
}

// kvmCreateIrqchip(vm): the in-kernel interrupt controllers that irqfd needs.
static Napi::Value CreateIrqchip(const Napi::CallbackInfo& info) {
  return Result(info.Env(), IoctlValue(FdArg(info, 0), KVM_CREATE_IRQCHIP, 0));
}

// kvmIoeventfd(vm, address, length, datamatch, eventfd, flags)
static Napi::Value Ioeventfd(const Napi::CallbackInfo& info) {
  struct kvm_ioeventfd request = {};
  request.addr = U64(info, 1);
  request.len = U32(info, 2);
  request.datamatch = U64(info, 3);
  request.fd = AnyFdArg(info, 4);
  request.flags = U32(info, 5);
  return Result(info.Env(), Ioctl(FdArg(info, 0), KVM_IOEVENTFD, &request));
}

// kvmIrqfd(vm, gsi, eventfd, resamplefd | -1, flags)
static Napi::Value Irqfd(const Napi::CallbackInfo& info) {
  struct kvm_irqfd request = {};
  request.gsi = U32(info, 1);
  request.fd = static_cast<__u32>(AnyFdArg(info, 2));
  int resample = AnyFdArg(info, 3);
  request.flags = U32(info, 4);
  if (resample >= 0) request.resamplefd = static_cast<__u32>(resample);
  return Result(info.Env(), Ioctl(FdArg(info, 0), KVM_IRQFD, &request));
}

void InitKvm(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "kvmCheckExtension", CheckExtension);
  Export(env, exports, "kvmCreateVm", CreateVm);
  Export(env, exports, "kvmCreateIrqchip", CreateIrqchip);
  Export(env, exports, "kvmIoeventfd", Ioeventfd);
  Export(env, exports, "kvmIrqfd", Irqfd);
}

}  // namespace vhostnet

// /dev/net/tun: one function per TUN* ioctl of linux/if_tun.h.
#include <linux/filter.h>
#include <linux/if.h>
#include <sys/socket.h>

#include <cstring>
#include <vector>

#include "fd.h"
#include "tun_uapi.h"

namespace vhostnet {

// Requests that take their argument by value.
static Napi::Value ByValue(const Napi::CallbackInfo& info, unsigned long request) {
  return Result(info.Env(), IoctlValue(FdArg(info, 0), request, U32(info, 1)));
}

// Requests that take a pointer to an int.
static Napi::Value ByPointer(const Napi::CallbackInfo& info, unsigned long request) {
  int value = I32(info, 1);
  return Result(info.Env(), Ioctl(FdArg(info, 0), request, &value));
}

// Requests that return an unsigned int through a pointer.
static Napi::Value GetUnsigned(const Napi::CallbackInfo& info, unsigned long request) {
  unsigned int value = 0;
  int result = Ioctl(FdArg(info, 0), request, &value);
  return Result(info.Env(), result < 0 ? result : static_cast<long>(value));
}

static Napi::Value InterfaceResult(Napi::Env env, int result, const struct ifreq& request) {
  if (result < 0) return Result(env, result);
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", Napi::String::New(env, request.ifr_name,
                                       strnlen(request.ifr_name, sizeof request.ifr_name)));
  object.Set("flags", Napi::Number::New(env, static_cast<uint16_t>(request.ifr_flags)));
  return object;
}

// tunSetIff(fd, name, flags): {name, flags} as the kernel has them; the name may hold a %d.
static Napi::Value SetIff(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  strncpy(request.ifr_name, String(info, 1).c_str(), IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(U32(info, 2));
  int result = Ioctl(FdArg(info, 0), TUNSETIFF, &request);
  return InterfaceResult(info.Env(), result, request);
}

static Napi::Value GetIff(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  int result = Ioctl(FdArg(info, 0), TUNGETIFF, &request);
  return InterfaceResult(info.Env(), result, request);
}

// tunSetQueue(fd, flags): IFF_ATTACH_QUEUE or IFF_DETACH_QUEUE.
static Napi::Value SetQueue(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  request.ifr_flags = static_cast<short>(U32(info, 1));
  return Result(info.Env(), Ioctl(FdArg(info, 0), TUNSETQUEUE, &request));
}

// tunSetTxFilter(fd, flags, addresses): addresses holds 6 bytes each.
static Napi::Value SetTxFilter(const Napi::CallbackInfo& info) {
  Bytes addresses = BytesArg(info, 2);
  std::vector<uint8_t> buffer(sizeof(struct tun_filter) + addresses.size);
  auto* filter = reinterpret_cast<struct tun_filter*>(buffer.data());
  filter->flags = static_cast<__u16>(U32(info, 1));
  filter->count = static_cast<__u16>(addresses.size / ETH_ALEN);
  if (addresses.size > 0) memcpy(filter->addr, addresses.data, addresses.size);
  return Result(info.Env(), Ioctl(FdArg(info, 0), TUNSETTXFILTER, filter));
}

// tunAttachFilter(fd, program): classic BPF, 8 bytes an instruction.
static Napi::Value AttachFilter(const Napi::CallbackInfo& info) {
  Bytes bytes = BytesArg(info, 1);
  std::vector<struct sock_filter> code(bytes.size / sizeof(struct sock_filter));
  if (!code.empty()) memcpy(code.data(), bytes.data, code.size() * sizeof(struct sock_filter));
  struct sock_fprog program = {};
  program.len = static_cast<unsigned short>(code.size());
  program.filter = code.data();
  return Result(info.Env(), Ioctl(FdArg(info, 0), TUNATTACHFILTER, &program));
}

static Napi::Value DetachFilter(const Napi::CallbackInfo& info) {
  struct sock_fprog program = {};
  return Result(info.Env(), Ioctl(FdArg(info, 0), TUNDETACHFILTER, &program));
}

// tunGetFilter(fd): the length of the attached program; the pointer belongs to whoever set it.
static Napi::Value GetFilter(const Napi::CallbackInfo& info) {
  struct sock_fprog program = {};
  int result = Ioctl(FdArg(info, 0), TUNGETFILTER, &program);
  return Result(info.Env(), result < 0 ? result : program.len);
}

// tunGetDevNetns(fd): a descriptor of the interface's network namespace.
static Napi::Value GetDevNetns(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(), Ioctl(FdArg(info, 0), TUNGETDEVNETNS, nullptr));
}

template <unsigned long request, Napi::Value (*call)(const Napi::CallbackInfo&, unsigned long)>
static Napi::Value Tun(const Napi::CallbackInfo& info) {
  return call(info, request);
}

void InitTun(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "tunGetFeatures", Tun<TUNGETFEATURES, GetUnsigned>);
  Export(env, exports, "tunSetIff", SetIff);
  Export(env, exports, "tunGetIff", GetIff);
  Export(env, exports, "tunSetIfIndex", Tun<TUNSETIFINDEX, ByPointer>);
  Export(env, exports, "tunSetPersist", Tun<TUNSETPERSIST, ByValue>);
  Export(env, exports, "tunSetOwner", Tun<TUNSETOWNER, ByValue>);
  Export(env, exports, "tunSetGroup", Tun<TUNSETGROUP, ByValue>);
  Export(env, exports, "tunSetLink", Tun<TUNSETLINK, ByValue>);
  Export(env, exports, "tunSetNoCsum", Tun<TUNSETNOCSUM, ByValue>);
  Export(env, exports, "tunSetDebug", Tun<TUNSETDEBUG, ByValue>);
  Export(env, exports, "tunSetOffload", Tun<TUNSETOFFLOAD, ByValue>);
  Export(env, exports, "tunSetTxFilter", SetTxFilter);
  Export(env, exports, "tunGetSndbuf", Tun<TUNGETSNDBUF, GetUnsigned>);
  Export(env, exports, "tunSetSndbuf", Tun<TUNSETSNDBUF, ByPointer>);
  Export(env, exports, "tunGetVnetHdrSz", Tun<TUNGETVNETHDRSZ, GetUnsigned>);
  Export(env, exports, "tunSetVnetHdrSz", Tun<TUNSETVNETHDRSZ, ByPointer>);
  Export(env, exports, "tunGetVnetLe", Tun<TUNGETVNETLE, GetUnsigned>);
  Export(env, exports, "tunSetVnetLe", Tun<TUNSETVNETLE, ByPointer>);
  Export(env, exports, "tunGetVnetBe", Tun<TUNGETVNETBE, GetUnsigned>);
  Export(env, exports, "tunSetVnetBe", Tun<TUNSETVNETBE, ByPointer>);
  Export(env, exports, "tunAttachFilter", AttachFilter);
  Export(env, exports, "tunDetachFilter", DetachFilter);
  Export(env, exports, "tunGetFilter", GetFilter);
  Export(env, exports, "tunSetQueue", SetQueue);
  Export(env, exports, "tunSetSteeringEbpf", Tun<TUNSETSTEERINGEBPF, ByPointer>);
  Export(env, exports, "tunSetFilterEbpf", Tun<TUNSETFILTEREBPF, ByPointer>);
  Export(env, exports, "tunSetCarrier", Tun<TUNSETCARRIER, ByPointer>);
  Export(env, exports, "tunGetDevNetns", GetDevNetns);
}

}  // namespace vhostnet

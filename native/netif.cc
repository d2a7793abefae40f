// A network interface as its name reaches it: flags, MTU, hardware address, index.
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "addon.h"

namespace vhostnet {

// One request on a throw-away socket; what it returns is in request.
static int Request(const Napi::CallbackInfo& info, unsigned long number, struct ifreq* request) {
  strncpy(request->ifr_name, String(info, 0).c_str(), IFNAMSIZ - 1);
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  int result = Ioctl(fd, number, request);
  close(fd);
  return result;
}

// netifGetFlags(name): IFF_*
static Napi::Value GetFlags(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  int result = Request(info, SIOCGIFFLAGS, &request);
  return Result(info.Env(), result < 0 ? result : static_cast<uint16_t>(request.ifr_flags));
}

static Napi::Value SetFlags(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  request.ifr_flags = static_cast<short>(U32(info, 1));
  return Result(info.Env(), Request(info, SIOCSIFFLAGS, &request));
}

static Napi::Value GetMtu(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  int result = Request(info, SIOCGIFMTU, &request);
  return Result(info.Env(), result < 0 ? result : request.ifr_mtu);
}

static Napi::Value SetMtu(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  request.ifr_mtu = I32(info, 1);
  return Result(info.Env(), Request(info, SIOCSIFMTU, &request));
}

// netifGetMac(name): 6 bytes.
static Napi::Value GetMac(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  int result = Request(info, SIOCGIFHWADDR, &request);
  if (result < 0) return Result(info.Env(), result);
  return Napi::Buffer<uint8_t>::Copy(
      info.Env(), reinterpret_cast<uint8_t*>(request.ifr_hwaddr.sa_data), ETH_ALEN);
}

static Napi::Value SetMac(const Napi::CallbackInfo& info) {
  Bytes mac = BytesArg(info, 1);
  if (mac.size != ETH_ALEN) throw Napi::TypeError::New(info.Env(), "expected 6 bytes");
  struct ifreq request = {};
  request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
  memcpy(request.ifr_hwaddr.sa_data, mac.data, ETH_ALEN);
  return Result(info.Env(), Request(info, SIOCSIFHWADDR, &request));
}

static Napi::Value GetIndex(const Napi::CallbackInfo& info) {
  struct ifreq request = {};
  int result = Request(info, SIOCGIFINDEX, &request);
  return Result(info.Env(), result < 0 ? result : request.ifr_ifindex);
}

void InitNetif(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "netifGetFlags", GetFlags);
  Export(env, exports, "netifSetFlags", SetFlags);
  Export(env, exports, "netifGetMtu", GetMtu);
  Export(env, exports, "netifSetMtu", SetMtu);
  Export(env, exports, "netifGetMac", GetMac);
  Export(env, exports, "netifSetMac", SetMac);
  Export(env, exports, "netifGetIndex", GetIndex);
}

}  // namespace vhostnet

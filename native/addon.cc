// Entry point: sets up the environment's state and lets every file register its functions.
#include "addon.h"

namespace vhostnet {

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonData());
  InitErrnoTable(env, exports);
  InitFd(env, exports);
  InitEventFd(env, exports);
  InitPoller(env, exports);
  InitMemory(env, exports);
  InitMemoryGuard(env, exports);
  InitVhost(env, exports);
  InitVhostVring(env, exports);
  InitVhostIotlb(env, exports);
  InitTun(env, exports);
  InitNetif(env, exports);
  InitRtnetlink(env, exports);
  InitPacket(env, exports);
  InitFrames(env, exports);
  InitIoUring(env, exports);
  InitUnixSocket(env, exports);
  InitKvm(env, exports);
  InitKvmGuest(env, exports);
  InitLayout(env, exports);
  InitConstants(env, exports);
  return exports;
}

NODE_API_MODULE(vhost_net, Init)

}  // namespace vhostnet

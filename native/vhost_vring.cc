// /dev/vhost-net, the rings: one function per ioctl of linux/vhost.h that names a ring.
#include "async.h"
#include "fd.h"
#include "vhost_uapi.h"

namespace vhostnet {

static Napi::Value SetState(const Napi::CallbackInfo& info, unsigned long request) {
  struct vhost_vring_state state = {U32(info, 1), U32(info, 2)};
  return Result(info.Env(), Ioctl(FdArg(info, 0), request, &state));
}

static Napi::Value GetState(const Napi::CallbackInfo& info, unsigned long request) {
  struct vhost_vring_state state = {U32(info, 1), 0};
  int result = Ioctl(FdArg(info, 0), request, &state);
  return Result(info.Env(), result < 0 ? result : static_cast<long>(state.num));
}

static Napi::Value SetFile(const Napi::CallbackInfo& info, unsigned long request) {
  struct vhost_vring_file file = {U32(info, 1), AnyFdArg(info, 2)};
  return Result(info.Env(), Ioctl(FdArg(info, 0), request, &file));
}

// (fd, index, value)
static Napi::Value SetNum(const Napi::CallbackInfo& info) {
  return SetState(info, VHOST_SET_VRING_NUM);
}
static Napi::Value SetBase(const Napi::CallbackInfo& info) {
  return SetState(info, VHOST_SET_VRING_BASE);
}
static Napi::Value GetBase(const Napi::CallbackInfo& info) {
  return GetState(info, VHOST_GET_VRING_BASE);
}
static Napi::Value SetEndian(const Napi::CallbackInfo& info) {
  return SetState(info, VHOST_SET_VRING_ENDIAN);
}
static Napi::Value GetEndian(const Napi::CallbackInfo& info) {
  return GetState(info, VHOST_GET_VRING_ENDIAN);
}
static Napi::Value SetBusyloopTimeout(const Napi::CallbackInfo& info) {
  return SetState(info, VHOST_SET_VRING_BUSYLOOP_TIMEOUT);
}
static Napi::Value GetBusyloopTimeout(const Napi::CallbackInfo& info) {
  return GetState(info, VHOST_GET_VRING_BUSYLOOP_TIMEOUT);
}

// (fd, index, eventfd | -1)
static Napi::Value SetKick(const Napi::CallbackInfo& info) {
  return SetFile(info, VHOST_SET_VRING_KICK);
}
static Napi::Value SetCall(const Napi::CallbackInfo& info) {
  return SetFile(info, VHOST_SET_VRING_CALL);
}
static Napi::Value SetErr(const Napi::CallbackInfo& info) {
  return SetFile(info, VHOST_SET_VRING_ERR);
}

// vhostSetVringAddr(fd, index, flags, desc, avail, used, log): addresses in this process, but log,
// which is guest-physical.
static Napi::Value SetAddr(const Napi::CallbackInfo& info) {
  struct vhost_vring_addr addr = {};
  addr.index = U32(info, 1);
  addr.flags = U32(info, 2);
  addr.desc_user_addr = U64(info, 3);
  addr.avail_user_addr = U64(info, 4);
  addr.used_user_addr = U64(info, 5);
  addr.log_guest_addr = U64(info, 6);
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_SET_VRING_ADDR, &addr));
}

static Napi::Value AttachWorker(const Napi::CallbackInfo& info) {
  struct vhost_vring_worker worker = {U32(info, 1), U32(info, 2)};
  return Result(info.Env(), Ioctl(FdArg(info, 0), VHOST_ATTACH_VRING_WORKER, &worker));
}

static Napi::Value GetWorker(const Napi::CallbackInfo& info) {
  struct vhost_vring_worker worker = {U32(info, 1), 0};
  int result = Ioctl(FdArg(info, 0), VHOST_GET_VRING_WORKER, &worker);
  return Result(info.Env(), result < 0 ? result : static_cast<long>(worker.worker_id));
}

// vhostNetSetBackend(fd, index, tap | -1): waits for the worker. The backend stays in use, so that
// it cannot be closed, and its number given to another file, before the kernel has taken its
// reference.
static Napi::Value NetSetBackend(const Napi::CallbackInfo& info) {
  auto use = std::make_shared<InUse>(StateArg(info, 0));
  std::shared_ptr<InUse> backend;
  if (!info[2].IsNumber()) backend = std::make_shared<InUse>(StateArg(info, 2));
  struct vhost_vring_file file = {U32(info, 1), AnyFdArg(info, 2)};
  return RunOnPool(info.Env(), [use, backend, file]() mutable {
    return Ioctl(use->fd(), VHOST_NET_SET_BACKEND, &file);
  });
}

void InitVhostVring(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "vhostSetVringNum", SetNum);
  Export(env, exports, "vhostSetVringBase", SetBase);
  Export(env, exports, "vhostGetVringBase", GetBase);
  Export(env, exports, "vhostSetVringEndian", SetEndian);
  Export(env, exports, "vhostGetVringEndian", GetEndian);
  Export(env, exports, "vhostSetVringBusyloopTimeout", SetBusyloopTimeout);
  Export(env, exports, "vhostGetVringBusyloopTimeout", GetBusyloopTimeout);
  Export(env, exports, "vhostSetVringKick", SetKick);
  Export(env, exports, "vhostSetVringCall", SetCall);
  Export(env, exports, "vhostSetVringErr", SetErr);
  Export(env, exports, "vhostSetVringAddr", SetAddr);
  Export(env, exports, "vhostAttachVringWorker", AttachWorker);
  Export(env, exports, "vhostGetVringWorker", GetWorker);
  Export(env, exports, "vhostNetSetBackend", NetSetBackend);
}

}  // namespace vhostnet

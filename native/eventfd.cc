// eventfd: the kernel's counter with a descriptor; vhost's kick, call and err, KVM's ioeventfd and
// irqfd.
#include <sys/eventfd.h>
#include <unistd.h>

#include "fd.h"

namespace vhostnet {

// eventfdCreate(initial): never blocking, close-on-exec.
static Napi::Value Create(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(), Checked(eventfd(U32(info, 0), EFD_NONBLOCK | EFD_CLOEXEC)));
}

// eventfdRead(fd): the count since the last read, which becomes 0; -EAGAIN if it is 0 already,
// -EINVAL where the descriptor is no eventfd and gave something else than a count.
static Napi::Value Read(const Napi::CallbackInfo& info) {
  uint64_t count;
  ssize_t size = read(FdArg(info, 0), &count, sizeof count);
  if (size < 0) return Result(info.Env(), -errno);
  if (size != sizeof count) return Result(info.Env(), -EINVAL);
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

// eventfdWrite(fd, count): adds to the count; -EAGAIN where it would pass 2^64 - 2.
static Napi::Value Write(const Napi::CallbackInfo& info) {
  uint64_t count = U32(info, 1);
  long written = Checked(write(FdArg(info, 0), &count, sizeof count));
  return Result(info.Env(), written < 0 ? written : 0);
}

void InitEventFd(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "eventfdCreate", Create);
  Export(env, exports, "eventfdRead", Read);
  Export(env, exports, "eventfdWrite", Write);
}

}  // namespace vhostnet

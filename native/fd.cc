// Owned descriptors: open, duplicate, close on this thread or on the thread pool, raw ioctl.
#include "fd.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "async.h"

namespace vhostnet {

// fstat would ask for glibc 2.33.
static FileId FileOf(int number) {
  struct statx status = {};
  if (statx(number, "", AT_EMPTY_PATH, STATX_INO, &status) < 0) return {};
  return {status.stx_dev_major, status.stx_dev_minor, status.stx_ino};
}

FdState::FdState(int number) : fd(number), file(FileOf(number)) {}

int FdState::Close() {
  if (busy.load() > 0) return -EBUSY;
  int number = fd.exchange(-1);
  if (number < 0) return 0;
  FileId now = FileOf(number);
  bool ours = now.inode != 0 && now == file;
  // On Linux the number is gone even when close() reports an error: never try again.
  int result = ours ? static_cast<int>(Checked(close(number))) : -EBADF;
  holds.clear();
  log_holds.clear();
  return result;
}

Fd::Fd(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Fd>(info) {
  state_ = std::make_shared<FdState>(I32(info, 0));
}

Napi::Value Fd::New(Napi::Env env, int number) {
  return Data(env).fd_class.New({Napi::Number::New(env, number)});
}

Napi::Value Fd::Number(const Napi::CallbackInfo& info) {
  return Result(info.Env(), state_->fd.load());
}

Napi::Value Fd::Close(const Napi::CallbackInfo& info) {
  return Result(info.Env(), state_->Close());
}

Napi::Value Fd::CloseAsync(const Napi::CallbackInfo& info) {
  // The number leaves this object at once, so that nothing can use it while it is being closed.
  if (state_->busy.load() > 0) return ResolvedPromise(info.Env(), -EBUSY);
  auto closing = std::make_shared<FdState>(state_->fd.exchange(-1));
  closing->file = state_->file;
  closing->holds.swap(state_->holds);
  closing->log_holds.swap(state_->log_holds);
  return RunOnPool(info.Env(), [closing] { return closing->Close(); });
}

Napi::Value FdResult(Napi::Env env, long result) {
  return result < 0 ? Result(env, result) : Fd::New(env, static_cast<int>(result));
}

std::shared_ptr<FdState> StateOf(Napi::Env env, Napi::Value value) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(Data(env).fd_class.Value())) {
    throw Napi::TypeError::New(env, "expected an Fd");
  }
  return Fd::Unwrap(value.As<Napi::Object>())->state();
}

std::shared_ptr<FdState> StateArg(const Napi::CallbackInfo& info, size_t index) {
  return StateOf(info.Env(), info[index]);
}

int FdArg(const Napi::CallbackInfo& info, size_t index) { return StateArg(info, index)->fd.load(); }

int AnyFdArg(const Napi::CallbackInfo& info, size_t index) {
  return info[index].IsNumber() ? I32(info, index) : FdArg(info, index);
}

// open(path, flags): always close-on-exec.
static Napi::Value Open(const Napi::CallbackInfo& info) {
  std::string path = String(info, 0);
  return FdResult(info.Env(), Checked(open(path.c_str(), I32(info, 1) | O_CLOEXEC)));
}

// dup(number): a descriptor of our own for the same open file.
static Napi::Value Dup(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(), Checked(fcntl(AnyFdArg(info, 0), F_DUPFD_CLOEXEC, 3)));
}

// setNonblock(fd): for every descriptor of the same open file.
static Napi::Value SetNonblock(const Napi::CallbackInfo& info) {
  int fd = FdArg(info, 0);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return Result(info.Env(), -errno);
  return Result(info.Env(), Checked(fcntl(fd, F_SETFL, flags | O_NONBLOCK)));
}

// fileSize(fd): bytes, as a bigint.
static Napi::Value FileSize(const Napi::CallbackInfo& info) {
  struct statx status;
  if (statx(FdArg(info, 0), "", AT_EMPTY_PATH, STATX_SIZE, &status) < 0) {
    return Result(info.Env(), -errno);
  }
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(status.stx_size));
}

// ioctl(fd, request, bytes | number): any request with any argument, for what has no function here.
static Napi::Value RawIoctl(const Napi::CallbackInfo& info) {
  int fd = FdArg(info, 0);
  unsigned long request = U32(info, 1);
  if (info[2].IsNumber()) return Result(info.Env(), IoctlValue(fd, request, U32(info, 2)));
  Bytes bytes = BytesArg(info, 2);
  if (bytes.size < _IOC_SIZE(request)) {
    throw Napi::TypeError::New(info.Env(), "argument shorter than the request's size");
  }
  return Result(info.Env(), Ioctl(fd, request, bytes.data));
}

void InitFd(Napi::Env env, Napi::Object exports) {
  Fd::Init(env, exports);
  Export(env, exports, "open", Open);
  Export(env, exports, "dup", Dup);
  Export(env, exports, "setNonblock", SetNonblock);
  Export(env, exports, "fileSize", FileSize);
  Export(env, exports, "ioctl", RawIoctl);
}

void Fd::Init(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor =
      DefineClass(env, "Fd",
                  {InstanceMethod<&Fd::Number>("number"), InstanceMethod<&Fd::Close>("close"),
                   InstanceMethod<&Fd::CloseAsync>("closeAsync")});
  Data(env).fd_class = Napi::Persistent(constructor);
  exports.Set("Fd", constructor);
}

}  // namespace vhostnet

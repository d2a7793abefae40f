// Tells JavaScript on the event loop that a descriptor became readable.
//
// The traps this file exists for (each has a test):
// - It polls a duplicate that it owns, so that closing the original, or reusing its number, while
// it
//   is polled cannot deliver somebody else's events; uv_close comes before close.
// - An environment that ends with a handle open aborts the process, and a synchronous clean-up hook
//   is too early to be enough: only napi_add_async_cleanup_hook lets the handle's close finish.
// - An exception out of the callback becomes an ordinary uncaughtException; left pending it would
//   silently disable every later callback while the level-triggered poll spins.
// - An eventfd is drained before the callback runs, so a callback that throws does not leave it
//   readable.
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include "fd.h"

namespace vhostnet {

class Poller;

// Lives until libuv is done with the handle, which may be after the JavaScript object is gone.
struct PollState {
  uv_poll_t handle;
  napi_env env = nullptr;
  napi_ref callback = nullptr;
  napi_async_context context = nullptr;
  napi_async_cleanup_hook_handle hook = nullptr;
  int fd = -1;
  bool drain = false;
  bool closing = false;
  Poller* owner = nullptr;
};

class Poller : public Napi::ObjectWrap<Poller> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "Poller",
        {InstanceMethod<&Poller::Close>("close"), InstanceMethod<&Poller::Pause>("pause"),
         InstanceMethod<&Poller::Resume>("resume"), InstanceMethod<&Poller::MakeRef>("ref"),
         InstanceMethod<&Poller::MakeUnref>("unref")});
  }

  // new Poller(fd, drain, callback): its property error says how starting went, 0 or -errno.
  explicit Poller(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Poller>(info) {
    info.This().As<Napi::Object>().Set("error", Napi::Number::New(info.Env(), Start(info)));
  }

 private:
  int Start(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    if (!info[2].IsFunction()) throw Napi::TypeError::New(env, "expected a function");
    int fd = fcntl(FdArg(info, 0), F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return -errno;
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    auto* state = new PollState();
    state->fd = fd;
    int status = uv_poll_init(loop, &state->handle, fd);
    if (status < 0) {
      close(fd);
      delete state;
      return status;
    }
    state->env = env;
    state->drain = info[1].ToBoolean();
    state->owner = this;
    state->handle.data = state;
    napi_create_reference(env, info[2], 1, &state->callback);
    napi_async_init(env, nullptr, Napi::String::New(env, "vhost-net:poll"), &state->context);
    napi_add_async_cleanup_hook(env, OnEnvironmentEnd, state, &state->hook);
    state_ = state;
    // Polling keeps this object alive: a subscription ends by close(), not by garbage collection.
    Ref();
    status = uv_poll_start(&state->handle, UV_READABLE, OnReadable);
    if (status < 0) Stop(state);
    return status;
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    if (state_) Stop(state_);
    return info.Env().Undefined();
  }

  // The descriptor is not looked at until resume().
  Napi::Value Pause(const Napi::CallbackInfo& info) {
    if (state_) uv_poll_stop(&state_->handle);
    return info.Env().Undefined();
  }

  // resume(): 0 or -errno.
  Napi::Value Resume(const Napi::CallbackInfo& info) {
    int status = state_ ? uv_poll_start(&state_->handle, UV_READABLE, OnReadable) : UV_EBADF;
    return Result(info.Env(), status);
  }

  Napi::Value MakeRef(const Napi::CallbackInfo& info) {
    if (state_) uv_ref(reinterpret_cast<uv_handle_t*>(&state_->handle));
    return info.Env().Undefined();
  }

  Napi::Value MakeUnref(const Napi::CallbackInfo& info) {
    if (state_) uv_unref(reinterpret_cast<uv_handle_t*>(&state_->handle));
    return info.Env().Undefined();
  }

  // On the JavaScript thread, once.
  static void Stop(PollState* state) {
    if (state->closing) return;
    state->closing = true;
    napi_delete_reference(state->env, state->callback);
    napi_async_destroy(state->env, state->context);
    if (state->owner) {
      Poller* owner = state->owner;
      owner->state_ = nullptr;
      owner->Unref();
    }
    uv_poll_stop(&state->handle);
    uv_close(reinterpret_cast<uv_handle_t*>(&state->handle), [](uv_handle_t* handle) {
      auto* done = static_cast<PollState*>(handle->data);
      close(done->fd);
      napi_remove_async_cleanup_hook(done->hook);
      delete done;
    });
  }

  static void OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* data) {
    Stop(static_cast<PollState*>(data));
  }

  static void OnReadable(uv_poll_t* handle, int status, int) {
    auto* state = static_cast<PollState*>(handle->data);
    double value = status;
    if (status == 0 && state->drain) {
      uint64_t count;
      ssize_t size = read(state->fd, &count, sizeof count);
      if (size < 0) {
        // Somebody else read it first: nothing happened that has not been reported.
        if (errno == EAGAIN || errno == EINTR) return;
        value = -errno;
      } else {
        value = size == sizeof count ? static_cast<double>(count) : -EINVAL;
      }
    }
    napi_env env = state->env;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return;
    napi_value callback, argument, receiver, result;
    napi_get_reference_value(env, state->callback, &callback);
    napi_get_global(env, &receiver);
    napi_create_double(env, value, &argument);
    // The callback may close this poller: state is not touched after it.
    if (napi_make_callback(env, state->context, receiver, callback, 1, &argument, &result) ==
        napi_pending_exception) {
      napi_value thrown;
      if (napi_get_and_clear_last_exception(env, &thrown) == napi_ok) {
        napi_fatal_exception(env, thrown);
      }
    }
    napi_close_handle_scope(env, scope);
  }

  PollState* state_ = nullptr;
};

// watch(fd): a descriptor that is readable whenever fd is, and goes on being so only as long as fd
// is open. Polled in fd's place it keeps no second reference to what fd is.
static Napi::Value Watch(const Napi::CallbackInfo& info) {
  int fd = FdArg(info, 0);
  int watch = epoll_create1(EPOLL_CLOEXEC);
  if (watch < 0) return Result(info.Env(), -errno);
  struct epoll_event event = {};
  event.events = EPOLLIN;
  if (epoll_ctl(watch, EPOLL_CTL_ADD, fd, &event) < 0) {
    int result = -errno;
    close(watch);
    return Result(info.Env(), result);
  }
  return FdResult(info.Env(), watch);
}

void InitPoller(Napi::Env env, Napi::Object exports) {
  exports.Set("Poller", Poller::Define(env));
  Export(env, exports, "watch", Watch);
}

}  // namespace vhostnet

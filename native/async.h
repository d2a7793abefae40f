// System calls that can wait run on libuv's thread pool and come back as a promise.
#pragma once

#include <functional>
#include <memory>

#include "addon.h"
#include "fd.h"

namespace vhostnet {

class PoolCall : public Napi::AsyncWorker {
 public:
  PoolCall(Napi::Env env, std::function<long()> call)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        call_(std::move(call)) {}

  void Execute() override {
    result_ = call_();
    // Lets go of the descriptor here and not when this object dies, after the promise's reactions.
    call_ = nullptr;
  }
  void OnOK() override { deferred_.Resolve(Result(Env(), result_)); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }
  Napi::Promise promise() const { return deferred_.Promise(); }

 private:
  Napi::Promise::Deferred deferred_;
  std::function<long()> call_;
  long result_ = 0;
};

inline Napi::Value RunOnPool(Napi::Env env, std::function<long()> call) {
  auto* worker = new PoolCall(env, std::move(call));
  Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

inline Napi::Value ResolvedPromise(Napi::Env env, long result) {
  auto deferred = Napi::Promise::Deferred::New(env);
  deferred.Resolve(Result(env, result));
  return deferred.Promise();
}

// Keeps a descriptor open, and close() refused, for as long as a call on the thread pool uses it.
class InUse {
 public:
  explicit InUse(std::shared_ptr<FdState> state) : state_(std::move(state)) { state_->busy++; }
  ~InUse() { state_->busy--; }
  InUse(const InUse&) = delete;
  InUse& operator=(const InUse&) = delete;
  int fd() const { return state_->fd.load(); }

 private:
  std::shared_ptr<FdState> state_;
};

}  // namespace vhostnet

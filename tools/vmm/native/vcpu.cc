// One vCPU on a thread of its own. The thread runs the guest; what leaves the guest for a device is
// told on the event loop, and the guest waits until it is answered.
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "kvm.h"

namespace vmm {

// Gets a thread out of KVM_RUN; nothing else in a Node process uses it.
static int KickSignal() { return SIGRTMIN + 3; }

class Vcpu : public Napi::ObjectWrap<Vcpu> {
 public:
  static void Init(Napi::Env env, Napi::Object exports) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(KickSignal(), &action, nullptr);
    exports.Set("Vcpu", DefineClass(env, "Vcpu",
                                    {
                                        InstanceMethod<&Vcpu::SetLongMode>("setLongMode"),
                                        InstanceMethod<&Vcpu::Run>("run"),
                                        InstanceMethod<&Vcpu::Answer>("answer"),
                                        InstanceMethod<&Vcpu::Stop>("stop"),
                                        InstanceMethod<&Vcpu::Close>("close"),
                                    }));
  }

  // new Vcpu(kvm, vm, id, data): `data` is a Uint8Array of eight bytes in which what is read or
  // written crosses over.
  explicit Vcpu(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Vcpu>(info) {
    Napi::Env env = info.Env();
    int kvm = IntArg(info, 0);
    id_ = IntArg(info, 2);
    data_ref_ = Napi::Persistent(info[3].As<Napi::Object>());
    data_ = info[3].As<Napi::Uint8Array>().Data();
    sem_init(&answered_, 0, 0);
    fd_ = Check(env, "ioctl(KVM_CREATE_VCPU)", ioctl(IntArg(info, 1), KVM_CREATE_VCPU, id_));
    run_size_ = Check(env, "ioctl(KVM_GET_VCPU_MMAP_SIZE)", ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
    void* run = mmap(nullptr, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (run == MAP_FAILED) ThrowErrno(env, "mmap(kvm_run)", errno);
    run_ = static_cast<struct kvm_run*>(run);
    SetCpuid(env, kvm, fd_, id_);
  }

  ~Vcpu() { Release(); }

 private:
  // setLongMode(rip, rsi, pageTables, gdt): 64-bit code, flat segments, no interrupts, as Linux's
  // boot protocol has it.
  void SetLongMode(const Napi::CallbackInfo& info) {
    LongMode start = {U64Arg(info, 0), U64Arg(info, 1), U64Arg(info, 2), U64Arg(info, 3)};
    vmm::SetLongMode(info.Env(), fd_, start);
  }

  // run(onExit, onEnd): starts the thread. onExit(space, address, length, isWrite) is called for
  // each access of a device, and answer() lets the guest go on; onEnd(reason, detail) when the
  // thread has ended: -errno, or KVM's exit reason and where the guest was.
  void Run(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    on_exit_ = Napi::Persistent(info[0].As<Napi::Function>());
    on_end_ = Napi::Persistent(info[1].As<Napi::Function>());
    // One call is under way at a time, and the last one says the end.
    events_ = Events::New(env, "vcpu", 0, 1, this, [](Napi::Env, void*, Vcpu* vcpu) {
      vcpu->thread_.join();
      vcpu->Unref();
    });
    Ref();
    thread_ = std::thread([this] { Loop(); });
  }

  // answer(): the access is done; what was read is in `data`.
  void Answer(const Napi::CallbackInfo& info) { sem_post(&answered_); }

  // stop(): ends the thread as soon as the guest can be left; an access under way is answered
  // before.
  void Stop(const Napi::CallbackInfo& info) {
    if (stopping_.exchange(true) || !thread_.joinable()) return;
    // KVM_RUN returns at once from now on, whether it runs or is about to.
    reinterpret_cast<std::atomic<uint8_t>*>(&run_->immediate_exit)->store(1);
    pthread_kill(thread_.native_handle(), KickSignal());
  }

  // close(): gives the descriptor back, when the thread has ended.
  void Close(const Napi::CallbackInfo& info) { Release(); }

  void Release() {
    if (run_) munmap(run_, run_size_);
    if (fd_ >= 0) close(fd_);
    run_ = nullptr;
    fd_ = -1;
  }

  // What of the guest's access is to be done: `bytes` are KVM's.
  struct Access {
    bool pio;
    bool write;
    uint64_t address;
    uint32_t length;
    uint8_t* bytes;
  };

  void Loop() {
    long reason = 0;
    while (Enter(&reason)) {
    }
    end_reason_ = reason;
    access_.bytes = nullptr;
    events_.NonBlockingCall();
    events_.Release();
  }

  // Runs the guest until it leaves for something. False where it is not to be entered again.
  bool Enter(long* reason) {
    if (ioctl(fd_, KVM_RUN, 0) < 0) {
      // KVM has finished the access before it looked at immediate_exit.
      if ((errno == EINTR || errno == EAGAIN) && !stopping_) return true;
      *reason = -errno;
      return false;
    }
    switch (run_->exit_reason) {
      case KVM_EXIT_IO: {
        uint8_t* bytes = reinterpret_cast<uint8_t*>(run_) + run_->io.data_offset;
        // A string instruction is as many accesses of the one port.
        for (uint32_t i = 0; i < run_->io.count; i++, bytes += run_->io.size) {
          Do({true, run_->io.direction == KVM_EXIT_IO_OUT, run_->io.port, run_->io.size, bytes});
        }
        return true;
      }
      case KVM_EXIT_MMIO:
        Do({false, run_->mmio.is_write != 0, run_->mmio.phys_addr, run_->mmio.len,
            run_->mmio.data});
        return true;
      case KVM_EXIT_INTR:
        return true;
      default:
        *reason = run_->exit_reason;
        Describe();
        return false;
    }
  }

  // Where the guest was, and what KVM says of an error of its own.
  void Describe() {
    struct kvm_regs regs = {};
    ioctl(fd_, KVM_GET_REGS, &regs);
    char text[64];
    snprintf(text, sizeof text, "at %#llx", static_cast<unsigned long long>(regs.rip));
    detail_ = text;
    if (run_->exit_reason != KVM_EXIT_INTERNAL_ERROR) return;
    snprintf(text, sizeof text, ", suberror %u", run_->internal.suberror);
    detail_ += text;
    for (uint32_t i = 0; i < run_->internal.ndata && i < 16; i++) {
      snprintf(text, sizeof text, " %016llx",
               static_cast<unsigned long long>(run_->internal.data[i]));
      detail_ += text;
    }
  }

  void Do(const Access& access) {
    access_ = access;
    if (events_.NonBlockingCall() != napi_ok) return;
    while (sem_wait(&answered_) < 0 && errno == EINTR) {
    }
    if (!access.write) memcpy(access.bytes, data_, access.length);
  }

  // On the event loop.
  static void OnEvent(Napi::Env env, Napi::Function, Vcpu* vcpu, void*) {
    if (env == nullptr) {
      // The environment ends: nobody will answer.
      sem_post(&vcpu->answered_);
      return;
    }
    const Access& access = vcpu->access_;
    if (!access.bytes) {
      vcpu->on_end_.Call({Napi::Number::New(env, static_cast<double>(vcpu->end_reason_)),
                          Napi::String::New(env, vcpu->detail_)});
      return;
    }
    if (access.write) memcpy(vcpu->data_, access.bytes, access.length);
    vcpu->on_exit_.Call({Napi::Boolean::New(env, access.pio),
                         Napi::Number::New(env, static_cast<double>(access.address)),
                         Napi::Number::New(env, access.length),
                         Napi::Boolean::New(env, access.write)});
  }

  using Events = Napi::TypedThreadSafeFunction<Vcpu, void, OnEvent>;

  int id_ = 0;
  int fd_ = -1;
  struct kvm_run* run_ = nullptr;
  size_t run_size_ = 0;
  Napi::ObjectReference data_ref_;
  uint8_t* data_ = nullptr;
  Napi::FunctionReference on_exit_;
  Napi::FunctionReference on_end_;
  Events events_;
  std::thread thread_;
  sem_t answered_;
  std::atomic<bool> stopping_{false};
  // Written by the thread before an event, read in it.
  Access access_ = {};
  long end_reason_ = 0;
  std::string detail_;
};

void InitVcpu(Napi::Env env, Napi::Object exports) { Vcpu::Init(env, exports); }

}  // namespace vmm

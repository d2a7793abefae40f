// io_uring: many writes in one system call.
//
// Every request has RWF_NOWAIT, so that the kernel carries it out before io_uring_enter returns:
// none is left that could read memory which was given back meanwhile.
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "frame_vectors.h"

namespace vhostnet {

struct SharedMapping {
  ~SharedMapping() {
    if (address) munmap(address, size);
  }
  int Map(int fd, size_t bytes, off_t what) {
    void* mapped =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);
    if (mapped == MAP_FAILED) return -errno;
    address = static_cast<char*>(mapped);
    size = bytes;
    return 0;
  }
  template <typename T>
  T* at(uint32_t offset) const {
    return reinterpret_cast<T*>(address + offset);
  }

  char* address = nullptr;
  size_t size = 0;
};

class IoUring : public Napi::ObjectWrap<IoUring> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(
        env, "IoUring",
        {InstanceMethod<&IoUring::Write>("write"), InstanceMethod<&IoUring::Close>("close")});
  }

  // new IoUring(entries): its property error says how that went, 0 or -errno.
  explicit IoUring(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IoUring>(info) {
    int error = Start(U32(info, 0));
    info.This().As<Napi::Object>().Set("error", Napi::Number::New(info.Env(), error));
  }

  ~IoUring() override { End(); }

 private:
  int Start(uint32_t entries) {
    fd_ = static_cast<int>(Checked(syscall(__NR_io_uring_setup, entries, &params_)));
    if (fd_ < 0) return fd_;
    size_t sq = params_.sq_off.array + params_.sq_entries * sizeof(uint32_t);
    size_t cq = params_.cq_off.cqes + params_.cq_entries * sizeof(struct io_uring_cqe);
    int error = sq_.Map(fd_, sq, IORING_OFF_SQ_RING);
    if (error == 0) error = cq_.Map(fd_, cq, IORING_OFF_CQ_RING);
    if (error == 0) {
      error = sqes_.Map(fd_, params_.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    }
    if (error < 0) End();
    return error;
  }

  void End() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

  Napi::Value Close(const Napi::CallbackInfo& info) {
    End();
    return info.Env().Undefined();
  }

  // write(fd, vectors, ends, results, first, count): the number of frames tried, or -errno. Those
  // behind one that fails are tried too.
  Napi::Value Write(const Napi::CallbackInfo& info) {
    FrameVectors frames(info);
    if (fd_ < 0) return Result(info.Env(), -EBADF);
    size_t count =
        std::min<size_t>(frames.end - std::min(frames.first, frames.end), params_.sq_entries);
    uint32_t* tail = sq_.at<uint32_t>(params_.sq_off.tail);
    uint32_t mask = params_.sq_entries - 1;
    uint32_t start = *tail;
    for (size_t i = 0; i < count; i++) Fill((start + i) & mask, frames, frames.first + i);
    __atomic_store_n(tail, start + static_cast<uint32_t>(count), __ATOMIC_RELEASE);
    long submitted = Checked(
        syscall(__NR_io_uring_enter, fd_, count, count, IORING_ENTER_GETEVENTS, nullptr, 0));
    // What the kernel did not take is taken back.
    if (submitted < static_cast<long>(count)) {
      uint32_t taken = submitted < 0 ? 0 : static_cast<uint32_t>(submitted);
      __atomic_store_n(tail, start + taken, __ATOMIC_RELEASE);
    }
    Reap(frames);
    return Result(info.Env(), submitted);
  }

  void Fill(uint32_t slot, const FrameVectors& frames, size_t frame) {
    struct io_uring_sqe& request = sqes_.at<struct io_uring_sqe>(0)[slot];
    memset(&request, 0, sizeof request);
    const struct iovec* pieces = frames.of(frame);
    // Of a frame in one piece the kernel need not fetch the iovec. This feature came with the
    // request, in Linux 5.6.
    if (frames.count(frame) == 1 && (params_.features & IORING_FEAT_RW_CUR_POS)) {
      request.opcode = IORING_OP_WRITE;
      request.addr = reinterpret_cast<uintptr_t>(pieces->iov_base);
      request.len = static_cast<uint32_t>(pieces->iov_len);
    } else {
      request.opcode = IORING_OP_WRITEV;
      request.addr = reinterpret_cast<uintptr_t>(pieces);
      request.len = static_cast<uint32_t>(frames.count(frame));
    }
    request.fd = frames.fd;
    request.rw_flags = RWF_NOWAIT;
    request.user_data = frame;
    sq_.at<uint32_t>(params_.sq_off.array)[slot] = slot;
  }

  void Reap(const FrameVectors& frames) {
    uint32_t* head = cq_.at<uint32_t>(params_.cq_off.head);
    uint32_t mask = params_.cq_entries - 1;
    uint32_t end = __atomic_load_n(cq_.at<uint32_t>(params_.cq_off.tail), __ATOMIC_ACQUIRE);
    uint32_t at = *head;
    for (; at != end; at++) {
      const auto& done = cq_.at<struct io_uring_cqe>(params_.cq_off.cqes)[at & mask];
      frames.results[done.user_data] = done.res;
    }
    __atomic_store_n(head, at, __ATOMIC_RELEASE);
  }

  int fd_ = -1;
  struct io_uring_params params_ = {};
  SharedMapping sq_;
  SharedMapping cq_;
  SharedMapping sqes_;
};

void InitIoUring(Napi::Env env, Napi::Object exports) {
  exports.Set("IoUring", IoUring::Define(env));
}

}  // namespace vhostnet

// An owned file descriptor. Closed once: by close(), or when the last owner of its state lets go
// (garbage collection, the end of the environment, the end of a system call on the thread pool).
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <vector>

#include "addon.h"

namespace vhostnet {

// Which file it is, as far as statx tells: all eventfds are one. Inode 0 is none.
struct FileId {
  uint32_t major = 0;
  uint32_t minor = 0;
  uint64_t inode = 0;

  bool operator==(const FileId& other) const {
    return major == other.major && minor == other.minor && inode == other.inode;
  }
};

struct FdState {
  explicit FdState(int number);
  ~FdState() { Close(); }
  FdState(const FdState&) = delete;
  FdState& operator=(const FdState&) = delete;

  // Returns 0 or -errno; -EBUSY while a call on the thread pool still uses the number, -EBADF where
  // somebody else closed it: another file that has the number by now stays open.
  int Close();

  std::atomic<int> fd;
  FileId file;
  // Calls under way on the thread pool.
  std::atomic<int> busy{0};
  // The mappings that the kernel object behind this descriptor may write to (a vhost device's
  // memory table, and its dirty log). They are released after the descriptor is closed, never
  // before: the kernel thread would go on writing to addresses that may by then belong to somebody
  // else.
  std::vector<std::shared_ptr<Mapping>> holds;
  std::vector<std::shared_ptr<Mapping>> log_holds;
};

class Fd : public Napi::ObjectWrap<Fd> {
 public:
  static void Init(Napi::Env env, Napi::Object exports);
  static Napi::Value New(Napi::Env env, int number);
  explicit Fd(const Napi::CallbackInfo& info);

  const std::shared_ptr<FdState>& state() const { return state_; }

 private:
  Napi::Value Number(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);
  Napi::Value CloseAsync(const Napi::CallbackInfo& info);

  std::shared_ptr<FdState> state_;
};

// A new Fd for a system call's result, or -errno.
Napi::Value FdResult(Napi::Env env, long result);

// The state of an Fd. Throws a TypeError for anything else.
std::shared_ptr<FdState> StateOf(Napi::Env env, Napi::Value value);
// The state or number of an Fd argument.
std::shared_ptr<FdState> StateArg(const Napi::CallbackInfo& info, size_t index);
int FdArg(const Napi::CallbackInfo& info, size_t index);
// An Fd, or a plain number for -1 ("none") and for numbers that belong to somebody else.
int AnyFdArg(const Napi::CallbackInfo& info, size_t index);

}  // namespace vhostnet

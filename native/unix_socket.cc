// AF_UNIX sockets: descriptors travel with the bytes they belong to (SCM_RIGHTS), and each end
// knows as whom the other connected (SO_PEERCRED).
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "fd.h"

namespace vhostnet {

// The kernel's SCM_MAX_FD: descriptors in one message.
constexpr size_t kMostFds = 253;

// unixOpen(type): SOCK_STREAM or SOCK_SEQPACKET; never blocking, close-on-exec.
static Napi::Value Open(const Napi::CallbackInfo& info) {
  int type = I32(info, 0) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  return FdResult(info.Env(), Checked(socket(AF_UNIX, type, 0)));
}

// unixPair(type): [fd, fd], connected with each other, as unixOpen has them.
static Napi::Value Pair(const Napi::CallbackInfo& info) {
  int numbers[2];
  int type = I32(info, 0) | SOCK_CLOEXEC | SOCK_NONBLOCK;
  if (socketpair(AF_UNIX, type, 0, numbers) < 0) return Result(info.Env(), -errno);
  Napi::Array fds = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < 2; i++) fds.Set(i, Fd::New(info.Env(), numbers[i]));
  return fds;
}

// A path as an address, for bind or connect; longer than 107 bytes it is -ENAMETOOLONG.
static Napi::Value WithAddress(const Napi::CallbackInfo& info,
                               int (*call)(int, const struct sockaddr*, socklen_t)) {
  std::string path = String(info, 1);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Result(info.Env(), -ENAMETOOLONG);
  memcpy(address.sun_path, path.data(), path.size());
  return Result(info.Env(),
                Checked(call(FdArg(info, 0), reinterpret_cast<struct sockaddr*>(&address),
                             static_cast<socklen_t>(sizeof address))));
}

static Napi::Value Bind(const Napi::CallbackInfo& info) { return WithAddress(info, bind); }

static Napi::Value Connect(const Napi::CallbackInfo& info) { return WithAddress(info, connect); }

// unixListen(fd, backlog)
static Napi::Value Listen(const Napi::CallbackInfo& info) {
  return Result(info.Env(), Checked(listen(FdArg(info, 0), I32(info, 1))));
}

static Napi::Value Accept(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(),
                  Checked(accept4(FdArg(info, 0), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)));
}

// unixPeer(fd): {pid, uid, gid} of who connected, or of who listens, as they were when they did.
static Napi::Value Peer(const Napi::CallbackInfo& info) {
  struct ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(FdArg(info, 0), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
    return Result(info.Env(), -errno);
  }
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("pid", Napi::Number::New(info.Env(), peer.pid));
  object.Set("uid", Napi::Number::New(info.Env(), peer.uid));
  object.Set("gid", Napi::Number::New(info.Env(), peer.gid));
  return object;
}

// unixType(fd): SOCK_STREAM or another of a descriptor that somebody else opened; -ENOTSOCK for
// what is no socket, -EAFNOSUPPORT for one of another family.
static Napi::Value Type(const Napi::CallbackInfo& info) {
  int fd = FdArg(info, 0);
  int family = 0;
  int type = 0;
  socklen_t size = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0) {
    return Result(info.Env(), -errno);
  }
  if (family != AF_UNIX) return Result(info.Env(), -EAFNOSUPPORT);
  size = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return Result(info.Env(), -errno);
  return Result(info.Env(), type);
}

// Room for the control message of a full load of descriptors.
struct Control {
  alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(int) * kMostFds)] = {};
};

// unixSend(fd, bytes, fds): the number of bytes taken, of a stream maybe not all. The descriptors
// go with the first of them.
static Napi::Value Send(const Napi::CallbackInfo& info) {
  Bytes bytes = BytesArg(info, 1);
  if (!info[2].IsArray()) throw Napi::TypeError::New(info.Env(), "expected an array");
  auto fds = info[2].As<Napi::Array>();
  size_t count = fds.Length();
  if (count > kMostFds) return Result(info.Env(), -EINVAL);
  struct iovec vector = {bytes.data, bytes.size};
  struct msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  Control control;
  if (count > 0) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (size_t i = 0; i < count; i++) {
      int number = StateOf(info.Env(), fds.Get(i))->fd.load();
      memcpy(CMSG_DATA(header) + i * sizeof number, &number, sizeof number);
    }
  }
  return Result(info.Env(),
                Checked(sendmsg(FdArg(info, 0), &message, MSG_NOSIGNAL | MSG_DONTWAIT)));
}

// Descriptors that arrived; what nobody took is closed, whatever happens on the way.
struct Arrived {
  ~Arrived() {
    for (size_t i = taken; i < count; i++) close(numbers[i]);
  }

  int numbers[kMostFds];
  size_t count = 0;
  size_t taken = 0;
};

static void Collect(struct msghdr* message, Arrived* arrived) {
  for (struct cmsghdr* header = CMSG_FIRSTHDR(message); header;
       header = CMSG_NXTHDR(message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    count = std::min(count, kMostFds - arrived->count);
    memcpy(arrived->numbers + arrived->count, CMSG_DATA(header), count * sizeof(int));
    arrived->count += count;
  }
}

// unixReceive(fd, buffer, mostFds): {size, fds, truncated}. With `truncated` bytes or descriptors
// of the message are lost, and those descriptors that came are closed. With mostFds 0 none is ever
// installed in this process.
static Napi::Value Receive(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Bytes buffer = BytesArg(info, 1);
  size_t most = std::min<size_t>(U32(info, 2), kMostFds);
  struct iovec vector = {buffer.data, buffer.size};
  struct msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  Control control;
  if (most > 0) {
    message.msg_control = control.bytes;
    // CMSG_SPACE rounds up, and the kernel would fill the padding with another descriptor.
    message.msg_controllen = CMSG_LEN(sizeof(int) * most);
  }
  long size = Checked(recvmsg(FdArg(info, 0), &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
  if (size < 0) return Result(env, size);
  Arrived arrived;
  Collect(&message, &arrived);
  bool truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  Napi::Array fds = Napi::Array::New(env);
  while (!truncated && arrived.taken < arrived.count) {
    uint32_t index = static_cast<uint32_t>(arrived.taken++);
    fds.Set(index, Fd::New(env, arrived.numbers[index]));
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("size", Napi::Number::New(env, static_cast<double>(size)));
  object.Set("fds", fds);
  object.Set("truncated", Napi::Boolean::New(env, truncated));
  return object;
}

void InitUnixSocket(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "unixOpen", Open);
  Export(env, exports, "unixPair", Pair);
  Export(env, exports, "unixBind", Bind);
  Export(env, exports, "unixListen", Listen);
  Export(env, exports, "unixAccept", Accept);
  Export(env, exports, "unixConnect", Connect);
  Export(env, exports, "unixPeer", Peer);
  Export(env, exports, "unixType", Type);
  Export(env, exports, "unixSend", Send);
  Export(env, exports, "unixReceive", Receive);
}

}  // namespace vhostnet

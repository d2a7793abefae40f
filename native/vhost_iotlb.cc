// /dev/vhost-net, the IOTLB: messages read from and written to the device's descriptor.
#include <unistd.h>

#include <cstring>
#include <vector>

#include "async.h"
#include "fd.h"
#include "vhost_uapi.h"

namespace vhostnet {

// vhost_msg and vhost_msg_v2 differ in the word before the IOTLB part only.
static_assert(sizeof(struct vhost_msg) == sizeof(struct vhost_msg_v2));
static_assert(offsetof(struct vhost_msg, iotlb) == offsetof(struct vhost_msg_v2, iotlb));

// iotlbRead(fd): {version, asid, iova, size, userAddress, permission, type}; -EAGAIN when there is
// none, -EBADFD where the device has no IOTLB.
static Napi::Value Read(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  struct vhost_msg_v2 message = {};
  long result = Checked(read(FdArg(info, 0), &message, sizeof message));
  if (result < 0) return Result(env, result);
  Napi::Object object = Napi::Object::New(env);
  object.Set("version", Napi::Number::New(env, message.type));
  object.Set("asid", Napi::Number::New(env, message.type == VHOST_IOTLB_MSG_V2 ? message.asid : 0));
  object.Set("iova", Napi::BigInt::New(env, static_cast<uint64_t>(message.iotlb.iova)));
  object.Set("size", Napi::BigInt::New(env, static_cast<uint64_t>(message.iotlb.size)));
  object.Set("userAddress", Napi::BigInt::New(env, static_cast<uint64_t>(message.iotlb.uaddr)));
  object.Set("permission", Napi::Number::New(env, message.iotlb.perm));
  object.Set("type", Napi::Number::New(env, message.iotlb.type));
  return object;
}

// iotlbWrite(fd, version, asid, iova, size, userAddress, permission, type)
static Napi::Value Write(const Napi::CallbackInfo& info) {
  struct vhost_msg_v2 message = {};
  message.type = U32(info, 1);
  if (message.type == VHOST_IOTLB_MSG_V2) message.asid = U32(info, 2);
  message.iotlb.iova = U64(info, 3);
  message.iotlb.size = U64(info, 4);
  message.iotlb.uaddr = U64(info, 5);
  message.iotlb.perm = static_cast<__u8>(U32(info, 6));
  message.iotlb.type = static_cast<__u8>(U32(info, 7));
  long result = Checked(write(FdArg(info, 0), &message, sizeof message));
  return Result(info.Env(), result < 0 ? result : 0);
}

// iotlbWriteAll(fd, version, messages): messages holds iova, size, userAddress, permission, type
// for each, and they are written in order until one fails. The kernel takes the locks of both rings
// for each, so it waits.
static Napi::Value WriteAll(const Napi::CallbackInfo& info) {
  auto use = std::make_shared<InUse>(StateArg(info, 0));
  uint32_t version = U32(info, 1);
  Bytes bytes = BytesArg(info, 2);
  // Bytes, and not words: a vector of those asks for GCC 11's library.
  std::vector<uint8_t> messages(bytes.data, bytes.data + bytes.size);
  return RunOnPool(info.Env(), [use, version, messages] {
    uint64_t words[5];
    for (size_t at = 0; at + sizeof words <= messages.size(); at += sizeof words) {
      memcpy(words, messages.data() + at, sizeof words);
      struct vhost_msg_v2 message = {};
      message.type = version;
      message.iotlb.iova = words[0];
      message.iotlb.size = words[1];
      message.iotlb.uaddr = words[2];
      message.iotlb.perm = static_cast<__u8>(words[3]);
      message.iotlb.type = static_cast<__u8>(words[4]);
      long result = Checked(write(use->fd(), &message, sizeof message));
      if (result < 0) return result;
    }
    return 0L;
  });
}

void InitVhostIotlb(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "iotlbRead", Read);
  Export(env, exports, "iotlbWrite", Write);
  Export(env, exports, "iotlbWriteAll", WriteAll);
}

}  // namespace vhostnet

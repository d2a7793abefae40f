// AF_PACKET raw sockets: a legal backend of vhost-net, and how tests see frames from the other
// side.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>

#include "fd.h"

#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

namespace vhostnet {

// packetOpen(): receives nothing until it is bound to an interface and a protocol.
static Napi::Value Open(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(),
                  Checked(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
}

// packetBind(fd, interfaceIndex, protocol)
static Napi::Value Bind(const Napi::CallbackInfo& info) {
  struct sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = I32(info, 1);
  address.sll_protocol = htons(static_cast<uint16_t>(U32(info, 2)));
  return Result(
      info.Env(),
      Checked(bind(FdArg(info, 0), reinterpret_cast<struct sockaddr*>(&address), sizeof address)));
}

static long SetOption(const Napi::CallbackInfo& info, int level, int option) {
  int value = I32(info, 1);
  return Checked(setsockopt(FdArg(info, 0), level, option, &value, sizeof value));
}

// packetSetVnetHdr(fd, 0 | 1): a virtio_net_hdr of 10 bytes before every frame.
static Napi::Value SetVnetHdr(const Napi::CallbackInfo& info) {
  return Result(info.Env(), SetOption(info, SOL_PACKET, PACKET_VNET_HDR));
}

// packetSetVnetHdrSize(fd, 10 | 12): of Linux 6.6.
static Napi::Value SetVnetHdrSize(const Napi::CallbackInfo& info) {
  return Result(info.Env(), SetOption(info, SOL_PACKET, PACKET_VNET_HDR_SZ));
}

static Napi::Value IgnoreOutgoing(const Napi::CallbackInfo& info) {
  return Result(info.Env(), SetOption(info, SOL_PACKET, PACKET_IGNORE_OUTGOING));
}

// packetSetReceiveBuffer(fd, bytes): beyond the system's limit where the process may.
static Napi::Value SetReceiveBuffer(const Napi::CallbackInfo& info) {
  long result = SetOption(info, SOL_SOCKET, SO_RCVBUFFORCE);
  if (result == -EPERM) result = SetOption(info, SOL_SOCKET, SO_RCVBUF);
  return Result(info.Env(), result);
}

// packetStatistics(fd): {received, dropped} since the last call.
static Napi::Value Statistics(const Napi::CallbackInfo& info) {
  struct tpacket_stats stats = {};
  socklen_t size = sizeof stats;
  if (getsockopt(FdArg(info, 0), SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0) {
    return Result(info.Env(), -errno);
  }
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("received", Napi::Number::New(info.Env(), stats.tp_packets));
  object.Set("dropped", Napi::Number::New(info.Env(), stats.tp_drops));
  return object;
}

constexpr size_t kBatch = 64;

// Slots of slotSize bytes in buffer, one frame each, its length in lengths (Uint32Array).
struct Batch {
  Batch(const Napi::CallbackInfo& info, size_t count, size_t slot_size) {
    Bytes buffer = BytesArg(info, 1);
    Bytes lengths = BytesArg(info, 3);
    if (info[3].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array) {
      throw Napi::TypeError::New(info.Env(), "expected a Uint32Array");
    }
    this->lengths = reinterpret_cast<uint32_t*>(lengths.data);
    if (slot_size == 0) throw Napi::TypeError::New(info.Env(), "expected a slot size");
    this->count =
        std::min({count, kBatch, buffer.size / slot_size, lengths.size / sizeof(uint32_t)});
    for (size_t i = 0; i < this->count; i++) {
      vectors[i] = {buffer.data + i * slot_size, slot_size};
      messages[i].msg_hdr.msg_iov = &vectors[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }

  struct iovec vectors[kBatch];
  struct mmsghdr messages[kBatch] = {};
  uint32_t* lengths;
  size_t count;
};

// packetReceive(fd, buffer, slotSize, lengths): up to 64 frames; their number. A frame longer than
// a slot has its true length in lengths.
static Napi::Value Receive(const Napi::CallbackInfo& info) {
  Batch batch(info, kBatch, U32(info, 2));
  long received =
      Checked(recvmmsg(FdArg(info, 0), batch.messages, batch.count, MSG_TRUNC, nullptr));
  for (long i = 0; i < received; i++) batch.lengths[i] = batch.messages[i].msg_len;
  return Result(info.Env(), received);
}

// packetSend(fd, buffer, slotSize, lengths, count): up to 64 frames; the number taken.
static Napi::Value Send(const Napi::CallbackInfo& info) {
  size_t slot_size = U32(info, 2);
  Batch batch(info, U32(info, 4), slot_size);
  for (size_t i = 0; i < batch.count; i++) {
    batch.vectors[i].iov_len = std::min<size_t>(batch.lengths[i], slot_size);
  }
  return Result(info.Env(), Checked(sendmmsg(FdArg(info, 0), batch.messages, batch.count, 0)));
}

void InitPacket(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "packetOpen", Open);
  Export(env, exports, "packetBind", Bind);
  Export(env, exports, "packetSetVnetHdr", SetVnetHdr);
  Export(env, exports, "packetSetVnetHdrSize", SetVnetHdrSize);
  Export(env, exports, "packetIgnoreOutgoing", IgnoreOutgoing);
  Export(env, exports, "packetSetReceiveBuffer", SetReceiveBuffer);
  Export(env, exports, "packetStatistics", Statistics);
  Export(env, exports, "packetReceive", Receive);
  Export(env, exports, "packetSend", Send);
}

}  // namespace vhostnet

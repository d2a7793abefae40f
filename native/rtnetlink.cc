// rtnetlink: give an interface an address, and hear what happens to interfaces.
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "fd.h"

namespace vhostnet {

static int OpenRoute(uint32_t groups) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return -errno;
  struct sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) {
    int error = -errno;
    close(fd);
    return error;
  }
  return fd;
}

struct AddressRequest {
  struct nlmsghdr header;
  struct ifaddrmsg address;
  // Room for IFA_LOCAL, IFA_ADDRESS and IFA_FLAGS.
  alignas(NLMSG_ALIGNTO) uint8_t attributes[128];
};

static void Append(AddressRequest* request, uint16_t type, const void* data, size_t size) {
  auto* attribute = reinterpret_cast<struct rtattr*>(reinterpret_cast<uint8_t*>(request) +
                                                     NLMSG_ALIGN(request->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = static_cast<uint16_t>(RTA_LENGTH(size));
  memcpy(RTA_DATA(attribute), data, size);
  request->header.nlmsg_len =
      static_cast<uint32_t>(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_SPACE(size));
}

// addressAdd(index, bytes, prefixLength): 4 or 16 bytes. An IPv6 address is usable at once: nobody
// else is on a new TAP, so duplicate address detection would only delay the first packet.
static Napi::Value AddressAdd(const Napi::CallbackInfo& info) {
  Bytes bytes = BytesArg(info, 1);
  if (bytes.size != 4 && bytes.size != 16) {
    throw Napi::TypeError::New(info.Env(), "expected 4 or 16 bytes");
  }
  AddressRequest request = {};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.address);
  request.header.nlmsg_type = RTM_NEWADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  request.address.ifa_family = bytes.size == 4 ? AF_INET : AF_INET6;
  request.address.ifa_prefixlen = static_cast<uint8_t>(U32(info, 2));
  request.address.ifa_index = U32(info, 0);
  Append(&request, IFA_LOCAL, bytes.data, bytes.size);
  Append(&request, IFA_ADDRESS, bytes.data, bytes.size);
  uint32_t flags = IFA_F_NODAD;
  if (bytes.size != 4) Append(&request, IFA_FLAGS, &flags, sizeof flags);

  int fd = OpenRoute(0);
  if (fd < 0) return Result(info.Env(), fd);
  long result = Checked(send(fd, &request, request.header.nlmsg_len, 0));
  if (result >= 0) {
    // The kernel answers a request for an acknowledgement before send() returns.
    struct {
      struct nlmsghdr header;
      struct nlmsgerr error;
      uint8_t echo[512];
    } answer;
    result = Checked(recv(fd, &answer, sizeof answer, 0));
    if (result >= 0) result = answer.header.nlmsg_type == NLMSG_ERROR ? answer.error.error : 0;
  }
  close(fd);
  return Result(info.Env(), result);
}

// linkMonitorOpen(): a descriptor that becomes readable when any interface changes.
static Napi::Value MonitorOpen(const Napi::CallbackInfo& info) {
  return FdResult(info.Env(), OpenRoute(RTMGRP_LINK));
}

static Napi::Object LinkEvent(Napi::Env env, const struct nlmsghdr* header) {
  auto* message = static_cast<const struct ifinfomsg*>(NLMSG_DATA(header));
  Napi::Object event = Napi::Object::New(env);
  event.Set("index", Napi::Number::New(env, message->ifi_index));
  event.Set("flags", Napi::Number::New(env, message->ifi_flags));
  event.Set("deleted", Napi::Boolean::New(env, header->nlmsg_type == RTM_DELLINK));
  int left = static_cast<int>(header->nlmsg_len - NLMSG_LENGTH(sizeof *message));
  for (auto* attribute = IFLA_RTA(message); RTA_OK(attribute, left);
       attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == IFLA_IFNAME) {
      event.Set("name", Napi::String::New(
                            env, static_cast<const char*>(RTA_DATA(attribute)),
                            strnlen(static_cast<const char*>(RTA_DATA(attribute)), IFNAMSIZ)));
    } else if (attribute->rta_type == IFLA_MTU) {
      event.Set("mtu", Napi::Number::New(env, *static_cast<uint32_t*>(RTA_DATA(attribute))));
    }
  }
  return event;
}

// linkMonitorRead(fd): [{index, name, flags, mtu, deleted}, …] of one datagram; -EAGAIN when there
// is none, -ENOBUFS when some were lost.
static Napi::Value MonitorRead(const Napi::CallbackInfo& info) {
  alignas(struct nlmsghdr) static thread_local uint8_t buffer[32768];
  long received = Checked(recv(FdArg(info, 0), buffer, sizeof buffer, 0));
  if (received < 0) return Result(info.Env(), received);
  Napi::Array events = Napi::Array::New(info.Env());
  auto left = static_cast<uint32_t>(received);
  for (auto* header = reinterpret_cast<struct nlmsghdr*>(buffer); NLMSG_OK(header, left);
       header = NLMSG_NEXT(header, left)) {
    if (header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK) continue;
    // AF_BRIDGE messages speak of a port of a bridge: leaving one looks like a deletion.
    auto* message = static_cast<const struct ifinfomsg*>(NLMSG_DATA(header));
    if (message->ifi_family != AF_UNSPEC) continue;
    events.Set(events.Length(), LinkEvent(info.Env(), header));
  }
  return events;
}

void InitRtnetlink(Napi::Env env, Napi::Object exports) {
  Export(env, exports, "addressAdd", AddressAdd);
  Export(env, exports, "linkMonitorOpen", MonitorOpen);
  Export(env, exports, "linkMonitorRead", MonitorRead);
}

}  // namespace vhostnet

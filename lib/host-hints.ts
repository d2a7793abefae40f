/** The part of `hints.ts` that is about TUN/TAP, interfaces, packet sockets and KVM. */

type Hints = Readonly<Record<string, string>>;

const TUN_UNATTACHED: Hints = {
  EBADFD: 'the descriptor has no interface yet: call setIff() first',
};

const TAP_ONLY = 'the interface is a TUN: only a TAP has filters';
const EBPF: Hints = {
  ...TUN_UNATTACHED,
  EBADF: 'the program is not open',
  EINVAL: 'the descriptor is not that of an eBPF program',
};
const NO_BIG_ENDIAN = 'the kernel was built without CONFIG_TUN_VNET_CROSS_LE';
const SOCKET_PATH = 'the path of a socket has 107 bytes at most: use a shorter one';
const NO_INTERFACE = 'no interface of that name in this network namespace';

/** As `HINTS`. */
export const HOST_HINTS: Readonly<Record<string, Hints>> = {
  TUNSETIFF: {
    EPERM:
      'creating or joining an interface needs CAP_NET_ADMIN: run as root, or have root make it: `ip tuntap add NAME mode tap user USER`',
    EBUSY:
      'somebody else has the interface open: close the other user, or open both with several queues',
    EINVAL:
      'the interface exists with other flags (TAP or TUN, several queues or one), or is no TUN/TAP interface, or the name is invalid',
    E2BIG: 'the interface has 256 queues already',
    EEXIST: 'the interface exists, and creating a new one was asked for',
    ENFILE: 'no free name for the pattern',
  },
  TUNGETIFF: { ...TUN_UNATTACHED, ENOTTY: 'the descriptor is not one of /dev/net/tun' },
  TUNSETIFINDEX: {
    EPERM: 'too late: the index is chosen before the interface is made',
    EINVAL: 'an index is not negative',
  },
  TUNSETOWNER: TUN_UNATTACHED,
  TUNSETGROUP: TUN_UNATTACHED,
  TUNSETNOCSUM: TUN_UNATTACHED,
  TUNGETDEVNETNS: TUN_UNATTACHED,
  TUNSETTXFILTER: { ...TUN_UNATTACHED, EINVAL: TAP_ONLY },
  TUNATTACHFILTER: {
    ...TUN_UNATTACHED,
    EINVAL: 'the program is empty or not valid, or the interface is a TUN: only a TAP has filters',
  },
  TUNDETACHFILTER: { ...TUN_UNATTACHED, EINVAL: TAP_ONLY },
  TUNGETFILTER: { ...TUN_UNATTACHED, EINVAL: TAP_ONLY },
  TUNSETSTEERINGEBPF: EBPF,
  TUNSETFILTEREBPF: EBPF,
  TUNGETVNETLE: TUN_UNATTACHED,
  TUNSETVNETLE: TUN_UNATTACHED,
  TUNGETVNETBE: { ...TUN_UNATTACHED, EINVAL: NO_BIG_ENDIAN },
  TUNSETVNETBE: { ...TUN_UNATTACHED, EINVAL: NO_BIG_ENDIAN },
  TUNSETPERSIST: { ...TUN_UNATTACHED, EPERM: 'needs CAP_NET_ADMIN' },
  TUNSETOFFLOAD: {
    ...TUN_UNATTACHED,
    EINVAL:
      'this kernel does not know one of the offloads, or the set is not allowed: TSO needs CSUM, USO4 and USO6 go together',
  },
  TUNSETVNETHDRSZ: { ...TUN_UNATTACHED, EINVAL: 'the header is at least 10 bytes' },
  TUNGETVNETHDRSZ: TUN_UNATTACHED,
  TUNSETSNDBUF: { ...TUN_UNATTACHED, EINVAL: 'the send buffer is at least 1 byte, of a TAP' },
  TUNGETSNDBUF: TUN_UNATTACHED,
  TUNSETQUEUE: { EINVAL: 'the interface was not opened with several queues' },
  TUNSETLINK: { ...TUN_UNATTACHED, EBUSY: 'the link must be down to change its type' },
  TUNSETCARRIER: { ...TUN_UNATTACHED, EBUSY: 'the interface is in the wrong state' },
  SIOCGIFFLAGS: { ENODEV: NO_INTERFACE },
  SIOCGIFMTU: { ENODEV: NO_INTERFACE },
  SIOCGIFHWADDR: { ENODEV: NO_INTERFACE },
  SIOCSIFFLAGS: {
    EPERM: 'needs CAP_NET_ADMIN in the network namespace of the interface',
    ENODEV: NO_INTERFACE,
  },
  SIOCSIFMTU: {
    EPERM: 'needs CAP_NET_ADMIN',
    EINVAL: 'a TAP takes an MTU from 68 to 65521',
    ENODEV: NO_INTERFACE,
  },
  SIOCSIFHWADDR: {
    ENODEV: NO_INTERFACE,
    EPERM: 'needs CAP_NET_ADMIN',
    EADDRNOTAVAIL: 'the address is a group address or all zeroes',
    EBUSY: 'the interface must be down to change its address',
  },
  SIOCGIFINDEX: { ENODEV: NO_INTERFACE },
  RTM_NEWADDR: {
    EPERM: 'needs CAP_NET_ADMIN',
    EEXIST: 'the interface has this address already',
    EACCES: 'IPv6 is disabled on this interface: see the sysctl net.ipv6.conf.NAME.disable_ipv6',
  },
  'fcntl(F_DUPFD_CLOEXEC)': {
    EBADF: 'the number is not that of an open descriptor of this process',
    EMFILE: 'the process has too many open files: raise `ulimit -n`, or close ports',
  },
  close: {
    EBADF:
      'somebody else closed the number of this descriptor: look for a close() of a number that was not its own',
  },
  'sendmmsg(AF_PACKET)': {
    ENETDOWN: 'the link is down: `ip link set NAME up`',
    EMSGSIZE: 'the frame is longer than the MTU of the interface',
    EINVAL: 'the frame is shorter than a header, or its virtio-net header says what cannot be',
    ENXIO: 'the interface is gone',
  },
  'recvmmsg(AF_PACKET)': { ENETDOWN: 'the link went down, or the interface is gone' },
  'socket(AF_PACKET)': { EPERM: 'raw sockets need CAP_NET_RAW: run as root' },
  'connect(AF_UNIX)': {
    ENOENT: 'there is no such socket: start what listens on it, or mend the path',
    ECONNREFUSED:
      'nobody listens on the socket any more, or it is no socket: start what listens on it',
    EACCES: 'no rights to the socket: it takes write access to it, and search access to its folder',
    EPROTOTYPE: 'the socket is of another type: something else listens on this path',
    EAGAIN: 'too many wait to be accepted: try again',
    ENAMETOOLONG: SOCKET_PATH,
  },
  'bind(AF_UNIX)': {
    EADDRINUSE:
      'somebody listens on this path, or it is a file that is no socket: use another path',
    ENOENT: 'the folder of the socket does not exist: create it',
    EACCES: 'no rights to create the socket: it takes write access to its folder',
    EROFS: 'the file system of the socket is read-only: use a path below /run',
    ENAMETOOLONG: SOCKET_PATH,
  },
  'getsockopt(SO_TYPE)': {
    ENOTSOCK: 'the descriptor is no socket: pass one of a connected unix socket',
    EAFNOSUPPORT: 'the socket is of another family: pass a connected unix socket',
    EPROTOTYPE: 'the unix socket is of another type: both ends must agree on it',
  },
  'sendmsg(AF_UNIX)': {
    EPIPE: 'the other end closed the connection',
    ECONNRESET: 'the other end closed the connection and had not read everything',
    EMSGSIZE: 'the message is longer than the send buffer of the socket',
    ETOOMANYREFS:
      'too many descriptors are on their way between processes: raise `ulimit -n`, or let the other end read',
  },
  'recvmsg(AF_UNIX)': {
    ETIMEDOUT: 'the other end does not answer: it may be stopped, or busy',
    ECONNRESET: 'the other end closed the connection and had not read everything',
  },
  'setsockopt(PACKET_VNET_HDR_SZ)': {
    ENOPROTOOPT:
      'this kernel has headers of 10 bytes only (12 came with Linux 6.6): let vhost supply the header (VHOST_NET_F_VIRTIO_NET_HDR), or do without VERSION_1 and MRG_RXBUF',
    EINVAL: 'the header has 10 or 12 bytes',
  },
  tap: {
    ENODEV: 'the interface was deleted or moved to another network namespace: close the port',
  },
  send: {
    ENETDOWN: 'the link is down and the kernel would drop the frame: `ip link set NAME up`',
  },
  KVM_IOEVENTFD: {
    EEXIST: 'another ioeventfd has this address and data',
    ENOSPC: 'the VM has no room for another ioeventfd',
    ENOENT: 'no ioeventfd has this address, length and data',
    EINVAL:
      'the length is 0 (any, without datamatch), 1, 2, 4 or 8, inside the address space, and the descriptor is an eventfd',
    EBADF: 'the eventfd is not open',
  },
  KVM_IRQFD: {
    EBUSY: 'the eventfd is an irqfd already',
    EINVAL:
      'the VM has no in-kernel interrupt controller (create it first), or the descriptor is not an eventfd',
    EBADF: 'the eventfd is not open',
  },
};

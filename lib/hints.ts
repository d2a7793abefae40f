/**
 * What each errno of each call means and what to do about it: one sentence for every errno that the
 * kernel's vhost-net, TUN/TAP and KVM are known to return. `docs/errors.md` is made from this table.
 */
import { HOST_HINTS } from './host-hints.js';

type Hints = Readonly<Record<string, string>>;

const OWNER =
  'the device has no owner, or another process owns it: call setOwner() first, from the process whose memory is used';
const RING_INDEX = 'vhost-net has two rings, 0 (receive) and 1 (transmit)';
const BACKEND_SET =
  'the ring has a backend: take it off first with setBackend(index, null), then change the ring';
const UNKNOWN_TO_KERNEL = 'this kernel does not have this ioctl';
const RING_COMMON: Hints = { EPERM: OWNER, ENOBUFS: RING_INDEX };
const EVENTFD: Hints = {
  ...RING_COMMON,
  EBADF: 'the eventfd is not open',
  EINVAL: 'the descriptor is not an eventfd',
};
const WORKERS: Hints = {
  EPERM: OWNER,
  ENOTTY: 'vhost-net has no worker ioctls: only vhost-scsi lets a process choose its workers',
  ENOBUFS: 'vhost-net has no worker ioctls: only vhost-scsi lets a process choose its workers',
};

/** Hints by the request's name as it stands in `syscall`, then by errno. */
export const HINTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'open /dev/vhost-net': {
    ENOENT:
      'the vhost_net module is not loaded: run `modprobe vhost_net` as root (a kernel without CONFIG_VHOST_NET has no such module)',
    ENODEV:
      'the vhost_net module is not loaded: run `modprobe vhost_net` as root (a kernel without CONFIG_VHOST_NET has no such module)',
    EACCES:
      'no rights to /dev/vhost-net: run as root, or join the group that owns it (often kvm): `usermod -aG kvm USER`',
    EPERM: 'this container or sandbox forbids /dev/vhost-net: allow the device (10:238)',
    EMFILE: 'the process has too many open files: raise `ulimit -n`, or close ports',
  },
  'open /dev/net/tun': {
    ENOENT: 'the tun module is not loaded: run `modprobe tun` as root',
    ENODEV: 'the tun module is not loaded: run `modprobe tun` as root',
    EACCES: 'no rights to /dev/net/tun: run as root, or give the user access to the node',
    EPERM: 'this container or sandbox forbids /dev/net/tun: allow the device (10:200)',
    EMFILE: 'the process has too many open files: raise `ulimit -n`, or close ports',
  },
  'open /dev/tapN': {
    ENOENT:
      'the macvtap has no device node here: without udev make it as root, `mknod /dev/tapN c MAJOR MINOR`, the numbers from /sys/class/net/NAME/tapN/dev; other interfaces than macvtap have none',
    EACCES: 'no rights to the node: run as root, or give the user access to it',
    EPERM: 'this container or sandbox forbids the node: allow the device',
    ENXIO: 'the macvtap that the node belonged to is gone: make the node anew',
    EBUSY: 'the macvtap has 256 queues already',
  },
  'open /dev/kvm': {
    ENOENT: 'no KVM here: enable virtualization in the firmware and load kvm_intel or kvm_amd',
    EACCES: 'no rights to /dev/kvm: run as root, or join the group kvm: `usermod -aG kvm USER`',
  },
  VHOST_SET_OWNER: {
    EBUSY: 'the device has an owner already, maybe this process: call resetOwner() or open another',
    ENOMEM:
      'the kernel could not start the vhost worker: memory or the limit of processes is used up',
  },
  VHOST_RESET_OWNER: { EPERM: OWNER, ENOMEM: 'the kernel is out of memory' },
  VHOST_SET_FEATURES: {
    EOPNOTSUPP: 'a bit is set that getFeatures() does not offer',
    EFAULT:
      'with VHOST_F_LOG_ALL the log does not cover the memory; with VIRTIO_F_ACCESS_PLATFORM the kernel had no memory for its IOTLB',
  },
  VHOST_GET_FEATURES_ARRAY: {
    EPERM: UNKNOWN_TO_KERNEL,
    ENOTTY: UNKNOWN_TO_KERNEL,
    ENOBUFS: UNKNOWN_TO_KERNEL,
  },
  VHOST_SET_FEATURES_ARRAY: {
    EPERM: UNKNOWN_TO_KERNEL,
    ENOTTY: UNKNOWN_TO_KERNEL,
    ENOBUFS: UNKNOWN_TO_KERNEL,
    EOPNOTSUPP: 'a bit is set that getFeaturesArray() does not offer',
  },
  VHOST_SET_BACKEND_FEATURES: {
    EOPNOTSUPP: 'a bit is set that getBackendFeatures() does not offer',
  },
  VHOST_GET_FORK_FROM_OWNER: {
    EPERM: UNKNOWN_TO_KERNEL,
    ENOTTY: UNKNOWN_TO_KERNEL,
    ENOBUFS: UNKNOWN_TO_KERNEL,
  },
  VHOST_SET_FORK_FROM_OWNER: {
    EPERM: UNKNOWN_TO_KERNEL,
    ENOTTY: UNKNOWN_TO_KERNEL,
    ENOBUFS: UNKNOWN_TO_KERNEL,
    EBUSY: 'too late: the mode is chosen before setOwner()',
    EINVAL:
      'the mode is 0 (kernel thread) or 1 (task of the owner), and the kernel may forbid kernel threads',
  },
  VHOST_SET_MEM_TABLE: {
    EPERM: OWNER,
    E2BIG: 'too many regions: the limit is /sys/module/vhost/parameters/max_mem_regions',
    EFAULT: 'a region has size 0, wraps around, or leaves out the rings of a running backend',
    EOPNOTSUPP: 'the padding of the table is not 0',
    ENOMEM: 'the kernel is out of memory',
  },
  VHOST_SET_LOG_BASE: {
    EPERM: OWNER,
    EFAULT: 'the log is not accessible, or does not cover the memory',
  },
  VHOST_SET_LOG_FD: {
    EPERM: OWNER,
    EBADF: 'the eventfd is not open',
    EINVAL: 'the descriptor is not an eventfd',
  },
  VHOST_SET_VRING_NUM: {
    ...RING_COMMON,
    EBUSY: BACKEND_SET,
    EINVAL: 'the ring size is a power of two from 1 to 32768',
  },
  VHOST_SET_VRING_BASE: {
    ...RING_COMMON,
    EBUSY: BACKEND_SET,
    EINVAL: 'the base is from 0 to 65535',
  },
  VHOST_GET_VRING_BASE: RING_COMMON,
  VHOST_SET_VRING_ADDR: {
    ...RING_COMMON,
    EOPNOTSUPP: 'the only flag is VHOST_VRING_F_LOG (1)',
    EFAULT: 'an address is not one of this process',
    EINVAL:
      'avail must be aligned to 2 bytes, used and log to 4; with a backend the rings must be accessible',
  },
  VHOST_SET_VRING_KICK: EVENTFD,
  VHOST_SET_VRING_CALL: EVENTFD,
  VHOST_SET_VRING_ERR: EVENTFD,
  VHOST_SET_VRING_ENDIAN: {
    ...RING_COMMON,
    ENOTTY: 'the kernel was built without CONFIG_VHOST_CROSS_ENDIAN_LEGACY',
    EBUSY: BACKEND_SET,
    EINVAL: 'the byte order is 0 (little) or 1 (big)',
  },
  VHOST_GET_VRING_ENDIAN: {
    ...RING_COMMON,
    ENOTTY: 'the kernel was built without CONFIG_VHOST_CROSS_ENDIAN_LEGACY',
  },
  VHOST_SET_VRING_BUSYLOOP_TIMEOUT: RING_COMMON,
  VHOST_GET_VRING_BUSYLOOP_TIMEOUT: RING_COMMON,
  VHOST_NEW_WORKER: WORKERS,
  VHOST_FREE_WORKER: WORKERS,
  VHOST_ATTACH_VRING_WORKER: WORKERS,
  VHOST_GET_VRING_WORKER: WORKERS,
  VHOST_NET_SET_BACKEND: {
    ...RING_COMMON,
    EFAULT:
      'no memory table is set, or the ring addresses are not set, or not inside the memory table',
    ENOTSOCK: 'the backend must be an open TUN/TAP, macvtap or AF_PACKET raw socket',
    EINVAL: 'the TUN/TAP descriptor has no interface yet',
  },
  'read(vhost)': {
    EAGAIN: 'no IOTLB message is waiting',
    EBADFD: 'the device has no IOTLB: VIRTIO_F_ACCESS_PLATFORM is not set',
  },
  'write(vhost)': {
    EINVAL: 'the message type is unknown, the size is 0, or the version was not negotiated',
    EFAULT:
      'the range is not one of this process, the device has no IOTLB, or it does not take the message: BATCH_BEGIN, BATCH_END and ACCESS_FAIL are for vDPA devices',
  },
  ...HOST_HINTS,
};

/**
 * The name of a call without its decoration: `ioctl(TUNSETIFF)` is `TUNSETIFF`, whoever called it: what
 * failed in a broker has `broker: ` before it.
 */
function key(call: string, path?: string): string {
  const syscall = call.replace(/^broker: /, '');
  if (syscall === 'open') return `open ${path?.replace(/^\/dev\/tap\d+$/, '/dev/tapN') ?? ''}`;
  return /^ioctl\((\w+)\)$/.exec(syscall)?.[1] ?? syscall;
}

/** The sentence for an errno of a call, where there is one. */
export function hintFor(syscall: string, code: string, path?: string): string | undefined {
  return HINTS[key(syscall, path)]?.[code];
}

import { describe, expect, test } from 'vitest';
import * as library from '../../lib/index.js';
import { native } from '../../lib/native.js';
import * as kvm from '../../lib/uapi/kvm.js';
import * as pci from '../../lib/uapi/pci.js';
import * as socket from '../../lib/uapi/socket.js';
import * as tun from '../../lib/uapi/tun.js';
import * as vhost from '../../lib/uapi/vhost.js';
import * as virtioMmio from '../../lib/uapi/virtio-mmio.js';
import * as net from '../../lib/uapi/virtio-net.js';
import * as virtioPci from '../../lib/uapi/virtio-pci.js';
import * as ring from '../../lib/uapi/virtio-ring.js';

/** Sizes and offsets in bytes, as compiled on x86-64 with Linux's own headers. */
const LAYOUTS: Record<string, Record<string, number>> = {
  vhost_vring_state: { sizeof: 8, index: 0, num: 4 },
  vhost_vring_file: { sizeof: 8, index: 0, fd: 4 },
  // used stands before avail.
  vhost_vring_addr: {
    sizeof: 40,
    index: 0,
    flags: 4,
    desc_user_addr: 8,
    used_user_addr: 16,
    avail_user_addr: 24,
    log_guest_addr: 32,
  },
  vhost_memory: { sizeof: 8, nregions: 0, padding: 4, regions: 8 },
  vhost_memory_region: {
    sizeof: 32,
    guest_phys_addr: 0,
    memory_size: 8,
    userspace_addr: 16,
    flags_padding: 24,
  },
  vhost_iotlb_msg: { sizeof: 32, iova: 0, size: 8, uaddr: 16, perm: 24, type: 25 },
  vhost_msg: { sizeof: 72, type: 0, iotlb: 8 },
  vhost_msg_v2: { sizeof: 72, type: 0, asid: 4, iotlb: 8 },
  vhost_features_array: { sizeof: 8, count: 0, features: 8 },
  vhost_worker_state: { sizeof: 4, worker_id: 0 },
  vhost_vring_worker: { sizeof: 8, index: 0, worker_id: 4 },
  tun_filter: { sizeof: 4, flags: 0, count: 2, addr: 4 },
  kvm_ioeventfd: { sizeof: 64, datamatch: 0, addr: 8, len: 16, fd: 20, flags: 24 },
  kvm_irqfd: { sizeof: 32, fd: 0, gsi: 4, flags: 8, resamplefd: 12 },
  vring_desc: { sizeof: 16, addr: 0, len: 8, flags: 12, next: 14 },
  vring_avail: { sizeof: 4, flags: 0, idx: 2, ring: 4 },
  vring_used_elem: { sizeof: 8, id: 0, len: 4 },
  vring_used: { sizeof: 4, flags: 0, idx: 2, ring: 4 },
  virtio_net_hdr: {
    sizeof: 10,
    flags: 0,
    gso_type: 1,
    hdr_len: 2,
    gso_size: 4,
    csum_start: 6,
    csum_offset: 8,
  },
  virtio_net_hdr_mrg_rxbuf: { sizeof: 12, num_buffers: 10 },
  virtio_net_hdr_v1: { sizeof: 12, num_buffers: 10 },
  virtio_net_hdr_v1_hash: { sizeof: 20, hash_value: 12, hash_report: 16, padding: 18 },
  virtio_net_hdr_v1_hash_tunnel: { sizeof: 24, outer_th_offset: 20, inner_nh_offset: 22 },
};

/** Request numbers with the generic layout of ioctl.h: every architecture but mips, ppc, sparc. */
const REQUESTS: Record<string, number> = {
  VHOST_GET_FEATURES: 0x8008af00,
  VHOST_SET_FEATURES: 0x4008af00,
  VHOST_SET_OWNER: 0xaf01,
  VHOST_RESET_OWNER: 0xaf02,
  VHOST_SET_MEM_TABLE: 0x4008af03,
  VHOST_SET_LOG_BASE: 0x4008af04,
  VHOST_SET_LOG_FD: 0x4004af07,
  VHOST_NEW_WORKER: 0x8004af08,
  VHOST_FREE_WORKER: 0x4004af09,
  VHOST_SET_VRING_NUM: 0x4008af10,
  VHOST_SET_VRING_ADDR: 0x4028af11,
  VHOST_SET_VRING_BASE: 0x4008af12,
  VHOST_GET_VRING_BASE: 0xc008af12,
  VHOST_SET_VRING_ENDIAN: 0x4008af13,
  VHOST_GET_VRING_ENDIAN: 0x4008af14,
  VHOST_ATTACH_VRING_WORKER: 0x4008af15,
  VHOST_GET_VRING_WORKER: 0xc008af16,
  VHOST_SET_VRING_KICK: 0x4008af20,
  VHOST_SET_VRING_CALL: 0x4008af21,
  VHOST_SET_VRING_ERR: 0x4008af22,
  VHOST_SET_VRING_BUSYLOOP_TIMEOUT: 0x4008af23,
  // The kernel declares this one as a write although it reads.
  VHOST_GET_VRING_BUSYLOOP_TIMEOUT: 0x4008af24,
  VHOST_SET_BACKEND_FEATURES: 0x4008af25,
  VHOST_GET_BACKEND_FEATURES: 0x8008af26,
  VHOST_NET_SET_BACKEND: 0x4008af30,
  VHOST_GET_FEATURES_ARRAY: 0x8008af83,
  VHOST_SET_FEATURES_ARRAY: 0x4008af83,
  VHOST_SET_FORK_FROM_OWNER: 0x4001af84,
  VHOST_GET_FORK_FROM_OWNER: 0x8001af85,
  TUNSETNOCSUM: 0x400454c8,
  TUNSETDEBUG: 0x400454c9,
  TUNSETIFF: 0x400454ca,
  TUNSETPERSIST: 0x400454cb,
  TUNSETOWNER: 0x400454cc,
  TUNSETLINK: 0x400454cd,
  TUNSETGROUP: 0x400454ce,
  TUNGETFEATURES: 0x800454cf,
  TUNSETOFFLOAD: 0x400454d0,
  TUNSETTXFILTER: 0x400454d1,
  TUNGETIFF: 0x800454d2,
  TUNGETSNDBUF: 0x800454d3,
  TUNSETSNDBUF: 0x400454d4,
  TUNATTACHFILTER: 0x401054d5,
  TUNDETACHFILTER: 0x401054d6,
  TUNGETVNETHDRSZ: 0x800454d7,
  TUNSETVNETHDRSZ: 0x400454d8,
  TUNSETQUEUE: 0x400454d9,
  TUNSETIFINDEX: 0x400454da,
  TUNGETFILTER: 0x801054db,
  TUNSETVNETLE: 0x400454dc,
  TUNGETVNETLE: 0x800454dd,
  TUNSETVNETBE: 0x400454de,
  TUNGETVNETBE: 0x800454df,
  TUNSETSTEERINGEBPF: 0x800454e0,
  TUNSETFILTEREBPF: 0x800454e1,
  TUNSETCARRIER: 0x400454e2,
  TUNGETDEVNETNS: 0x54e3,
  KVM_IOEVENTFD: 0x4040ae79,
  KVM_IRQFD: 0x4020ae76,
};

/** Names that the kernel's headers do not have: its source and the specification do. */
const WITHOUT_HEADER = {
  // drivers/vhost/net.c
  VHOST_NET_VQ_RX: 0,
  VHOST_NET_VQ_TX: 1,
  // virtio 1.3 §2.7
  VRING_MAX_SIZE: 32768,
};

function offset(struct: string, field: string): number {
  return native.layouts()[struct]?.[field] ?? Number.NaN;
}

function numbersOf(module: object): Record<string, number> {
  const all = Object.entries(module).filter(([, value]) => typeof value === 'number');
  return Object.fromEntries(all);
}

/** Every number under a kernel name in lib/uapi, those in its tables included. */
const CONSTANTS: Record<string, number> = {
  ...net.VIRTIO_NET_FEATURES,
  ...tun.TUN_FEATURES,
  ...numbersOf({
    ...kvm,
    ...pci,
    ...socket,
    ...tun,
    ...vhost,
    ...net,
    ...virtioMmio,
    ...virtioPci,
    ...ring,
  }),
};

describe('the structs that cross into the kernel', () => {
  test.each(Object.entries(LAYOUTS))('%s is laid out as the kernel has it', (name, layout) => {
    expect(native.layouts()[name]).toEqual(layout);
  });

  test('are all listed here', () => {
    expect(Object.keys(native.layouts()).sort()).toEqual(Object.keys(LAYOUTS).sort());
  });

  test('both versions of an IOTLB message have every field at the same place', () => {
    const struct = 'vhost_iotlb_msg';
    const { sizeof, ...message } = native.layouts()[struct] ?? {};
    const from = offset('vhost_msg_v2', 'iotlb');
    expect(offset('vhost_msg', 'iotlb')).toBe(from);
    const at = Object.entries(message).map(([name, within]) => [name, from + within]);
    expect(Object.fromEntries(at)).toEqual({ iova: 8, size: 16, uaddr: 24, perm: 32, type: 33 });
  });

  test('a memory table of 64 regions takes 2056 bytes', () => {
    const size = offset('vhost_memory', 'sizeof') + 64 * offset('vhost_memory_region', 'sizeof');
    expect(size).toBe(2056);
  });
});

describe('the requests', () => {
  test.each(Object.entries(REQUESTS))(
    '%s has the number that the kernel gives it',
    (name, number) => {
      expect(native.requests()[name]).toBe(number);
    },
  );

  test('are all listed here', () => {
    expect(Object.keys(native.requests()).sort()).toEqual(Object.keys(REQUESTS).sort());
  });
});

describe('the constants of lib/uapi', () => {
  const named = Object.entries(CONSTANTS).filter(([name]) => !(name in WITHOUT_HEADER));

  test.each(named)('%s is %d in the kernel’s headers too', (name, value) => {
    expect(native.constants()[name]).toBe(value);
  });

  test('that no header has are those of the source and the specification', () => {
    const { VHOST_NET_VQ_RX, VHOST_NET_VQ_TX, VRING_MAX_SIZE } = library;
    expect({ VHOST_NET_VQ_RX, VHOST_NET_VQ_TX, VRING_MAX_SIZE }).toEqual(WITHOUT_HEADER);
  });

  test('leave out none that the addon reads', () => {
    expect(Object.keys(CONSTANTS)).toEqual(expect.arrayContaining(Object.keys(native.constants())));
  });

  test('are part of the public module under their kernel names', () => {
    const uapi = [kvm, socket, tun, vhost, net, ring].flatMap((module) => Object.keys(module));
    expect(Object.keys(library)).toEqual(expect.arrayContaining(uapi));
  });

  test('bit 27 is named after what vhost means by it', () => {
    expect(net.featureNames(1n << 27n)).toEqual(['VHOST_NET_F_VIRTIO_NET_HDR']);
    expect(net.VIRTIO_F_ANY_LAYOUT).toBe(vhost.VHOST_NET_F_VIRTIO_NET_HDR);
  });
});

/** MacVtap: one queue of a macvtap: a network card of the host, shared with a guest. */
import { constants as fs } from 'node:fs';
import { type Fd, native } from '../native.js';
import { checkedValue } from '../syscall.js';
import { IFF_NO_PI, IFF_TAP, IFF_VNET_HDR } from '../uapi/tun.js';
import { duplicate } from './descriptor.js';
import { NetInterface } from './net-interface.js';
import { TunQueue } from './tun-queue.js';

export interface MacVtapOptions {
  /** A virtio-net header before every frame. Default: true. */
  vnetHeader?: boolean;
}

/**
 * One queue of a macvtap interface, which somebody made: `ip link add link eth0 name macvtap0 type
 * macvtap mode bridge`. Opening adds a queue, up to 256; closing takes it away, the interface stays. It
 * starts with a header of 10 bytes; its send buffer can be set, not read.
 */
export class MacVtap extends TunQueue {
  readonly kind = 'macvtap';

  private constructor(fd: Fd, name: string) {
    super(fd, 'macvtap', name);
  }

  /**
   * Opens `/dev/tapN`, where N is the interface's index. Throws `ENODEV` where there is no such
   * interface, `ENOENT` where it has no device node, `EACCES`, `EBUSY` for the 257th queue.
   */
  static open(interfaceName: string, options: MacVtapOptions = {}): MacVtap {
    const { index } = new NetInterface(interfaceName);
    const path = `/dev/tap${index}`;
    const fd = checkedValue<Fd>(native.open(path, fs.O_RDWR | fs.O_NONBLOCK), 'open', path);
    const flags = IFF_TAP | IFF_NO_PI | ((options.vnetHeader ?? true) ? IFF_VNET_HDR : 0);
    try {
      // The name says nothing here: the node is the interface.
      checkedValue(native.tunSetIff(fd, interfaceName, flags), 'ioctl(TUNSETIFF)', interfaceName, [
        flags,
      ]);
      return new MacVtap(fd, interfaceName);
    } catch (error) {
      fd.close();
      throw error;
    }
  }

  /** A duplicate of a queue that somebody else opened. Throws `EBADF`, `ENOTTY`. */
  static fromFd(number: number): MacVtap {
    const fd = duplicate(number);
    try {
      const { name } = checkedValue<{ name: string }>(native.tunGetIff(fd), 'ioctl(TUNGETIFF)');
      return new MacVtap(fd, name);
    } catch (error) {
      fd.close();
      throw error;
    }
  }
}

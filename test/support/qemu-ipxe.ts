/**
 * QEMU with iPXE as its guest: a real virtio-net driver that needs no operating system. It brings the card up some
 * seconds after the start, asks for an address by DHCP about ten times, and resets the card.
 */
import { PeerProcess } from './peer-process.js';

/** What iPXE's frames come from. */
export const IPXE_MAC = '52:54:00:12:34:56';

export interface QemuOptions {
  /** QEMU listens, and the back end connects. Default: it connects, once. */
  server?: boolean;
}

/** A guest whose card is served by the vhost-user back end of `path`. */
export function startQemuIpxe(path: string, { server = false }: QemuOptions = {}): PeerProcess {
  const chardev = `socket,id=c0,path=${path}${server ? ',server=on,wait=off' : ''}`;
  // Without MSI-X: QEMU 7.2 crashes where a guest under its emulation turns it on for a card of vhost's.
  const card = `virtio-net-pci,netdev=n0,mac=${IPXE_MAC},vectors=0`;
  return new PeerProcess('qemu-system-x86_64', [
    ...['-accel', 'tcg', '-M', 'pc', '-m', '128', '-display', 'none', '-serial', 'none'],
    ...['-monitor', 'stdio', '-object', 'memory-backend-memfd,id=mem,size=128M,share=on'],
    ...['-numa', 'node,memdev=mem', '-chardev', chardev, '-netdev', 'vhost-user,id=n0,chardev=c0'],
    ...['-device', card, '-boot', 'n'],
  ]);
}

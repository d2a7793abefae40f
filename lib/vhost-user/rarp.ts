/** The frame by which a card announces itself for a guest that cannot. */

/** A reverse ARP request for oneself (RFC 903): nobody answers it, and every switch sees where it came from. */
export function rarpFrame(mac: Uint8Array): Uint8Array {
  const frame = new Uint8Array(60);
  frame.fill(0xff, 0, 6);
  frame.set(mac, 6);
  frame.set([0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3], 12);
  frame.set(mac, 22);
  frame.set(mac, 32);
  return frame;
}

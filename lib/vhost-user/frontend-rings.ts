/** The messages that set a ring up, start it, and stop it, in one session. */
import { EventFd } from '../host/event-fd.js';
import type { GuestMemory } from '../host/guest-memory.js';
import { logVhostUser } from '../log.js';
import { VHOST_VRING_F_LOG } from '../uapi/vhost.js';
import { VHOST_USER_F_PROTOCOL_FEATURES } from '../uapi/vhost-user.js';
import { hasBit } from '../uapi/virtio-net.js';
import type { VringConfig } from '../vhost/backend.js';
import { userAddresses } from '../vhost/ring-addresses.js';
import { usedBytes } from '../vring/layout.js';
import { protocolError } from './errors.js';
import type { Session } from './session.js';

const DISABLED = 0;
const ENABLED = 1;

/** A ring that is served, whoever serves it. */
export interface ServedRing extends VringConfig {
  index: number;
  /** Our own, where the ring has none. */
  ownErr: EventFd | undefined;
}

/** `onError` hears where the device gives the ring up, unless the ring has an `err` of its own. */
export function serveRing(
  index: number,
  ring: VringConfig,
  onError: ((ring: number) => void) | undefined,
): ServedRing {
  const ownErr = ring.err || !onError ? undefined : EventFd.create();
  ownErr?.onSignal(() => onError?.(index));
  ownErr?.unref();
  return { ...ring, index, ownErr };
}

/** All but its kick, with which it starts. */
export async function setUpRing(
  session: Session,
  ring: ServedRing,
  memory: GuestMemory,
  use: 'logged' | 'unlogged',
): Promise<void> {
  const { index, size, base, call, err = ring.ownErr } = ring;
  await session.command('VHOST_USER_SET_VRING_NUM', { index, num: size });
  await session.command('VHOST_USER_SET_VRING_BASE', { index, num: base });
  await setAddresses(session, ring, memory, use);
  const file = { index, noDescriptor: err === undefined };
  await session.command('VHOST_USER_SET_VRING_ERR', file, err ? [err] : []);
  await session.command('VHOST_USER_SET_VRING_CALL', { index, noDescriptor: false }, [call]);
  // Before it starts: what a ring that is disabled is given to send would be thrown away.
  await enable(session, index, ENABLED);
}

export async function setAddresses(
  session: Session,
  ring: ServedRing,
  memory: GuestMemory,
  use: 'logged' | 'unlogged',
): Promise<void> {
  const flags = use === 'logged' ? 1 << VHOST_VRING_F_LOG : 0;
  const addresses = userAddresses(memory, ring);
  const { index } = ring;
  const log = ring.addresses.used;
  await session.command('VHOST_USER_SET_VRING_ADDR', { index, flags, log, ...addresses });
}

export async function startRing(session: Session, ring: ServedRing): Promise<void> {
  const { index, kick } = ring;
  await session.command('VHOST_USER_SET_VRING_KICK', { index, noDescriptor: false }, [kick]);
  // What lies in the ring already may have been kicked to a device that is no more.
  kick.signal();
}

/** Stops a ring, whatever state it is in. Returns where it goes on. */
export async function stopRing(session: Session, index: number): Promise<number> {
  const { payload } = await session.ask('VHOST_USER_GET_VRING_BASE', { index, num: 0 });
  if (payload.index !== index || payload.num > 0xffff) {
    const error = protocolError(
      'VHOST_USER_GET_VRING_BASE',
      `it says ${payload.num} of ring ${payload.index}, and was asked for ring ${index}`,
    );
    session.close(error);
    throw error;
  }
  await enable(session, index, DISABLED);
  return payload.num;
}

/** Without protocol features a ring is enabled for as long as it runs. */
async function enable(session: Session, index: number, num: number): Promise<void> {
  if (!hasBit(session.features, VHOST_USER_F_PROTOCOL_FEATURES)) return;
  await session.command('VHOST_USER_SET_VRING_ENABLE', { index, num });
}

/**
 * Where another device goes on with a ring whose device is gone: behind the last chain that it gave back. Wakes the
 * driver, who was maybe not told of that one.
 */
export function recoverRing(ring: ServedRing, memory: GuestMemory): void {
  ring.onDeviceLost?.();
  const { region, offset } = memory.translate(ring.addresses.used, usedBytes(ring.size));
  ring.base = Atomics.load(new Uint16Array(region.buffer, offset + 2, 1), 0);
  wakeDriver(ring);
}

/** Never throws: whoever had the other end may have filled it, which wakes as well, and its owner may have closed it. */
export function wakeDriver({ index, call }: ServedRing): void {
  try {
    call.signal();
  } catch (error) {
    logVhostUser('ring %d: its driver was not called: %o', index, error);
  }
}

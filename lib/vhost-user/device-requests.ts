/** What a back end is asked about the device as a whole. */
import { checkInteger, StateError, valueError } from '../errors.js';
import * as uapi from '../uapi/vhost-user.js';
import type { Session } from './session.js';

/** Has the back end send a frame from the hardware address `mac`, 6 bytes, which tells the network where that is. */
export async function sendRarp(session: Session, mac: Uint8Array): Promise<void> {
  if (mac.length !== 6) throw valueError(`a hardware address has 6 bytes, not ${mac.length}`);
  demand(session, 'RARP', uapi.VHOST_USER_PROTOCOL_F_RARP);
  const payload = new BigUint64Array(1);
  new Uint8Array(payload.buffer).set(mac);
  await session.command('VHOST_USER_SEND_RARP', payload[0] as bigint);
  await session.settle();
}

/** Tells the back end the MTU that the guest has. */
export async function setMtu(session: Session, mtu: number): Promise<void> {
  demand(session, 'MTU', uapi.VHOST_USER_PROTOCOL_F_MTU);
  await session.command('VHOST_USER_NET_SET_MTU', BigInt(mtu));
  await session.settle();
}

/** Reads bytes of the device's configuration. */
export async function getConfig(
  session: Session,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  checkInteger('length', length, 1, uapi.VHOST_USER_MAX_CONFIG_SIZE);
  demand(session, 'CONFIG', uapi.VHOST_USER_PROTOCOL_F_CONFIG);
  const wanted = { offset, flags: 0, bytes: new Uint8Array(length) };
  const { payload } = await session.ask('VHOST_USER_GET_CONFIG', wanted);
  if (payload?.offset === offset && payload.bytes.length === length) return payload.bytes;
  throw new StateError(
    'ERR_VHOST_USER_REFUSED',
    `the back end has no ${length} bytes of configuration from ${offset}`,
    'the configuration of a network device begins with its hardware address, 6 bytes',
  );
}

/** Writes what a driver may write of the configuration. */
export async function setConfig(
  session: Session,
  offset: number,
  bytes: Uint8Array,
): Promise<void> {
  demand(session, 'CONFIG', uapi.VHOST_USER_PROTOCOL_F_CONFIG);
  await session.command('VHOST_USER_SET_CONFIG', { offset, flags: 0, bytes });
  await session.settle();
}

function demand(session: Session, name: string, feature: number): void {
  if (session.has(feature)) return;
  throw new StateError(
    'ERR_FEATURES_NOT_OFFERED',
    `the back end has no protocol feature ${name}`,
    'go without it, or use a back end that has it: `protocolFeatures` tells',
  );
}

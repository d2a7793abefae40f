/** A front-end by hand: guest memory, rings with our own driver end, and requests in any order a test likes. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  bit,
  EventFd,
  GuestMemory,
  placeVring,
  type RegionBacking,
  UnixSocket as Socket,
  type UnixSocket,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VHOST_USER_PROTOCOL_F_REPLY_ACK,
  VhostUserBackend,
  type VhostUserBackendOptions,
  VhostUserConnection,
  VhostUserRequests,
  VIRTIO_F_VERSION_1,
  VringDriver,
} from '../../lib/index.js';
import { BACKEND_PROTOCOL_FEATURES } from '../../lib/vhost-user/backend-features.js';
import { cleanup } from './cleanup.js';
import { until } from './host.js';
import { kept, sendable, socketPath } from './sockets.js';

/** Where the front-end has guest address 0. */
export const USER = 0x7000_0000_0000n;
export const SIZE = 16;
export const BUFFER = 2048;
/** Guest addresses of the two rings, of the buffers to receive, of those to send. */
export const RINGS = [0x0000n, 0x2000n] as const;
export const RECEIVE_AT = 0x8000n;
export const TRANSMIT_AT = 0x1_8000n;
export const MEMORY = 0x3_0000;
export const FEATURES = bit(VIRTIO_F_VERSION_1) | bit(VHOST_USER_F_PROTOCOL_FEATURES);
export const HEADER = 12;

/** All that a back end offers but STATUS and in-band signals, which change who has to say what. */
export const PROTOCOL = BACKEND_PROTOCOL_FEATURES & ~(bit(16) | bit(14));

export const STATUS = bit(16);
export const IN_BAND = bit(14);

export const userAddr = (guestAddress: bigint) => USER + guestAddress;

/** A back end that listens, and everything it told. Closed with the test. */
export function backendOf(options: Partial<VhostUserBackendOptions> = {}) {
  const backend = kept(VhostUserBackend.listen({ path: socketPath(), ...options }));
  const told: unknown[][] = [];
  for (const event of ['start', 'stop', 'ring', 'features', 'notified', 'ringError'] as const) {
    backend.on(event, (_device: unknown, ...rest: unknown[]) => told.push([event, ...rest]));
  }
  const errors: (Error | undefined)[] = [];
  backend.on('disconnect', (_, error) => errors.push(error));
  const device = () => [...backend.devices][0] as NonNullable<ReturnType<typeof first>>;
  const first = () => [...backend.devices][0];
  return { backend, told, errors, device };
}

/** As {@link backendOf}, with copies of all frames that its devices send. */
export function collecting(options: Parameters<typeof backendOf>[0] = {}) {
  const rest = backendOf(options);
  const frames: Uint8Array[] = [];
  rest.backend.on('connect', (device) =>
    device.onFrames((burst) => {
      for (const { bytes } of burst) frames.push(bytes.slice());
    }),
  );
  return { ...rest, frames };
}

/** Memory of one region, in a memfd that is sealed, or in a file. */
export function guestMemory(backing: RegionBacking = 'memfd'): GuestMemory {
  return kept(GuestMemory.create([{ guestAddress: 0n, size: MEMORY, backing }]));
}

/** A file of so many bytes that its owner may cut short, open until the test is over. */
export function unsealedFile(size = MEMORY): number {
  const folder = mkdtempSync('/dev/shm/vhost-net-');
  cleanup(() => rmSync(folder, { recursive: true }));
  const fd = openSync(join(folder, 'file'), 'w+');
  cleanup(() => closeSync(fd));
  ftruncateSync(fd, size);
  return fd;
}

export class FrontEnd {
  readonly memory: GuestMemory;
  readonly socket: UnixSocket;
  readonly connection: VhostUserConnection;
  readonly requests: VhostUserRequests;
  readonly kicks = [kept(EventFd.create()), kept(EventFd.create())] as const;
  readonly calls = [kept(EventFd.create()), kept(EventFd.create())] as const;
  readonly errs = [kept(EventFd.create()), kept(EventFd.create())] as const;
  features = FEATURES;
  drivers: VringDriver[] = [];
  closed = false;
  #sent = 0;

  constructor(path: string, memory = guestMemory()) {
    this.memory = memory;
    this.socket = Socket.connect(path, 'stream');
    this.connection = kept(new VhostUserConnection(this.socket, { role: 'asks' }));
    this.requests = new VhostUserRequests(this.connection);
    this.connection.on('close', () => {
      this.closed = true;
    });
  }

  get request(): VhostUserRequests['request'] {
    return this.requests.request.bind(this.requests);
  }

  /** Everything up to features of the protocol, with acknowledgements from then on. */
  async negotiate(protocol = PROTOCOL, features = FEATURES): Promise<void> {
    const { request } = this;
    await request('VHOST_USER_GET_FEATURES', undefined);
    await request('VHOST_USER_GET_PROTOCOL_FEATURES', undefined);
    this.connection.sendRequest('VHOST_USER_SET_PROTOCOL_FEATURES', protocol);
    this.requests.replyAck = (protocol & bit(VHOST_USER_PROTOCOL_F_REPLY_ACK)) !== 0n;
    this.connection.sendRequest('VHOST_USER_SET_OWNER', undefined);
    await request('VHOST_USER_SET_FEATURES', features);
    this.features = features;
  }

  get region() {
    return { guestAddress: 0n, size: BigInt(MEMORY), userAddress: USER, mmapOffset: 0n };
  }

  async setMemory(): Promise<void> {
    const [region] = this.memory.regions;
    await this.ack('VHOST_USER_SET_MEM_TABLE', [this.region], [sendable(region?.fd as number)]);
  }

  /** A request that must succeed. */
  async ack(...args: Parameters<VhostUserRequests['request']>): Promise<void> {
    const { payload } = await this.requests.request(...args);
    if (payload !== 0n) throw new Error(`${args[0]} was refused`);
  }

  /** Sets a ring up, and kicks it off. */
  async startRing(index: 0 | 1, { base = 0, log = false, size = SIZE } = {}): Promise<void> {
    const placed = placeVring(RINGS[index], size);
    const driver = this.drivers[index];
    if (!driver) {
      this.drivers[index] = new VringDriver(this.memory, { size, addresses: placed });
    }
    await this.ack('VHOST_USER_SET_VRING_NUM', { index, num: size });
    await this.ack('VHOST_USER_SET_VRING_BASE', { index, num: base });
    await this.ack('VHOST_USER_SET_VRING_ADDR', this.addressOf(index, log, size));
    const file = { index, noDescriptor: false };
    await this.ack('VHOST_USER_SET_VRING_CALL', file, [this.calls[index]]);
    await this.ack('VHOST_USER_SET_VRING_ERR', file, [this.errs[index]]);
    await this.ack('VHOST_USER_SET_VRING_KICK', file, [this.kicks[index]]);
  }

  addressOf(index: 0 | 1, log = false, size = SIZE) {
    const { desc, avail, used } = placeVring(RINGS[index], size);
    return {
      index,
      flags: log ? 1 : 0,
      desc: userAddr(desc),
      used: userAddr(used),
      avail: userAddr(avail),
      log: log ? used : 0n,
    };
  }

  async enable(...rings: number[]): Promise<void> {
    for (const index of rings) await this.ack('VHOST_USER_SET_VRING_ENABLE', { index, num: 1 });
  }

  /** Negotiated, mapped, started and enabled. */
  async bringUp(protocol = PROTOCOL, features = FEATURES): Promise<this> {
    await this.negotiate(protocol, features);
    await this.setMemory();
    await this.startRing(0);
    await this.startRing(1);
    await this.enable(0, 1);
    return this;
  }

  /** Offers a frame of bytes, behind a header; in several buffers of these lengths where given. */
  send(frame: Uint8Array, header = new Uint8Array(HEADER), cuts: readonly number[] = []): number {
    const at = TRANSMIT_AT + BigInt((this.#sent++ % SIZE) * 4096);
    const all = Uint8Array.from([...header, ...frame]);
    this.memory.write(at, all);
    const ends = [...cuts, all.length];
    const words = ends.flatMap((end, i) => {
      const start = i === 0 ? 0 : (ends[i - 1] as number);
      return [Number(at) + start, 0, end - start];
    });
    return (this.drivers[1] as VringDriver).add(Uint32Array.from(words), ends.length, 0);
  }

  /** Shows what was sent, and kicks. */
  kick(index: 0 | 1 = 1): void {
    this.drivers[index]?.publish();
    this.kicks[index].signal();
  }

  /** Posts buffers to receive, each of so many bytes. */
  post(count: number, length = BUFFER, from = 0): void {
    for (let i = 0; i < count; i++) {
      const at = Number(RECEIVE_AT) + (from + i) * BUFFER;
      (this.drivers[0] as VringDriver).addWritable(at, 0, length);
    }
    this.kick(0);
  }

  /** What came back of a ring: heads. */
  taken(index: 0 | 1): number[] {
    const driver = this.drivers[index] as VringDriver;
    const heads: number[] = [];
    for (let head = driver.pop(); head >= 0; head = driver.pop()) heads.push(head);
    return heads;
  }

  /** Frames that were received, header included, once there are so many. */
  async received(count: number): Promise<Uint8Array[]> {
    const driver = this.drivers[0] as VringDriver;
    const frames: Uint8Array[] = [];
    await until(() => {
      for (let head = driver.pop(); head >= 0; head = driver.pop()) {
        const { address } = driver.bufferOf(head);
        frames.push(this.memory.read(BigInt(address), driver.usedLength));
      }
      return frames.length >= count;
    }, `${count} frames`);
    return frames;
  }
}

/** A frame of `length` bytes that begins with its number. */
export function numbered(number: number, length = 60): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => (i * 7 + number) & 0xff);
  new DataView(frame.buffer).setUint32(14, number);
  return frame;
}

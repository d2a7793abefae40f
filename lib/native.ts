/**
 * The addon's typed shape. A function returns its value on success and `-errno` on
 * failure; `lib/syscall.ts` makes errors of those.
 */
import { loadAddon } from './load-addon.js';

/** A negative errno. */
export type Errno = number;

/** A descriptor owned by the addon: closed once, at the latest by garbage collection. */
export interface Fd {
  /** The number, or -1 when closed. */
  number(): number;
  /** `0`, or `-EBUSY` while a call on the thread pool uses it. */
  close(): number;
  closeAsync(): Promise<number>;
}

/** A subscription to a descriptor's readability on the event loop; `error` is 0 or `-errno`. */
export interface Poller {
  readonly error: number;
  close(): void;
  /** Nothing is told until `resume()`, which returns 0 or `-errno`. */
  pause(): void;
  resume(): number;
  ref(): void;
  unref(): void;
}

/**
 * Moves frames `first` to `first + count - 1`, and returns how many it tried. `vectors` are the kernel's
 * `struct iovec`, those of frame `i` up to the one before `ends[i]`; `results` takes bytes or `-errno`.
 */
export type MoveFrames = (
  fd: Fd,
  vectors: Uint32Array,
  ends: Uint32Array,
  results: Int32Array,
  first: number,
  count: number,
) => number;

/** Many `writev` in one system call; `error` is 0 or `-errno`. */
export interface IoUring {
  readonly error: number;
  /** Those behind one that fails are tried too. Returns `-errno` where the kernel takes none. */
  write: MoveFrames;
  close(): void;
}

export interface IotlbFields {
  version: number;
  asid: number;
  iova: bigint;
  size: bigint;
  userAddress: bigint;
  permission: number;
  type: number;
}

export interface LinkEvent {
  index: number;
  name?: string;
  flags: number;
  mtu?: number;
  deleted: boolean;
}

/** A message of a unix socket, or a part of a stream. */
export interface Received {
  /** Bytes; 0 at the end. */
  size: number;
  fds: Fd[];
  /** Bytes or descriptors are lost, and the other descriptors closed. */
  truncated: boolean;
}

export interface Native {
  Fd: new (number: number) => Fd;
  IoUring: new (entries: number) => IoUring;
  Poller: new (fd: Fd, drain: boolean, callback: (value: number) => void) => Poller;
  pageSize: number;

  errnoName(errno: number): string | undefined;
  errnoText(errno: number): string;

  open(path: string, flags: number): Fd | Errno;
  dup(number: number): Fd | Errno;
  setNonblock(fd: Fd): number;
  fileSize(fd: Fd): bigint | Errno;
  ioctl(fd: Fd, request: number, argument: NodeJS.TypedArray | number): number;

  eventfdCreate(initial: number): Fd | Errno;
  eventfdRead(fd: Fd): number;
  eventfdWrite(fd: Fd, count: number): number;

  memfdCreate(name: string, flags: number): Fd | Errno;
  truncate(fd: Fd, size: bigint): number;
  addSeals(fd: Fd, seals: number): number;
  getSeals(fd: Fd): number;
  memoryMap(fd: Fd, offset: bigint, size: bigint): { address: bigint; buffer: ArrayBuffer } | Errno;
  memoryMapAnonymous(
    size: bigint,
    alignment: bigint,
  ): { address: bigint; buffer: ArrayBuffer } | Errno;
  memoryAdvise(buffer: ArrayBuffer, advice: number): number;
  memoryDetach(buffer: ArrayBuffer): boolean;
  memoryGuard(buffer: ArrayBuffer): number;
  memoryIsCut(buffer: ArrayBuffer): boolean;
  memoryCuts(): number;

  vhostSetOwner(fd: Fd): Promise<number>;
  vhostResetOwner(fd: Fd): Promise<number>;
  vhostGetFeatures(fd: Fd): bigint | Errno;
  vhostSetFeatures(fd: Fd, features: bigint): number;
  vhostGetFeaturesArray(fd: Fd, count: number): bigint[] | Errno;
  vhostSetFeaturesArray(fd: Fd, words: BigUint64Array): number;
  vhostGetBackendFeatures(fd: Fd): bigint | Errno;
  vhostSetBackendFeatures(fd: Fd, features: bigint): number;
  vhostGetForkFromOwner(fd: Fd): number;
  vhostSetForkFromOwner(fd: Fd, mode: number): number;
  vhostSetMemTable(fd: Fd, regions: BigUint64Array, padding: number): number;
  vhostSetLogBase(fd: Fd, address: bigint): number;
  vhostSetLogFd(fd: Fd, eventfd: Fd | number): number;
  vhostNewWorker(fd: Fd): number;
  vhostFreeWorker(fd: Fd, worker: number): number;

  vhostSetVringNum(fd: Fd, index: number, num: number): number;
  vhostSetVringBase(fd: Fd, index: number, base: number): number;
  vhostGetVringBase(fd: Fd, index: number): number;
  vhostSetVringEndian(fd: Fd, index: number, endian: number): number;
  vhostGetVringEndian(fd: Fd, index: number): number;
  vhostSetVringBusyloopTimeout(fd: Fd, index: number, microseconds: number): number;
  vhostGetVringBusyloopTimeout(fd: Fd, index: number): number;
  vhostSetVringKick(fd: Fd, index: number, eventfd: Fd | number): number;
  vhostSetVringCall(fd: Fd, index: number, eventfd: Fd | number): number;
  vhostSetVringErr(fd: Fd, index: number, eventfd: Fd | number): number;
  vhostSetVringAddr(
    fd: Fd,
    index: number,
    flags: number,
    desc: bigint,
    avail: bigint,
    used: bigint,
    log: bigint,
  ): number;
  vhostAttachVringWorker(fd: Fd, index: number, worker: number): number;
  vhostGetVringWorker(fd: Fd, index: number): number;
  vhostNetSetBackend(fd: Fd, index: number, backend: Fd | number): Promise<number>;

  watch(fd: Fd): Fd | Errno;

  iotlbRead(fd: Fd): IotlbFields | Errno;
  iotlbWrite(
    fd: Fd,
    version: number,
    asid: number,
    iova: bigint,
    size: bigint,
    userAddress: bigint,
    permission: number,
    type: number,
  ): number;
  iotlbWriteAll(fd: Fd, version: number, messages: BigUint64Array): Promise<number>;

  tunGetFeatures(fd: Fd): number;
  tunSetIff(fd: Fd, name: string, flags: number): { name: string; flags: number } | Errno;
  tunGetIff(fd: Fd): { name: string; flags: number } | Errno;
  tunSetIfIndex(fd: Fd, index: number): number;
  tunSetPersist(fd: Fd, on: number): number;
  tunSetOwner(fd: Fd, uid: number): number;
  tunSetGroup(fd: Fd, gid: number): number;
  tunSetLink(fd: Fd, type: number): number;
  tunSetNoCsum(fd: Fd, on: number): number;
  tunSetDebug(fd: Fd, level: number): number;
  tunSetOffload(fd: Fd, flags: number): number;
  tunSetTxFilter(fd: Fd, flags: number, addresses: Uint8Array): number;
  tunGetSndbuf(fd: Fd): number;
  tunSetSndbuf(fd: Fd, bytes: number): number;
  tunGetVnetHdrSz(fd: Fd): number;
  tunSetVnetHdrSz(fd: Fd, bytes: number): number;
  tunGetVnetLe(fd: Fd): number;
  tunSetVnetLe(fd: Fd, on: number): number;
  tunGetVnetBe(fd: Fd): number;
  tunSetVnetBe(fd: Fd, on: number): number;
  tunAttachFilter(fd: Fd, program: Uint8Array): number;
  tunDetachFilter(fd: Fd): number;
  tunGetFilter(fd: Fd): number;
  tunSetQueue(fd: Fd, flags: number): number;
  tunSetSteeringEbpf(fd: Fd, program: number): number;
  tunSetFilterEbpf(fd: Fd, program: number): number;
  tunSetCarrier(fd: Fd, on: number): number;
  tunGetDevNetns(fd: Fd): Fd | Errno;

  netifGetFlags(name: string): number;
  netifSetFlags(name: string, flags: number): number;
  netifGetMtu(name: string): number;
  netifSetMtu(name: string, mtu: number): number;
  netifGetMac(name: string): Buffer | Errno;
  netifSetMac(name: string, mac: Uint8Array): number;
  netifGetIndex(name: string): number;
  addressAdd(index: number, address: Uint8Array, prefixLength: number): number;
  linkMonitorOpen(): Fd | Errno;
  linkMonitorRead(fd: Fd): LinkEvent[] | Errno;

  packetOpen(): Fd | Errno;
  packetBind(fd: Fd, interfaceIndex: number, protocol: number): number;
  packetSetVnetHdr(fd: Fd, on: number): number;
  packetSetVnetHdrSize(fd: Fd, bytes: number): number;
  packetIgnoreOutgoing(fd: Fd, on: number): number;
  packetSetReceiveBuffer(fd: Fd, bytes: number): number;
  packetStatistics(fd: Fd): { received: number; dropped: number } | Errno;
  packetReceive(fd: Fd, buffer: Uint8Array, slotSize: number, lengths: Uint32Array): number;
  packetSend(
    fd: Fd,
    buffer: Uint8Array,
    slotSize: number,
    lengths: Uint32Array,
    count: number,
  ): number;

  /** The last vector of each frame is spare room; ends behind a frame that needs it, or that fails. */
  framesRead: MoveFrames;
  /** Ends behind a frame that fails. */
  framesWrite: MoveFrames;

  unixOpen(type: number): Fd | Errno;
  unixPair(type: number): [Fd, Fd] | Errno;
  unixBind(fd: Fd, path: string): number;
  unixListen(fd: Fd, backlog: number): number;
  unixAccept(fd: Fd): Fd | Errno;
  unixConnect(fd: Fd, path: string): number;
  unixPeer(fd: Fd): { pid: number; uid: number; gid: number } | Errno;
  unixType(fd: Fd): number;
  unixSend(fd: Fd, bytes: Uint8Array, fds: readonly Fd[]): number;
  unixReceive(fd: Fd, buffer: Uint8Array, mostFds: number): Received | Errno;

  kvmCheckExtension(fd: Fd, capability: number): number;
  kvmCreateVm(kvm: Fd): Fd | Errno;
  kvmCreateIrqchip(vm: Fd): number;
  kvmIoeventfd(
    vm: Fd,
    address: bigint,
    length: number,
    datamatch: bigint,
    eventfd: Fd,
    flags: number,
  ): number;
  kvmIrqfd(vm: Fd, gsi: number, eventfd: Fd, resample: Fd | number, flags: number): number;
  kvmRunGuest(kvm: Fd, vm: Fd, code: Uint8Array): Promise<{ result: number; printed: string }>;

  layouts(): Record<string, Record<string, number>>;
  requests(): Record<string, number>;
  constants(): Record<string, number>;
}

export const native = loadAddon() as Native;

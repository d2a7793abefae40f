/**
 * Iotlb: answers vhost devices that ask where the addresses are that a guest behind an IOMMU gives
 * them (`VIRTIO_F_ACCESS_PLATFORM`).
 *
 * A ring that needs an address its device does not know waits, for however long: the device sends a
 * miss, and goes on when an update that covers the address was written.
 */
import { StateError } from '../errors.js';
import { GuestMemory } from '../host/guest-memory.js';
import { logVhost } from '../log.js';
import { VHOST_IOTLB_INVALIDATE } from '../uapi/vhost.js';
import {
  IotlbChannel,
  type IotlbFault,
  type IotlbFaultReason,
  type IotlbSource,
} from './iotlb-channel.js';
import {
  contains,
  entriesOf,
  type IotlbEntry,
  type IotlbMapping,
  type IotlbRange,
  identityOf,
  lastOf,
  prefetchEntries,
  wholeEntriesOf,
} from './iotlb-mapping.js';
import type { IotlbMessage, VhostDevice } from './vhost-device.js';

export interface IotlbOptions {
  /**
   * What is mapped at an address: a range that holds it, the larger the better; undefined for nothing.
   * Called on the event loop for every miss, and again where the range was invalidated meanwhile.
   */
  translate(
    iova: bigint,
    access: number,
  ): IotlbMapping | undefined | Promise<IotlbMapping | undefined>;
  /** Called for every miss that cannot be answered: stop the ring, or map the address. */
  onFault?(fault: IotlbFault): void;
  /** Told to every device before its rings start; {@link GuestMemory} is mapped to itself. */
  prefetch?: GuestMemory | readonly IotlbMapping[];
  /** Version of the messages. Default: 2 where the device has it. */
  version?: 1 | 2;
}

/** A change of what is mapped. */
export type IotlbChange = { update: IotlbMapping } | { invalidate: IotlbRange };

/** A part of a ring, which must be mapped before the ring can start. */
export interface IotlbNeed extends IotlbRange {
  /** For messages: `'used ring'`. */
  what: string;
  /** `VHOST_ACCESS_*`. */
  access: number;
}

export class Iotlb {
  readonly #memory: GuestMemory;
  readonly #options: IotlbOptions;
  readonly #prefetch: readonly IotlbEntry[];
  readonly #channels = new Map<VhostDevice, IotlbChannel>();
  readonly #counters = { misses: 0, updates: 0, faults: 0 };

  /** Throws `ERR_OUT_OF_RANGE` as {@link Iotlb.prefetch}. */
  constructor(memory: GuestMemory, options: IotlbOptions) {
    this.#memory = memory;
    this.#options = options;
    this.#prefetch = prefetchEntries(memory, listOf(options.prefetch ?? []));
  }

  /** Misses read, answered, and not answered, since this was made. */
  get counters(): Readonly<{ misses: number; updates: number; faults: number }> {
    return this.#counters;
  }

  /**
   * Begins to serve a device whose features hold `VIRTIO_F_ACCESS_PLATFORM`, and tells it what is to
   * be prefetched. Setting its features again empties its IOTLB. Does not keep the process alive.
   * Throws `ERR_BUSY` where it is served already.
   */
  async attach(device: VhostDevice): Promise<void> {
    if (this.#channels.has(device)) {
      throw new StateError('ERR_BUSY', 'the device has an IOTLB service already');
    }
    const source: IotlbSource = {
      counters: this.#counters,
      find: (iova, access) => this.#find(iova, access),
      fault: (fault) => this.#fault(fault),
    };
    const channel = new IotlbChannel(device, source, this.#options.version);
    this.#channels.set(device, channel);
    try {
      await channel.write(this.#prefetch);
    } catch (error) {
      this.detach(device);
      throw error;
    }
  }

  /** Ends it; what is being translated for the device is dropped. */
  detach(device: VhostDevice): void {
    this.#channels.get(device)?.close();
    this.#channels.delete(device);
  }

  /** Ends serving every device. */
  close(): void {
    for (const device of this.#channels.keys()) this.detach(device);
  }

  /**
   * Maps a range for every device, in place of what was known of it; a ring that waits for it goes on.
   * Entries that overlap it go as a whole, and come back by misses. Throws `ERR_OUT_OF_RANGE` for what
   * is no guest memory.
   */
  update(mapping: IotlbMapping): Promise<void> {
    return this.batch([{ update: mapping }]);
  }

  /**
   * Makes every device forget a range: afterwards none uses what was mapped there. Entries that overlap
   * it go as a whole.
   */
  invalidate(range: IotlbRange): Promise<void> {
    return this.batch([{ invalidate: range }]);
  }

  /**
   * Many changes in order, with one call on the thread pool for each device. vhost-net has no batches
   * of its own (`VHOST_IOTLB_BATCH_BEGIN` is vDPA's), so a ring may see some of them before the rest.
   */
  async batch(changes: readonly IotlbChange[]): Promise<void> {
    const ranges = changes.map((change) =>
      'update' in change ? change.update : change.invalidate,
    );
    const messages = changes.flatMap((change, i) => [
      invalidation(ranges[i] as IotlbRange),
      ...('update' in change ? wholeEntriesOf(this.#memory, change.update) : []),
    ]);
    for (const channel of this.#channels.values()) channel.invalidated(ranges);
    await this.#write(messages);
  }

  /**
   * Tells every device of what is mapped, so that it does not miss; {@link GuestMemory} is mapped to
   * itself. Neighbouring ranges are joined. Throws `ERR_OUT_OF_RANGE` for more ranges than
   * {@link maxIotlbEntries}, or what is no guest memory.
   */
  async prefetch(mappings: GuestMemory | readonly IotlbMapping[]): Promise<void> {
    await this.#write(prefetchEntries(this.#memory, listOf(mappings)));
  }

  /**
   * Tells a device of what a ring cannot start without. Throws `ERR_IOTLB_UNMAPPED` where that is not
   * mapped, or not for this access, and what {@link IotlbOptions.translate} throws.
   */
  async supply(device: VhostDevice, needs: readonly IotlbNeed[]): Promise<void> {
    const entries: IotlbEntry[] = [];
    for (const need of needs) {
      for (let at = need.iova; at <= lastOf(need); ) {
        const known = entries.find((entry) => contains(entry, at));
        const entry = known ?? (await this.#find(at, need.access));
        if (typeof entry === 'string') throw unmapped(need, at, entry);
        if ((entry.permission & need.access) !== need.access) throw unmapped(need, at, 'forbidden');
        if (!known) entries.push(entry);
        at = lastOf(entry) + 1n;
      }
    }
    await this.#channels.get(device)?.write(entries);
  }

  async #find(iova: bigint, access: number): Promise<IotlbEntry | IotlbFaultReason> {
    const mapping = await this.#options.translate(iova, access);
    if (!mapping || !contains(mapping, iova)) return 'unmapped';
    const entry = entriesOf(this.#memory, mapping).find((candidate) => contains(candidate, iova));
    if (!entry) return 'no-memory';
    return (entry.permission & access) === access ? entry : 'forbidden';
  }

  #fault(fault: IotlbFault): void {
    this.#counters.faults++;
    logVhost('iotlb fault %s at 0x%s', fault.reason, fault.iova.toString(16));
    this.#options.onFault?.(fault);
  }

  async #write(messages: readonly Omit<IotlbMessage, 'version'>[]): Promise<void> {
    await Promise.all([...this.#channels.values()].map((channel) => channel.write(messages)));
  }
}

function listOf(mappings: GuestMemory | readonly IotlbMapping[]): readonly IotlbMapping[] {
  return mappings instanceof GuestMemory ? identityOf(mappings) : mappings;
}

function invalidation(range: IotlbRange) {
  const { iova } = range;
  return { type: VHOST_IOTLB_INVALIDATE, iova, size: lastOf(range) - iova + 1n };
}

function unmapped(need: IotlbNeed, iova: bigint, reason: IotlbFaultReason): StateError {
  return new StateError(
    'ERR_IOTLB_UNMAPPED',
    `the ${need.what} is not mapped at 0x${iova.toString(16)} for what the device does there (${reason})`,
    'let translate() map the whole ring: descriptors and avail for reading, used for reading and writing',
  );
}

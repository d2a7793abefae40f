/**
 * PciInterrupts: the interrupts of a virtio-pci card: INTx with its ISR status, or MSI-X (virtio 1.3
 * §4.1.4.5, §4.1.5.3, §4.1.5.4).
 */
import { EventFd } from '../host/event-fd.js';
import { logDevice } from '../log.js';
import {
  VIRTIO_MSI_NO_VECTOR,
  VIRTIO_PCI_ISR_CONFIG,
  VIRTIO_PCI_ISR_QUEUE,
} from '../uapi/virtio-pci.js';
import { InterruptSource, type InterruptWay } from './interrupt-source.js';
import { MsiDelivery, type MsiRoutes } from './msi-delivery.js';
import { MsixTable, readPendingBits } from './msix.js';

export interface PciInterruptsOptions {
  /** The eventfd of each queue that is signalled to interrupt. They stay the caller's. */
  calls: readonly EventFd[];
  vectors: number;
  msi?: MsiRoutes | undefined;
  /** Sends a message, where there is no `msi`. */
  onMsi?: ((address: bigint, data: number) => void) | undefined;
  /** Whether any bit of the ISR status is set while MSI-X is disabled. */
  onStatus(raised: boolean): void;
}

/** What waits for whom. What the queues have signalled is their own. */
export interface PciInterruptState {
  /** Each entry 16 bytes, as they lie in the BAR, two digits a byte. */
  msixTable: string;
  /** 0xffff: none. */
  configVector: number;
  queueVectors: number[];
  isr: number;
  /** Whether a change of the configuration waits for its vector. */
  configSignalled: boolean;
}

export class PciInterrupts {
  readonly table: MsixTable;
  readonly #options: PciInterruptsOptions;
  readonly #delivery: MsiDelivery | undefined;
  readonly #configFd = EventFd.create();
  readonly #config: InterruptSource;
  readonly #queues: readonly InterruptSource[];
  #enabled = false;
  /** No vector may send: all are masked, or the function must not write to memory. */
  #quiet = true;
  #isr = 0;
  #closed = false;
  #listening: NodeJS.Immediate | undefined;

  /** MSI-X is disabled. Throws `EMFILE`, and `ERR_BUSY` where somebody listens to the calls already. */
  constructor(options: PciInterruptsOptions) {
    const { calls, vectors, msi } = options;
    this.#options = options;
    this.table = new MsixTable(vectors);
    this.#delivery = msi && new MsiDelivery(this.table, msi);
    this.#config = new InterruptSource(this.#configFd, this.#delivery);
    this.#queues = calls.map((call) => new InterruptSource(call, this.#delivery));
    try {
      this.#redirect(this.#sources);
      this.#listen();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get configVector(): number {
    return this.#config.vector;
  }

  /** A vector that does not exist means none. */
  set configVector(vector: number) {
    this.#setVector(this.#config, vector);
  }

  queueVector(index: number): number {
    return this.#queues[index]?.vector ?? VIRTIO_MSI_NO_VECTOR;
  }

  setQueueVector(index: number, vector: number): void {
    const source = this.#queues[index];
    if (source) this.#setVector(source, vector);
  }

  /** MSI-X is enabled or not; `quiet`: no vector may send at the moment. */
  setMode(enabled: boolean, quiet: boolean): void {
    if (enabled === this.#enabled && quiet === this.#quiet) return;
    this.#enabled = enabled;
    this.#quiet = quiet;
    this.#redirect(this.#sources);
    this.#showStatus();
  }

  writeTable(offset: number, bytes: Uint8Array): void {
    const vector = this.table.write(offset, bytes);
    if (vector === undefined) {
      logDevice('%d bytes written to the MSI-X table at 0x%s', bytes.length, offset.toString(16));
      return;
    }
    const sources = this.#sources.filter((source) => source.vector === vector);
    if (sources.some(({ way }) => way === 'route')) this.#delivery?.update(vector);
    this.#redirect(sources);
  }

  readPending(offset: number, length: number): Uint8Array {
    const isPending = (vector: number) =>
      this.#sources.some((source) => source.vector === vector && source.isPending());
    return readPendingBits(offset, length, isPending);
  }

  /** The ISR status, which is 0 after it. */
  readIsr(): number {
    const isr = this.#isr;
    this.#setIsr(0);
    return isr;
  }

  /** The configuration changed. */
  configChanged(): void {
    this.#setIsr(this.#isr | VIRTIO_PCI_ISR_CONFIG);
    if (this.#enabled && this.#config.vector !== VIRTIO_MSI_NO_VECTOR) this.#config.signal();
  }

  /** Takes the routes off: what was signalled before has been sent, and what is signalled after it waits. */
  hold(): void {
    for (const source of this.#sources) if (source.way === 'route') source.go('held');
  }

  save(): PciInterruptState {
    return {
      msixTable: Buffer.from(this.table.bytes).toString('hex'),
      configVector: this.#config.vector,
      queueVectors: this.#queues.map(({ vector }) => vector),
      isr: this.#isr,
      configSignalled: this.#config.isSignalled(),
    };
  }

  /** For a state that was found good, and the mode that goes with it. */
  restore(state: PciInterruptState, enabled: boolean, quiet: boolean): void {
    const { msixTable, configVector, queueVectors, isr, configSignalled } = state;
    for (const source of this.#sources) source.go('held');
    this.table.bytes = Buffer.from(msixTable, 'hex');
    this.#config.vector = configVector;
    for (const [i, source] of this.#queues.entries()) {
      source.vector = queueVectors[i] ?? VIRTIO_MSI_NO_VECTOR;
    }
    this.#config.take();
    if (configSignalled) this.#config.signal();
    this.#isr = isr;
    this.#enabled = enabled;
    this.#quiet = quiet;
    this.#redirect(this.#sources);
    this.#showStatus();
  }

  /** As a reset of the card has it: no vectors, and nothing waits. The table stays as it is. */
  reset(): void {
    if (this.#closed) return;
    for (const source of this.#sources) {
      this.#setVector(source, VIRTIO_MSI_NO_VECTOR);
      source.take();
    }
    this.#setIsr(0);
  }

  /** Gives the routes and the eventfds back. Closing twice is no error. */
  close(): void {
    this.#closed = true;
    clearImmediate(this.#listening);
    for (const source of this.#sources) source.go('held');
    this.#delivery?.close();
    this.#configFd.close();
  }

  get #sources(): readonly InterruptSource[] {
    return [this.#config, ...this.#queues];
  }

  #setVector(source: InterruptSource, wanted: number): void {
    const vector = wanted < this.table.vectors ? wanted : VIRTIO_MSI_NO_VECTOR;
    if (vector === source.vector) return;
    source.vector = vector;
    this.#redirect([source]);
  }

  /** Sends each the way it is to go now. A vector that was masked sends once, whoever waits for it. */
  #redirect(sources: readonly InterruptSource[]): void {
    if (this.#closed) return;
    const pending = new Map<number, InterruptSource>();
    for (const source of sources) {
      const way = this.#wayOf(source);
      if (way === source.way) continue;
      const sends = way === 'route' || way === 'callback';
      if (sends && source.way === 'held' && source.take()) pending.set(source.vector, source);
      source.go(way);
    }
    for (const source of pending.values()) source.signal();
    this.#listenSoon();
  }

  #wayOf({ vector }: InterruptSource): InterruptWay {
    if (!this.#enabled) return 'intx';
    if (vector === VIRTIO_MSI_NO_VECTOR) return 'none';
    if (this.#quiet || this.table.isMasked(vector)) return 'held';
    if (this.#delivery) return 'route';
    return this.#options.onMsi ? 'callback' : 'held';
  }

  /**
   * Once in a turn of the event loop, which is when descriptors of listeners that ended are given back: a
   * guest that masks and unmasks without end takes no more of them.
   */
  #listenSoon(): void {
    this.#listening ??= setImmediate(() => {
      this.#listening = undefined;
      try {
        this.#listen();
      } catch (error) {
        logDevice('interrupts cannot be listened to: %o', error);
      }
    });
  }

  #listen(): void {
    for (const source of this.#sources) source.listen((signalled) => this.#onSignal(signalled));
  }

  #onSignal(source: InterruptSource): void {
    const { way, vector } = source;
    const bit = source === this.#config ? VIRTIO_PCI_ISR_CONFIG : VIRTIO_PCI_ISR_QUEUE;
    if (way === 'intx') this.#setIsr(this.#isr | bit);
    else this.#options.onMsi?.(this.table.address(vector), this.table.data(vector));
  }

  #setIsr(isr: number): void {
    this.#isr = isr;
    this.#showStatus();
  }

  #showStatus(): void {
    this.#options.onStatus(!this.#enabled && this.#isr !== 0);
  }
}

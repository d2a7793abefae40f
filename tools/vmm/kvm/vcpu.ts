/** Vcpu: a processor on a thread of its own, whose accesses of devices come to a bus. */
import type { LongModeStart } from '../boot/long-mode.js';
import type { Bus } from '../devices/bus.js';
import type { Addon, VcpuThread } from './addon.js';

/** KVM's exit reasons that end a guest (`linux/kvm.h`). */
const TRIPLE_FAULT = 'triple fault';
const EXIT_REASONS = new Map([
  [8, TRIPLE_FAULT],
  [9, 'the processor could not be entered'],
  [17, 'KVM failed within itself'],
  [24, 'system event'],
]);

export class Vcpu {
  /** Why the thread ended: `'stopped'`, or what KVM left the guest for. */
  readonly ended: Promise<string>;
  readonly #thread: VcpuThread;
  readonly #data = new Uint8Array(8);
  #end!: (reason: string) => void;
  #running = false;

  constructor(addon: Addon, kvm: number, vm: number, id: number) {
    this.#thread = new addon.Vcpu(kvm, vm, id, this.#data);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Where a processor begins that does not wait for another to start it: see `boot/long-mode.ts`. */
  setLongMode({ entry, argument, pageTables, gdt }: LongModeStart): void {
    this.#thread.setLongMode(entry, argument, pageTables, gdt);
  }

  run(pio: Bus, mmio: Bus): void {
    this.#running = true;
    this.#thread.run(
      (isPio, address, length, isWrite) => {
        const bus = isPio ? pio : mmio;
        if (isWrite) this.#write(bus, address, this.#data.slice(0, length));
        else this.#read(bus, address, length);
      },
      (reason, detail) => {
        this.#running = false;
        const name = EXIT_REASONS.get(reason) ?? `KVM's exit ${reason}`;
        if (reason < 0) this.#end('stopped');
        else this.#end(name === TRIPLE_FAULT ? name : `${name} ${detail}`);
      },
    );
  }

  #read(bus: Bus, address: number, length: number): void {
    this.#data.set(bus.read(address, length));
    this.#thread.answer();
  }

  /** The guest goes on when the device is done, which may be later. */
  #write(bus: Bus, address: number, bytes: Uint8Array): void {
    const done = bus.write(address, bytes);
    if (done) done.finally(() => this.#thread.answer());
    else this.#thread.answer();
  }

  /** Ends the thread, and gives the processor back. */
  async close(): Promise<void> {
    if (this.#running) {
      this.#thread.stop();
      await this.ended;
    }
    this.#thread.close();
  }
}

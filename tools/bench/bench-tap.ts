/** A TAP for one program: silent, with a long queue, there until it is removed. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { Tap } from '../../lib/index.js';

/** Frames that may wait at a TAP to be received: as many as the kernel allows; 7.3 refuses the first. */
const QUEUE_LENGTHS = [50_000, 16_384];

let made = 0;

export class BenchTap {
  readonly name: string;
  /** Frames that may wait to be received. */
  readonly queueLength: number;
  readonly #multiQueue: boolean;

  /** Throws `EPERM` without CAP_NET_ADMIN. */
  constructor(pairs: number) {
    this.name = `bench${process.pid % 100_000}x${made++}`;
    this.#multiQueue = pairs > 1;
    const tap = Tap.open(this.name, { multiQueue: this.#multiQueue, exclusive: true });
    tap.setPersist(true);
    tap.close();
    this.queueLength = setQueueLength(`/sys/class/net/${this.name}/tx_queue_len`);
    // The host's own chatter would be measured too.
    const ipv6 = `/proc/sys/net/ipv6/conf/${this.name}/disable_ipv6`;
    if (existsSync(ipv6)) writeFileSync(ipv6, '1');
  }

  /** Frames that the host got from the TAP. */
  get sent(): number {
    return this.#count('rx_packets') + this.#count('rx_dropped');
  }

  /** Frames that the host could not give to the TAP. */
  get dropped(): number {
    return this.#count('tx_dropped');
  }

  /** Its user must have closed it. */
  remove(): void {
    const tap = Tap.open(this.name, { multiQueue: this.#multiQueue });
    tap.setPersist(false);
    tap.close();
  }

  #count(counter: string): number {
    return Number(readFileSync(`/sys/class/net/${this.name}/statistics/${counter}`, 'utf8'));
  }
}

function setQueueLength(file: string): number {
  for (const length of QUEUE_LENGTHS) {
    try {
      writeFileSync(file, String(length));
      return length;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERANGE') throw error;
    }
  }
  throw new Error(`${file} takes none of ${QUEUE_LENGTHS.join(', ')}`);
}

/**
 * A connection of two programs: the one under measurement, and the same DPDK at the other end of each, which is also
 * the meter. So what is measured is what DPDK got, or got rid of, on its own clock, whoever it had to do with.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { QUEUE_SIZE } from '../contestants/frames.js';
import type { Waiting } from '../contestants/moving.js';
import { type End, type Flow, type Mover, OurMover, TestpmdMover } from './mover.js';

/** Who is measured: the library, waiting in one way or the other, or DPDK. */
export type Who = Waiting | 'testpmd';

export class SocketLane {
  readonly who: Who;
  readonly #mover: Mover;
  readonly #meter: TestpmdMover;
  readonly #folder: string;

  private constructor(who: Who, mover: Mover, meter: TestpmdMover, folder: string) {
    this.who = who;
    this.#mover = mover;
    this.#meter = meter;
    this.#folder = folder;
  }

  /** Both ends, connected. Each has a processor of its own. */
  static async open(who: Who, end: End): Promise<SocketLane> {
    const folder = mkdtempSync(join(tmpdir(), 'vhost-net-bench-'));
    const path = join(folder, 'socket');
    const name = basename(folder);
    const movers: Mover[] = [];
    const open = {
      mover: async () => {
        const dpdk = { processor: 0, queueSize: QUEUE_SIZE, name: `${name}-mover` } as const;
        const opening =
          who === 'testpmd' ? TestpmdMover.open(end, path, dpdk) : OurMover.open(end, path, who);
        return kept(await opening, movers);
      },
      meter: async () => {
        const dpdk = { processor: 1, queueSize: QUEUE_SIZE, name: `${name}-meter` } as const;
        const other = end === 'front end' ? 'back end' : 'front end';
        return kept(await TestpmdMover.open(other, path, dpdk), movers);
      },
    };
    try {
      // Back ends listen, and so are first.
      if (end === 'front end') {
        const meter = await open.meter();
        return new SocketLane(who, await open.mover(), meter, folder);
      }
      const mover = await open.mover();
      return new SocketLane(who, mover, await open.meter(), folder);
    } catch (error) {
      for (const mover of movers) mover.end();
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  /** Frames per second of a flow, over `ms`. Throws where a frame that was sent does not arrive. */
  async measure(flow: Flow, ms: number): Promise<number> {
    const [source, sink] =
      flow.direction === 'send' ? [this.#mover, this.#meter] : [this.#meter, this.#mover];
    await sink.begin({ ...flow, direction: 'receive' });
    await source.begin({ ...flow, direction: 'send' });
    const rate = await this.#meter.rate(ms);
    const sent = await source.sent();
    const received = await sink.received(sent);
    if (sent !== received) {
      throw new Error(`${source.name} sent ${sent} to ${sink.name}, ${received} arrived`);
    }
    return rate;
  }

  end(): void {
    this.#mover.end();
    this.#meter.end();
    rmSync(this.#folder, { recursive: true });
  }
}

function kept<T extends Mover>(mover: T, all: Mover[]): T {
  all.push(mover);
  return mover;
}

/** A program at one end of a vhost-user connection, which moves frames to or from the other end. */
import { Contestant } from '../contestant.js';
import type { Waiting } from '../contestants/moving.js';
import { Testpmd } from '../testpmd.js';

/** Which end of the connection: the front end has the memory and the rings, the back end listens. */
export type End = 'front end' | 'back end';

export interface Flow {
  direction: 'send' | 'receive';
  /** Bytes of a frame. */
  length: number;
  /** Frames that are given to the ring at once. */
  batch: number;
}

export interface Mover {
  /** How it stands in the results. */
  readonly name: string;
  /** Begins to send, or to receive what comes. */
  begin(flow: Flow): Promise<void>;
  /** Ends the sending. Returns how many frames that were since it began. */
  sent(): Promise<number>;
  /** Waits for as many frames as were sent, and ends the receiving. Returns how many came. */
  received(count: number): Promise<number>;
  /** Ends the program. */
  end(): void;
}

/** The library. */
export class OurMover implements Mover {
  readonly name = 'vhost-net';
  readonly #contestant: Contestant;

  private constructor(contestant: Contestant) {
    this.#contestant = contestant;
  }

  static async open(end: End, path: string, waiting: Waiting): Promise<OurMover> {
    const contestant = Contestant.socket(end === 'front end' ? 'front-end' : 'back-end');
    const mover = new OurMover(contestant);
    try {
      await contestant.command('open', path, waiting);
    } catch (error) {
      mover.end();
      throw error;
    }
    return mover;
  }

  async begin({ direction, length, batch }: Flow): Promise<void> {
    await this.#contestant.command('begin', direction, length, batch);
  }

  async sent(): Promise<number> {
    return (await this.#contestant.command('sent')).frames;
  }

  async received(count: number): Promise<number> {
    return (await this.#contestant.command('received', count)).frames;
  }

  end(): void {
    this.#contestant.end();
  }
}

/** Looks at a counter that has not reached its number, at most; each takes some ms. */
const MOST_LOOKS = 200;

/** What its port counted since it began, and frames per second since the last look, on its own clock. */
interface PortStats {
  frames: number;
  rate: number;
}

/** DPDK: its vhost as the back end, or its virtio-user as the front end. */
export class TestpmdMover implements Mover {
  readonly name = 'testpmd';
  readonly #testpmd: Testpmd;
  #direction: 'Rx' | 'Tx' = 'Rx';

  private constructor(testpmd: Testpmd) {
    this.#testpmd = testpmd;
  }

  /** `processor`: the one that it keeps busy while it moves. `name`: what tells its files from those of others. */
  static async open(
    end: End,
    path: string,
    { processor, queueSize, name }: { processor: 0 | 1; queueSize: number; name: string },
  ): Promise<TestpmdMover> {
    const device =
      end === 'back end'
        ? `net_vhost0,iface=${path},queues=1`
        : `net_virtio_user0,path=${path},queues=1,queue_size=${queueSize}`;
    const more = [`--rxd=${queueSize}`, `--txd=${queueSize}`];
    return new TestpmdMover(await Testpmd.start({ device, name, processor, more }));
  }

  get pid(): number {
    return this.#testpmd.pid;
  }

  async begin({ direction, length, batch }: Flow): Promise<void> {
    this.#direction = direction === 'send' ? 'Tx' : 'Rx';
    const forward = direction === 'send' ? 'txonly' : 'rxonly';
    await this.#testpmd.tell('clear port stats 0\n', /statistics for port 0 cleared/);
    await this.#testpmd.tell(
      `set fwd ${forward}\nset txpkts ${length}\nset burst ${batch}\nstart\n`,
      /packet forwarding/,
    );
  }

  /** Frames per second from now on, for `ms`. */
  async rate(ms: number): Promise<number> {
    await this.#stats();
    await new Promise((resolve) => setTimeout(resolve, ms));
    return (await this.#stats()).rate;
  }

  async sent(): Promise<number> {
    await this.#testpmd.tell('stop\n', /Done\./);
    return (await this.#stats()).frames;
  }

  async received(count: number): Promise<number> {
    let { frames } = await this.#stats();
    for (let looks = 0; frames < count && looks < MOST_LOOKS; looks++) {
      frames = (await this.#stats()).frames;
    }
    return this.sent();
  }

  end(): void {
    this.#testpmd.end();
  }

  async #stats(): Promise<PortStats> {
    const said = await this.#testpmd.tell('show port stats 0\n', /Tx-bps:.*[\s\S]*testpmd> /);
    return portStatsOf(said, this.#direction);
  }
}

/** What `show port stats` says of one direction. Throws where it does not. */
export function portStatsOf(said: string, direction: 'Rx' | 'Tx'): PortStats {
  const number = (name: string) => {
    const found = new RegExp(`${name}: *(\\d+)`).exec(said);
    if (!found) throw new Error(`testpmd tells no ${name}: ${said}`);
    return Number(found[1]);
  };
  return { frames: number(`${direction.toUpperCase()}-packets`), rate: number(`${direction}-pps`) };
}

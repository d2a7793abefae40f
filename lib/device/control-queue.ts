/** ControlQueue: serves the control queue of a card, in this process, one command after another. */
import type { EventFd } from '../host/event-fd.js';
import { logDevice } from '../log.js';
import { VIRTIO_NET_ERR, VIRTIO_NET_OK } from '../uapi/virtio-net.js';
import type { VringDevice } from '../vring/device.js';
import { type ControlTarget, obeyCommand } from './control-commands.js';

/** Bytes of the longest command: a table of some thousand addresses. */
const LONGEST = 32_768;
/** Commands in a row before others get their turn. */
const COMMANDS_PER_TURN = 16;

export interface ControlQueueOptions {
  ring: VringDevice;
  kick: EventFd;
  call: EventFd;
  /** The negotiated features. */
  features: bigint;
  target: ControlTarget;
  /** Called once, where the driver broke the ring; it is not served any more. */
  onBroken(error: Error): void;
}

export class ControlQueue {
  readonly #options: ControlQueueOptions;
  #serving: Promise<void> | undefined;
  /** Whether there may be more than was looked at. */
  #again = false;
  #stopped = false;

  /** Begins to serve. */
  constructor(options: ControlQueueOptions) {
    this.#options = options;
    options.kick.onSignal(() => this.#look());
    // What waits since before brings no kick.
    this.#look();
  }

  /** Ends it; a command that is under way is finished. Returns the ring's position. */
  async stop(): Promise<number> {
    const { kick, ring } = this.#options;
    this.#stopped = true;
    kick.offSignal();
    await this.#serving;
    return ring.base;
  }

  #look(): void {
    this.#again = true;
    this.#serving ??= this.#serve().finally(() => {
      this.#serving = undefined;
    });
  }

  async #serve(): Promise<void> {
    const { ring, onBroken, kick } = this.#options;
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false;
        await this.#serveWaiting();
        if (ring.enableKicks()) this.#again = true;
      }
    } catch (error) {
      kick.offSignal();
      onBroken(error as Error);
    }
  }

  async #serveWaiting(): Promise<void> {
    const { ring, call } = this.#options;
    for (let i = 0; !this.#stopped && ring.take(); i++) {
      const { head } = ring.chain;
      ring.give(head, await this.#answer());
      if (ring.publish()) call.signal();
      // A driver that offers commands without end must not hold up the event loop.
      if (i % COMMANDS_PER_TURN === COMMANDS_PER_TURN - 1) await new Promise(setImmediate);
    }
  }

  /** Obeys the command of the chain that was taken. Returns how many bytes the answer has: 1, or 0. */
  async #answer(): Promise<number> {
    const { ring, features, target } = this.#options;
    const { chain } = ring;
    const long = chain.readableBytes > LONGEST;
    const command = new Uint8Array(long ? 0 : chain.readableBytes);
    chain.read(command);
    let done = false;
    try {
      done = await obeyCommand(command, features, target);
    } catch (error) {
      logDevice('a command failed: %o', error);
    }
    logDevice('command %o: %s', command.subarray(0, 16), done ? 'OK' : 'ERR');
    if (chain.writableBytes === 0) return 0;
    return chain.write(Uint8Array.of(done ? VIRTIO_NET_OK : VIRTIO_NET_ERR));
  }
}

/**
 * One life of a hostile guest: a card of its own, some thousand operations of it, and a driver that is as
 * drivers are, for which the card must work as if nothing had been.
 */
import { readdirSync } from 'node:fs';
import { VirtioNetDevice } from '../../../lib/device/virtio-net-device.js';
import { bit } from '../../../lib/uapi/virtio-net.js';
import { VringDriver } from '../../../lib/vring/driver.js';
import { CheckedBackend } from './checked-backend.js';
import { checkCanary, clearMemory, memory } from './guest-memory.js';
import type { HostileBus, MakeBus, Wait } from './hostile-bus.js';
import { offerSomething } from './hostile-ring.js';
import type { Random } from './random.js';
import { type Sights, same, see, type Trace } from './run.js';

export const OPERATIONS = 2000;
/** vCPUs that may wait at a time. */
const VCPUS = 4;
/** Turns of the event loop in which whatever waits must be done. */
const TURNS = 2000;
const RINGS = bit(15) | bit(28) | bit(29) | bit(32);
const COMMAND_AT = 0x3000;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

const stray: unknown[] = [];
process.on('unhandledRejection', (error) => stray.push(error));
process.on('uncaughtException', (error) => stray.push(error));

export class HostileGuest {
  readonly #random: Random;
  readonly #sights: Sights;
  readonly #trace: Trace;
  readonly #backend: CheckedBackend;
  readonly #device: VirtioNetDevice;
  readonly #bus: HostileBus;
  readonly #waiting = new Set<Promise<void>>();
  readonly #before = openFds();
  #failed = 0;
  #broken = 0;

  constructor(makeBus: MakeBus, random: Random, sights: Sights, trace: Trace) {
    this.#random = random;
    this.#sights = sights;
    this.#trace = trace;
    clearMemory();
    const backend = new CheckedBackend(random.between(1, 3), RINGS);
    this.#backend = backend;
    this.#device = new VirtioNetDevice({ memory, backend, mac: '02:00:00:00:00:01', mtu: 1500 });
    this.#device.on('failed', (error) => {
      this.#failed++;
      if (!/^the backend/.test(error.message)) this.#broken++;
    });
    this.#device.on('config', () => see(sights, 'configuration changed'));
    this.#bus = makeBus(this.#device, random);
  }

  /** Returns how many operations it did. Throws what it finds, with the operation's number. */
  async live(): Promise<number> {
    let at = 0;
    try {
      for (; at < OPERATIONS; at++) {
        await this.#operate(at);
        this.#check();
      }
      await this.#settle();
      checkCanary();
      await this.#prove();
      await this.#end();
    } catch (error) {
      throw new Error(`operation ${at} of ${OPERATIONS}`, { cause: error });
    }
    return at;
  }

  async #operate(at: number): Promise<void> {
    const random = this.#random;
    const say = (what: string) => this.#trace?.(`${at}: ${what}`);
    const kind = random.below(1000);
    // What random writes seldom get to: a card that runs.
    if (!this.#isUp && random.chance(30)) {
      say('brings the card up');
      await this.#settle();
      await this.#bringUp(random.chance(500) ? ~0n : ~bit(random.below(42)));
    } else if (kind < 300) say(this.#bus.read(random));
    else if (kind < 700) {
      const { what, wait } = this.#bus.write(random);
      say(wait ? `${what}, which waits` : what);
      await this.#wait(wait);
    } else if (kind < 850) {
      const queue = random.pick(this.#device.queues);
      say(`offers in a ring at 0x${queue.addresses.desc.toString(16)}`);
      offerSomething(random.chance(700) ? this.#controlQueue : queue, random);
    } else if (kind < 950) {
      const index = random.chance(900) ? random.below(this.#device.queues.length) : random.u32();
      say(`kicks ${index}`);
      await this.#wait(this.#bus.kick(index));
    } else if (kind < 985) this.#happen(say);
    else if (kind < 995) {
      say('waits for a turn');
      await turn();
    } else {
      say('waits for all');
      await this.#settle();
      await turn();
      this.#bus.checkAtRest();
      checkCanary();
    }
  }

  /** What comes from behind the card. */
  #happen(say: (what: string) => void): void {
    const device = this.#device;
    const random = this.#random;
    const index = random.below(device.queues.length);
    switch (random.below(5)) {
      case 0:
        say(`call of queue ${index}`);
        device.queues[index]?.call.signal();
        break;
      case 1:
        say('the link changes');
        device.setLink(random.chance(500));
        break;
      case 2:
        say('an announcement is asked for');
        device.announce();
        break;
      case 3:
        say('the backend gives a ring up');
        this.#backend.config?.onRingError?.(index);
        break;
      default:
        say('the backend fails next');
        this.#backend.fails = true;
    }
  }

  /** One vCPU waits, or another goes on. */
  async #wait(wait: Wait): Promise<void> {
    if (!wait) return;
    see(this.#sights, 'held vCPU');
    const done = wait.finally(() => this.#waiting.delete(done));
    this.#waiting.add(done);
    if (this.#waiting.size >= VCPUS || this.#random.chance(500)) await this.#settle();
  }

  /** All that wait are done, within a bound. */
  async #settle(): Promise<void> {
    for (let i = 0; this.#waiting.size > 0; i++) {
      if (i === TURNS) throw new Error(`${this.#waiting.size} writes wait for ever`);
      await turn();
    }
  }

  #check(): void {
    const { wrong, running, rings } = this.#backend;
    if (rings.size > 2) see(this.#sights, 'more pairs in use');
    if (wrong !== undefined) throw new Error(wrong);
    if (stray.length > 0) throw new Error('nobody caught it', { cause: stray.splice(0)[0] });
    const { status } = this.#device;
    if (status & ~0xcf) throw new Error(`status 0x${status.toString(16)}`);
    if (this.#waiting.size > 0) return;
    if (running && !(status & 4)) throw new Error('the backend runs, and the driver is not ready');
    for (const [index, { addresses, size }] of rings) {
      const queue = this.#device.queues[index];
      same(`queue ${index}, which is served, enabled`, queue?.enabled, true);
      same(`queue ${index}, its size`, queue?.size, size);
      same(`queue ${index}, its place`, queue?.addresses.desc, addresses.desc);
    }
  }

  get #isUp(): boolean {
    return (this.#device.status & 0x44) === 4;
  }

  async #bringUp(features: bigint): Promise<void> {
    const taken = (features | bit(32)) & this.#device.offered;
    const wait = this.#bus.bringUp(taken).catch((error: unknown) => {
      // Here a backend may fail, and a driver give up.
      this.#trace?.(`it gave up: ${error}`);
    });
    this.#waiting.add(wait);
    void wait.finally(() => this.#waiting.delete(wait));
    await this.#settle();
  }

  /** A driver without malice: the handshake, a kick, an interrupt, a command that is answered. */
  async #prove(): Promise<void> {
    const device = this.#device;
    const bus = this.#bus;
    const backend = this.#backend;
    see(this.#sights, this.#failed > 0 ? 'needed a reset' : 'never failed');
    if (this.#broken > 0) see(this.#sights, 'broke the control ring');
    if (backend.asked > 0) see(this.#sights, 'backend asked', backend.asked);
    backend.fails = false;
    await this.#waitFor(bus.setStatus(0), 'a reset');
    same('the status after a reset', bus.status, 0);
    same('the backend running after a reset', backend.running, false);
    clearMemory();
    await this.#waitFor(bus.bringUp(device.offered), 'a handshake');
    same('the status', bus.status, 15);
    same('the rings', [...backend.rings.keys()].join(), '0,1');
    same('the pairs', device.activePairs, 1);
    device.queues[1]?.kick.read();
    bus.kick(1);
    same('the kick', device.queues[1]?.kick.read(), 1);
    bus.interrupted();
    device.queues[0]?.call.signal();
    for (let i = 0; !bus.interrupted(); i++) {
      if (i === TURNS) throw new Error('no interrupt');
      await turn();
    }
    await this.#command();
    this.#check();
    checkCanary();
  }

  /** Promiscuous off, which the card answers with OK. */
  async #command(): Promise<void> {
    const queue = this.#controlQueue;
    const { size, addresses } = queue;
    const ring = new VringDriver(memory, { size, addresses, eventIdx: true });
    memory.write(BigInt(COMMAND_AT), Uint8Array.of(0, 0, 0, 0xee));
    ring.add(Uint32Array.of(COMMAND_AT, 0, 3, COMMAND_AT + 3, 0, 1), 1, 1);
    ring.enableCalls();
    same('a kick wanted', ring.publish(), true);
    this.#bus.kick(this.#device.queues.length - 1);
    for (let i = 0; ring.pop() < 0; i++) {
      if (i === TURNS) throw new Error('no answer');
      await turn();
    }
    same('the answer', memory.read(BigInt(COMMAND_AT + 3), 1)[0], 0);
    same('promiscuous', this.#device.rxFilter.promisc, false);
  }

  async #end(): Promise<void> {
    this.#bus.close();
    await this.#waitFor(this.#device.close(), 'the end');
    for (let i = 0; openFds() !== this.#before; i++) {
      if (i === TURNS) throw new Error(`${openFds()} descriptors, before ${this.#before}`);
      await turn();
    }
  }

  async #waitFor(wait: Wait, what: string): Promise<void> {
    if (!wait) return;
    let done = false;
    const ended = wait.then(() => {
      done = true;
    });
    for (let i = 0; !done; i++) {
      if (i === TURNS) throw new Error(`${what} waits for ever`);
      await Promise.race([ended, turn()]);
    }
  }

  get #controlQueue() {
    const { queues } = this.#device;
    return queues[queues.length - 1] as (typeof queues)[number];
  }
}

function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

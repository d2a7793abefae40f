/**
 * Requests that mean something and requests that do not, in any order, over a socket, and a guest that writes what it
 * likes to the rings meanwhile, against a back end that must outlive all of it, and keep nothing of it.
 */
import type { Frame } from '../../lib/index.js';
import { checkFrame } from '../../lib/net/frame.js';
import type { BackendLimits } from '../../lib/vhost-user/backend-features.js';
import { limitsOf } from '../../lib/vhost-user/backend-options.js';
import type { SessionHooks } from '../../lib/vhost-user/backend-session.js';
import { FrontEnd } from './support/front-end.js';
import { BRING_UP, drawRequest, NAMES, ringUp, type Wanted } from './support/front-end-requests.js';
import { held, holdsNoMore } from './support/held.js';
import type { Random } from './support/random.js';
import { fuzz, type Sights, same, see, type Trace } from './support/run.js';
import { ENDS, ServedDevice } from './support/served-device.js';

const STEPS = 300;

/** An error of whoever uses the library. */
class ConsumerError extends Error {
  readonly code = 'ERR_CONSUMER';
}

class Case {
  readonly #random: Random;
  readonly #sights: Sights;
  readonly #limits: BackendLimits;
  readonly #hooks: SessionHooks;
  readonly #front: FrontEnd;
  readonly #frame: Uint8Array;
  /** How frames are taken: by a listener, or by one that looks again and again. */
  readonly #listens: boolean;
  /** Lets go of the bursts that the consumer has. */
  #release: (() => void)[] = [];
  #waiting = 0;
  #served: ServedDevice | undefined;

  constructor(random: Random, sights: Sights) {
    this.#random = random;
    this.#sights = sights;
    this.#limits = limitsOf({
      path: '/none',
      queuePairs: 2,
      ...(random.chance(700) && { config: new Uint8Array(24) }),
      memory: random.chance(900) ? 'guarded' : 'sealed',
    });
    const refuse = () => {
      if (random.chance(10)) throw new Error('the hook refuses it');
      if (random.chance(5)) this.#served?.device.close(new ConsumerError('the hook ends it'));
    };
    this.#hooks = random.chance(800) ? {} : { before: () => void refuse(), after: refuse };
    this.#front = new FrontEnd(random, this.#limits.protocolFeatures);
    this.#frame = new Uint8Array(random.between(14, 3000));
    this.#listens = random.chance(700);
  }

  async live(trace: Trace): Promise<number> {
    let ahead: Wanted[] = [];
    try {
      for (let step = 0; step < STEPS; step++) {
        let served = this.#served;
        if (!served || served.closed) {
          served?.close();
          served = this.#connect(trace);
          this.#served = served;
          ahead = [...BRING_UP];
          this.#front.mend();
          for (let ring = 0; ring < this.#front.rings; ring++) this.#front.renew(ring);
          trace?.(`${step}: connected`);
        }
        if (ahead.length === 0) {
          this.#front.scribble();
          ahead = this.#again(served);
        }
        const message = drawRequest(this.#front, this.#random, ahead.shift());
        trace?.(`${step}: ${message.name}, ${message.bytes.length} bytes`);
        if (this.#random.chance(5)) served.hangUp([message]);
        else served.send(message);
        this.#front.gave();
        if (!served.closed) this.#use(served);
        if (!served.closed && this.#random.chance(50)) await this.#disturb(served, trace);
      }
      if (!this.#served?.closed) await this.#served?.resume();
      this.#served?.close();
      // Else a socket that nobody closed would be closed since its other end is.
      await this.#served?.turn();
      const alone = this.#front.isAlone(() => see(this.#sights, 'asked'));
      same('whether the sockets are closed', alone, true);
    } finally {
      this.#served?.close();
      this.#front.close();
      for (const release of this.#release) release();
    }
    // What was promised is kept, now that nothing is served any more.
    await null;
    same('who waits for room', this.#waiting, 0);
    return STEPS;
  }

  /** What brings a ring up again that was stopped, as a driver does it after a reset. */
  #again(served: ServedDevice): Wanted[] {
    const ring = this.#random.below(this.#front.rings);
    if (served.isStarted(ring) || !this.#random.chance(600)) return [];
    this.#front.renew(ring);
    return [...ringUp(ring)];
  }

  #connect(trace: Trace): ServedDevice {
    const served = new ServedDevice(this.#front, this.#limits, this.#hooks, this.#sights, trace);
    if (this.#listens) served.device.onFrames((frames) => this.#take(frames));
    return served;
  }

  #take(frames: readonly Frame[]): Promise<void> | undefined {
    frames.forEach(checkFrame);
    for (const { bytes, length } of frames) same('bytes of a frame', bytes.length, length);
    see(this.#sights, 'frames', frames.length);
    if (this.#random.chance(5)) this.#served?.device.close(new ConsumerError('it has enough'));
    if (this.#random.chance(700)) return undefined;
    const fails = this.#random.chance(10);
    if (fails && this.#random.chance(500)) throw new ConsumerError('the consumer fails');
    return new Promise((resolve, reject) => {
      this.#release.push(fails ? () => reject(new ConsumerError('it fails later')) : resolve);
    });
  }

  /** What the owner of the device does. */
  #use(served: ServedDevice): void {
    const { device } = served;
    for (let pair = 0; pair < served.pairs; pair++) {
      served.look(pair);
      const given = device.enqueue([this.#frame], pair);
      if (given > 0) see(this.#sights, 'given');
      else if (this.#random.chance(50)) {
        this.#waiting++;
        void device.whenRoom(pair).then(() => this.#waiting--);
      }
      if (this.#listens) continue;
      const frames = device.dequeue(pair);
      frames.forEach(checkFrame);
      see(this.#sights, 'frames', frames.length);
      if (this.#random.chance(500)) device.release(pair);
    }
  }

  /** What happens beside requests. */
  async #disturb(served: ServedDevice, trace: Trace): Promise<void> {
    const random = this.#random;
    const front = this.#front;
    const what = random.below(14);
    trace?.(`  and ${what}`);
    switch (what) {
      case 0:
      case 11:
      case 12:
        front.cut();
        return served.turn();
      case 1:
        return front.mend();
      case 2:
        return served.stall(random.pick(['half', 'nothing']));
      case 3:
        return served.resume();
      case 4:
        front.answer();
        return served.turn();
      case 5:
        front.fill();
        return served.turn();
      case 6:
        if (served.device.config) served.device.setConfig(random.below(20), new Uint8Array(4));
        return;
      case 7: {
        const last = Array.from({ length: random.below(3) }, () => drawRequest(front, random));
        return served.hangUp(last);
      }
      case 8:
        if (random.chance(300)) served.device.close(new ConsumerError('no more'));
        return;
      case 9:
        for (const release of this.#release.splice(0)) release();
        return served.turn();
      case 10:
        front.event.wake();
        return served.turn();
      default:
        return front.scribbleFile();
    }
  }
}

fuzz({
  name: 'vhost-user-backend',
  states: 60_000,
  play: async (random, sights, trace) => {
    const before = held();
    const states = await new Case(random, sights).live(trace);
    await holdsNoMore(before);
    return states;
  },
  reaches: [
    ...NAMES,
    ...['started', 'stopped', 'called', 'a broken ring', 'frames', 'given', 'refused', 'asked'],
    ...ENDS.map((reason) => `the end: ${reason}`),
  ],
});

/** What happens to a TAP while frames go both ways. */
import { randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { NetPort } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { checkFrameBytes, isOurs, makeFrame, sequenceOf } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { ip, ipIn, statistic } from '../support/ip.js';
import { hostToPort, openPortAndWire, portToHost } from '../support/ports.js';
import type { Wire } from '../support/wire.js';

holdNothingLeaks();

const LENGTH = 60;
const LINK_DOWN = /ENETDOWN|ENXIO|ENODEV/;

type Coded = Error & { code?: string };

/** Frames both ways as fast as it goes, whatever is lost, until it is ended. What comes is checked. */
class Traffic {
  readonly #port: NetPort;
  readonly #wire: Wire;
  #ended = false;
  /** Frames that the port took, that came to it, and that came to the host. */
  sent = 0;
  received = 0;
  arrived = 0;
  /** Times that the port refused a frame because the link was down. */
  refused = 0;
  readonly sending: Promise<Coded | undefined>;
  readonly receiving: Promise<Coded | undefined>;
  readonly #host: Promise<void>;

  constructor(port: NetPort, wire: Wire) {
    this.#port = port;
    this.#wire = wire;
    const outcome = (work: Promise<void>) =>
      work.then(
        () => undefined,
        (error: Coded) => error,
      );
    this.sending = outcome(this.#send());
    this.receiving = outcome(this.#receive());
    this.#host = this.#feed();
  }

  /** Fails where what the host's side saw was not as it must be. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#host;
  }

  async #send(): Promise<void> {
    while (!this.#ended) {
      try {
        await this.#port.send(makeFrame(LENGTH, this.sent));
        this.sent++;
      } catch (error) {
        if ((error as Coded).code !== 'ENETDOWN') throw error;
        this.refused++;
      }
      await turn();
    }
  }

  async #receive(): Promise<void> {
    let last = -1;
    for await (const frames of this.#port) {
      for (const { bytes } of frames) {
        if (!isOurs(bytes)) continue;
        last = this.#checkNext(bytes, last);
        this.received++;
      }
    }
  }

  /** The host's side: its socket hears of a link that goes down, and goes on. */
  async #feed(): Promise<void> {
    let last = -1;
    for (let next = 0; !this.#ended; next++) {
      try {
        this.#wire.socket.send(makeFrame(LENGTH, next), LENGTH, Uint32Array.of(LENGTH), 1);
        for (const bytes of this.#wire.read()) {
          last = this.#checkNext(bytes, last);
          this.arrived++;
        }
      } catch (error) {
        if (!LINK_DOWN.test(String((error as Coded).code))) throw error;
      }
      await turn();
    }
  }

  /** Whole, later than the one before, and not twice. */
  #checkNext(bytes: Uint8Array, last: number): number {
    const sequence = sequenceOf(bytes);
    checkFrameBytes(bytes, LENGTH, sequence);
    if (sequence <= last) throw new Error(`frame ${sequence} came after frame ${last}`);
    return sequence;
  }
}

async function trafficOn(): Promise<{
  port: NetPort;
  name: string;
  wire: Wire;
  traffic: Traffic;
  errors: Error[];
}> {
  const { port, name, wire } = await openPortAndWire();
  const errors: Error[] = [];
  port.on('error', (error) => errors.push(error));
  const traffic = new Traffic(port, wire);
  cleanup(() => traffic.end());
  await bothWays(traffic);
  return { port, name, wire, traffic, errors };
}

/** Waits until more has come on both sides. */
async function bothWays(traffic: Traffic): Promise<void> {
  const { received, arrived } = traffic;
  const more = () => traffic.received > received + 100 && traffic.arrived > arrived + 100;
  await until(more, 'traffic runs both ways');
}

describe('under traffic both ways, a TAP', () => {
  test('that is deleted ends the port with ENODEV, and nothing else', async () => {
    const { port, name, traffic, errors } = await trafficOn();
    ip(`link del ${name}`);
    const error = await traffic.receiving;
    expect(error?.code).toBe('ENODEV');
    expect(error).toMatchObject({ hint: expect.stringMatching(/deleted.*close the port/) });
    expect(await traffic.sending).toBe(error);
    expect(errors).toEqual([error]);
    await traffic.end();
    await port.close();
  });

  test('that is renamed goes on under its new name', async () => {
    const { port, name, traffic, errors } = await trafficOn();
    const other = tapName();
    ip(`link set ${name} down`, `link set ${name} name ${other}`, `link set ${other} up`);
    await bothWays(traffic);
    expect(port.tap.name).toBe(other);
    expect([port.linkUp, errors]).toEqual([true, []]);
    expect(port.counters.txFrames).toBe(traffic.sent);
    await traffic.end();
    await port.close();
  });

  test('that moves to another network namespace ends the port with ENODEV, and goes with it', async () => {
    const { port, name, traffic, errors } = await trafficOn();
    const namespace = `ns${randomBytes(4).toString('hex')}`;
    ip(`netns add ${namespace}`);
    cleanup(() => ip(`netns del ${namespace}`));
    ip(`link set ${name} netns ${namespace}`);
    const error = await traffic.receiving;
    expect(error?.code).toBe('ENODEV');
    expect(error).toMatchObject({ hint: expect.stringMatching(/another network namespace/) });
    expect(await traffic.sending).toBe(error);
    expect(errors).toEqual([error]);
    await traffic.end();
    // It is there as long as the port has it.
    ipIn(namespace, `link show ${name}`);
    await port.close();
    expect(() => ipIn(namespace, `link show ${name}`)).toThrow(/does not exist/);
  });
});

test('a link that flaps 50 times loses nothing that was sent while it was up', async () => {
  const { port, name, wire } = await openPortAndWire();
  const changes: boolean[] = [];
  port.on('link', (up) => changes.push(up));
  let sequence = 0;
  for (let round = 0; round < 50; round++) {
    await portToHost(port, wire, 20, () => LENGTH, { first: sequence });
    await hostToPort(wire, port, 20, () => LENGTH, { first: sequence });
    await port.flush();
    sequence += 20;
    port.tap.interface.setDown();
    await until(() => !port.linkUp, 'the link goes down');
    expect(() => port.trySend(makeFrame(LENGTH, 0))).toThrow(/ENETDOWN/);
    port.tap.interface.setUp();
    await until(() => port.linkUp, 'the link comes up');
    // The host's socket hears once that the link was down.
    expect(() => wire.read()).toThrow(/ENETDOWN/);
  }
  expect(changes).toHaveLength(100);
  expect(port.counters).toMatchObject({ txFrames: 1000, rxFrames: 1000, rxErrors: 0 });
  expect(statistic(name, 'rx_packets')).toBe(1000);
  expect(statistic(name, 'tx_packets')).toBe(1000);
});

test('a link that flaps 50 times under traffic both ways leaves counters that agree', async () => {
  const { port, name, traffic, errors } = await trafficOn();
  for (let round = 0; round < 50; round++) {
    port.tap.interface.setDown();
    await until(() => !port.linkUp, 'the link goes down');
    port.tap.interface.setUp();
    await until(() => port.linkUp, 'the link comes up');
  }
  await bothWays(traffic);
  await traffic.end();
  await port.flush();
  await until(() => statistic(name, 'tx_packets') === traffic.received, 'the last ones come');
  expect(errors).toEqual([]);
  expect(port.counters).toMatchObject({
    txFrames: traffic.sent,
    rxFrames: traffic.received,
    rxErrors: 0,
  });
  // What the device took reached the host's stack, which may have dropped it as the link went down.
  const taken = statistic(name, 'rx_packets');
  const dropped = statistic(name, 'rx_dropped');
  expect(taken).toBeLessThanOrEqual(traffic.sent);
  expect(taken + dropped).toBeGreaterThanOrEqual(traffic.sent);
});

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { requestQueues, Tap, UnixSocket } from '../../lib/index.js';
import { asNobody, exists, kept, NOBODY, ROOT, serve } from '../support/brokers.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { ETHERTYPE } from '../support/frames.js';
import { tapName, until } from '../support/host.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

/** Removes a TAP that persists when the test is over. */
function removed(name: string): void {
  cleanup(() => {
    const tap = Tap.open(name);
    tap.setPersist(false);
    tap.close();
  });
}

describe('a process without rights', () => {
  test('gets a TAP queue and a vhost device to use, and no other rights', async () => {
    const tap = tapName();
    const { path, granted, refused } = serve({ allow: [{ uid: NOBODY, taps: tap }], mtu: 1400 });
    const seen = await asNobody(
      `
      const { NetInterface, Tap } = vhost;
      const [pair] = await requestQueues(path, tap);
      await pair.vhost.setOwner();
      const host = pair.tap.interface;
      show({
        uid: process.getuid(),
        name: pair.tap.name,
        header: pair.tap.hasVnetHeader,
        up: host.up,
        mtu: host.mtu,
        features: pair.vhost.getFeatures() !== 0n,
        setMtu: await codeOf(() => host.setMtu(1500)),
        setDown: await codeOf(() => host.setDown()),
        another: await codeOf(() => Tap.open(tap + 'x')),
        // What docs/security.md says that the holder of a queue may do.
        setHeader: await codeOf(() => pair.tap.setVnetHeaderSize(12)),
        setOffload: await codeOf(() => pair.tap.setOffload(1)),
        setPersist: await codeOf(() => pair.tap.setPersist(true)),
        setOwner: await codeOf(() => pair.tap.setOwner(process.getuid())),
      });
      pair.tap.setPersist(false);
      await pair.vhost.closeAsync();
      pair.tap.close();
      `,
      path,
      tap,
    );
    expect(seen).toEqual({
      uid: NOBODY,
      name: tap,
      header: true,
      up: true,
      mtu: 1400,
      features: true,
      setMtu: 'EPERM',
      setDown: 'EPERM',
      another: expect.stringMatching(/^E(PERM|ACCES)$/),
      setHeader: 'none',
      setOffload: 'none',
      setPersist: 'none',
      setOwner: 'none',
    });
    const peer = { uid: NOBODY, gid: NOBODY };
    expect(granted).toMatchObject([{ peer, tap, queues: 1, created: true }]);
    expect(refused).toEqual([]);
    await until(() => !exists(tap), 'the TAP goes with its last queue');
  });

  test('opens a port with two queue pairs, and frames go both ways', async () => {
    const tap = tapName();
    const count = 2000;
    const lengthOf = (sequence: number) => 60 + (sequence % 1400);
    const { path, granted } = serve({ allow: [{ uid: NOBODY, taps: tap }] });
    const echo = () =>
      asNobody(
        `
      const pairs = await requestQueues(path, tap, 2);
      const queues = pairs.map(({ tap, vhost }) => ({ tap: tap.fd, vhost: vhost.fd }));
      const port = await vhost.NetPort.open({ queues });
      for (const { tap, vhost } of pairs) {
        tap.close();
        vhost.close();
      }
      await port.send(new Uint8Array(60).fill(0x99));
      const ours = ({ bytes }) => bytes[12] * 256 + bytes[13] === ${ETHERTYPE};
      let echoed = 0;
      for await (const frames of port) {
        const some = frames.filter(ours);
        await port.send(some);
        echoed += some.length;
        if (echoed === ${count}) break;
      }
      await port.close();
      show({ uid: process.getuid(), echoed });
      `,
        path,
        tap,
      );
    const exchange = async () => {
      const received = () => readFileSync(`/sys/class/net/${tap}/statistics/rx_packets`, 'utf8');
      await until(() => exists(tap) && Number(received()) > 0, 'the port says hello');
      const there = new Wire(tap);
      cleanup(() => there.close());
      const back = new Wire(tap);
      cleanup(() => back.close());
      // The kernel moves a flow to the queue of its first answer: what waited in the other would come late.
      await Promise.all([there.send(1, lengthOf, () => 0), back.expect(1, lengthOf)]);
      const rest = count - 1;
      await Promise.all([
        there.send(rest, lengthOf, () => back.received - 1, { first: 1 }),
        back.expect(rest, lengthOf, 1),
      ]);
    };
    const [seen] = await Promise.all([echo(), exchange()]);
    expect(seen).toEqual({ uid: NOBODY, echoed: count });
    await until(() => granted.length === 1, 'it was reported');
    expect(granted).toMatchObject([{ tap, queues: 2 }]);
    await until(() => !exists(tap), 'the TAP is gone');
  });
});

describe('a client that may', () => {
  test('gets 256 pairs at once, where so many are allowed', async () => {
    const tap = tapName();
    const { path } = serve({ allow: [{ uid: ROOT, taps: tap }], maxQueues: 256 });
    const pairs = kept(await requestQueues(path, tap, 256));
    expect(pairs).toHaveLength(256);
    expect(new Set(pairs.map(({ tap }) => tap.name))).toEqual(new Set([tap]));
    expect(pairs.every(({ vhost }) => vhost.getFeatures() !== 0n)).toBe(true);
    await expectSystemError(
      () => requestQueues(path, tap),
      'E2BIG',
      'broker: ioctl(TUNSETIFF)',
      tap,
    );
  });

  test('is refused another TAP, and too many queues, by name and number', async () => {
    const tap = tapName();
    const { path, refused } = serve({ allow: [{ uid: ROOT, taps: `${tap}-*` }] });
    const other = await expectCode(() => requestQueues(path, tap), 'ERR_BROKER_REFUSED');
    expect(other.message).toBe(`uid 0 may not have queues of the TAP '${tap}'`);
    expect(other.hint).toContain(`--allow 0:${tap}`);
    const many = await expectCode(() => requestQueues(path, `${tap}-0`, 17), 'ERR_BROKER_REFUSED');
    expect(many.hint).toContain('--max-queues 17');
    expect(refused).toMatchObject([{ tap }, { tap: `${tap}-0`, queues: 17 }]);
    expect(exists(tap) || exists(`${tap}-0`)).toBe(false);
  });

  test('hears what failed in the broker: a TAP that is in use, an interface that is none', async () => {
    const tap = tapName();
    const { path } = serve({ allow: [{ uid: ROOT, taps: '*' }] });
    kept(await requestQueues(path, tap));
    const failed = 'broker: ioctl(TUNSETIFF)';
    await expectSystemError(() => requestQueues(path, tap), 'EBUSY', failed, tap);
    await expectSystemError(() => requestQueues(path, 'lo'), 'EINVAL', failed, 'lo');
  });

  test('joins a TAP of several queues with one', async () => {
    const tap = tapName();
    const { path, granted } = serve({ allow: [{ uid: ROOT, taps: tap }] });
    kept(await requestQueues(path, tap, 2));
    kept(await requestQueues(path, tap));
    await until(() => granted.length === 2, 'both were reported');
    expect(granted.map(({ created }) => created)).toEqual([true, false]);
  });
});

describe('a TAP', () => {
  test('that is to persist outlives its queues, and is joined by the next client', async () => {
    const tap = tapName();
    const { path, granted } = serve({ allow: [{ uid: ROOT, taps: tap }], persist: true });
    for (let i = 0; i < 2; i++) {
      const [pair] = await requestQueues(path, tap);
      pair?.vhost.close();
      pair?.tap.close();
    }
    expect(exists(tap)).toBe(true);
    removed(tap);
    await until(() => granted.length === 2, 'both were reported');
    expect(granted.map(({ created }) => created)).toEqual([true, false]);
  });

  test('is left down where that was asked for', async () => {
    const tap = tapName();
    const { path } = serve({ allow: [{ uid: ROOT, taps: tap }], up: false });
    const [pair] = kept(await requestQueues(path, tap));
    expect(pair?.tap.interface.up).toBe(false);
  });
});

test('a broker that is closed is gone: its socket, and its clients', async () => {
  const { broker, path } = serve({ allow: [{ uid: ROOT, taps: 'never' }] });
  await broker.close();
  await broker.close();
  const request = () => requestQueues(path, 'never');
  await expectSystemError(request, 'ENOENT', 'connect(AF_UNIX)', path);
});

test('a broker can be closed by who hears of a refusal', async () => {
  const { broker, path, refused } = serve({ allow: [{ uid: NOBODY, taps: 'never' }] });
  broker.on('refused', () => broker.close());
  for (let i = 0; i < 3; i++) {
    const socket = UnixSocket.connect(path, 'seqpacket');
    cleanup(() => socket.close());
  }
  await until(() => refused.length > 0, 'the first is refused');
  await broker.close();
  // It would accept again after a pause, and an exception of its own would end the process.
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(refused).toHaveLength(1);
});

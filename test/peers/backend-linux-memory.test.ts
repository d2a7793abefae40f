/**
 * Our back end, and a Linux in QEMU whose memory changes while frames go: it gets more and gives it back, or moves to
 * another QEMU. What they say goes through `vhost-net trace`.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  bit,
  hasBit,
  VHOST_F_LOG_ALL,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VhostUserBackend,
  type VhostUserBackendOptions,
  type VhostUserDevice,
} from '../../lib/index.js';
import { serveFolder, WWW } from '../../tools/vmm/guest/http.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { GuestNetwork, HOST } from '../support/guest-network.js';
import { until } from '../support/host.js';
import { LinuxGuest } from '../support/qemu-linux.js';
import { kept, socketPath } from '../support/sockets.js';
import { expectInOrder, expectSound, toldOf } from '../support/told.js';
import { startTrace, type Trace } from '../support/traced.js';

holdNothingLeaks();

const GUEST = '10.77.0.2';
const BYTES = 8 << 20;
const MORE_MEMORY = 128 << 20;
/** Pages of 4 KiB that are free in the zone for what can be moved: all of it was added later. */
const FREE =
  "awk '/zone/ { movable = /Movable/ } movable && /pages free/ { print $3 }' /proc/zoneinfo";

/** As a trace has it. */
interface VringAddr {
  flags: number;
  log: string;
}

interface Options extends Partial<VhostUserBackendOptions> {
  slots?: number;
  queues?: number;
}

/** A guest that pings, its network and its back end, with a trace between; and what QEMU asked. */
async function pinging({ slots = 0, queues = 1, ...rest }: Options = {}) {
  const requests: string[] = [];
  const errors: unknown[] = [];
  const network = await GuestNetwork.open();
  await network.serve();
  const listen = (options: Partial<VhostUserBackendOptions> = {}) => {
    const backend = kept(
      VhostUserBackend.listen({ path: socketPath(), offload: true, ...options }),
    );
    backend.on('ringError', (_, ring, error) => errors.push([ring, error]));
    backend.on('disconnect', (_, error) => error && errors.push(error));
    network.join(backend);
    return backend;
  };
  const after: VhostUserBackendOptions['after'] = ({ request }) => void requests.push(request);
  const backend = listen({ after, ...rest });
  const trace = await startTrace(backend.path);
  const guest = await LinuxGuest.boot({ path: trace.path, slots, queues });
  await guest.configure(GUEST);
  await guest.startPinging(HOST);
  await guest.answered(3);
  return { backend, listen, network, guest, trace, requests, errors };
}

/** Mappings of this process of a file of memory, of so many bytes each. */
function mapped(size: number): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').matchAll(/^(\w+)-(\w+) .*\/memfd:/gm);
  const sizes = Array.from(lines, ([, from, to]) => Number(`0x${to}`) - Number(`0x${from}`));
  return sizes.filter((bytes) => bytes === size).length;
}

test.each([
  ['a region of it', 'VHOST_USER_ADD_MEM_REG', 'VHOST_USER_REM_MEM_REG', 0],
  [
    'all of it anew',
    'VHOST_USER_SET_MEM_TABLE',
    'VHOST_USER_SET_MEM_TABLE',
    VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  ],
] as const)(
  'memory that is plugged in under a ping has the next frames, and is let go of when it is unplugged, by %s',
  async (_, adds, removes, without) => {
    const withoutProtocol = without === 0 ? 0n : bit(without);
    const { backend, network, guest, trace, requests, errors } = await pinging({
      slots: 1,
      withoutProtocol,
    });
    const [device] = backend.devices;
    const before = device?.memory?.regions.length ?? 0;
    const expectTold = (from: number, names: readonly string[]) =>
      expect(requests.slice(from).filter((name) => name.includes('_MEM_'))).toEqual(names);
    const plug = async () => {
      const told = requests.length;
      await guest.plug('more', MORE_MEMORY);
      await guest.reaches(FREE, BYTES / 4096);
      expectTold(told, [adds]);
      expect(device?.memory?.regions).toHaveLength(before + 1);
      expect(mapped(MORE_MEMORY)).toBe(1);
      await guest.answered(3);
    };
    const unplug = async () => {
      const told = requests.length;
      await guest.unplug('more');
      expectTold(told, [removes]);
      expect(device?.memory?.regions).toHaveLength(before);
      await until(() => mapped(MORE_MEMORY) === 0, 'its mapping goes');
      await guest.answered(3);
    };

    await plug();
    await guest.run(`mkdir -p ${WWW}; mount -t tmpfs none ${WWW}`);
    await serveFolder(guest.shell);
    const free = Number(await guest.run(FREE));
    await guest.run(`head -c ${BYTES} /dev/urandom > ${WWW}/random`);
    // Some pages were set aside for the processor before.
    expect(free - Number(await guest.run(FREE))).toBeGreaterThan(BYTES / 4096 / 2);
    const { bytes, hash } = await network.fetch(`http://${GUEST}/random`);
    expect(bytes).toBe(BYTES);
    expect(await guest.run(`sha256sum ${WWW}/random`)).toContain(hash);

    // What lies there moves to the rest, and frames of it come from there.
    await unplug();
    expect(await network.fetch(`http://${GUEST}/random`)).toMatchObject({ bytes, hash });
    for (let again = 0; again < 2; again++) {
      await plug();
      await unplug();
    }
    expect(errors).toEqual([]);
    const told = toldOf(trace);
    expectSound(told);
    const added = told.filter(
      ({ request, descriptors }) =>
        request === adds && descriptors.some(({ size }) => size === MORE_MEMORY),
    );
    expect(added).toHaveLength(3);
  },
);

/** The pages that are marked in logs which QEMU hands over. It takes bits out again and again: they are looked for all the time. */
function watchLog() {
  const marked = new Set<number>();
  const before: VhostUserBackendOptions['before'] = ({ request, descriptors: [file] }) => {
    if (request !== 'VHOST_USER_SET_LOG_BASE') return undefined;
    const fd = openSync(`/proc/self/fd/${file?.fd}`, 'r');
    const look = () => {
      for (const [at, byte] of readFileSync(`/proc/self/fd/${fd}`).entries()) {
        for (let bit = 0; byte >> bit > 0; bit++) if (byte & (1 << bit)) marked.add(8 * at + bit);
      }
    };
    const timer = setInterval(look, 5);
    cleanup(() => clearInterval(timer));
    cleanup(() => closeSync(fd));
    return undefined;
  };
  return { marked, before };
}

/** Waits until the guest was sent a megabyte by each pair, and sent something by each. */
async function streamsGoOn(device: VhostUserDevice, pairs: readonly number[]): Promise<void> {
  const before = pairs.map((pair) => ({ ...device.counters(pair) }));
  const went = () =>
    before.every(({ sentBytes, received }, pair) => {
      const now = device.counters(pair);
      return now.sentBytes > sentBytes + (1 << 20) && now.received > received;
    });
  await until(went, 'a stream by every pair');
}

/**
 * Fails unless the trace has what QEMU says of so many pairs: when the driver is ready, and when the guest moves. Returns
 * the pages of used rings that are to be logged.
 */
function expectMove(trace: Trace, pairs: readonly number[]): number[] {
  const told = toldOf(trace);
  expectSound(told);
  const ringsOf = (pair: number) => [2 * pair, 2 * pair + 1];
  const rings = pairs.flatMap(ringsOf);
  expectInOrder(told, [
    'GET_QUEUE_NUM',
    ...rings.flatMap((ring) => [`SET_VRING_CALL ${ring}`, `SET_VRING_ERR ${ring}`]),
    ...pairs.flatMap((pair) => [
      'SET_FEATURES',
      'ADD_MEM_REG',
      ...ringsOf(pair).flatMap((ring) => [`SET_VRING_ADDR ${ring} 0`, `SET_VRING_KICK ${ring}`]),
    ]),
    'SET_STATUS 0xf',
    ...rings.map((ring) => `SET_VRING_ENABLE ${ring} 1`),
    ...pairs.flatMap((pair) => [
      'SET_LOG_BASE',
      'SET_FEATURES',
      ...ringsOf(pair).map((ring) => `SET_VRING_ADDR ${ring} 1`),
    ]),
    ...rings.map((ring) => `GET_VRING_BASE ${ring}`),
  ]);
  const asked = (name: string) =>
    told.filter(({ kind, request }) => kind === 'request' && request === name);
  const logs = asked('VHOST_USER_SET_LOG_BASE');
  expect(logs).toHaveLength(pairs.length);
  for (const { payload, descriptors } of logs) {
    const { size } = payload as { size: string };
    expect(descriptors).toMatchObject([{ kind: 'memfd', size: Number(size) }]);
  }
  const features = asked('VHOST_USER_SET_FEATURES').map(({ payload }) => BigInt(payload as string));
  const logged = features.map((mask) => hasBit(mask, VHOST_F_LOG_ALL));
  expect(logged).toEqual([...pairs.map(() => false), ...pairs.map(() => true)]);
  const addresses = asked('VHOST_USER_SET_VRING_ADDR').map(({ payload }) => payload as VringAddr);
  return addresses.filter(({ flags }) => flags === 1).map(({ log }) => Number(log) >> 12);
}

test.each([
  ['one queue pair', 1],
  ['two', 2],
])(
  'a guest with %s moves to another QEMU and back end while a stream comes by each, unchanged, and its ping goes on',
  async (_, queues) => {
    const pairs = Array.from({ length: queues }, (_, pair) => pair);
    const { marked, before } = watchLog();
    const { backend, listen, network, guest, trace, errors } = await pinging({ before, queues });
    const [source] = backend.devices;
    // Not so fast that it is over before much was sent.
    await guest.qmp.ask('migrate-set-parameters', { 'max-bandwidth': 64 << 20 });
    const sums = pairs.map((pair) => `/tmp/sum${pair}`);
    for (const pair of pairs) {
      // A processor has a pair of its own.
      const stream = `taskset ${1 << pair} wget -q -O - http://${HOST}/ | sha256sum`;
      await guest.run(`(${stream} > ${sums[pair]}) &`);
    }
    await network.sending(queues);
    await streamsGoOn(source as VhostUserDevice, pairs);
    const next = listen();
    await guest.migrate(next.path);
    await until(() => backend.devices.size === 0, 'the first QEMU is gone');
    for (const page of expectMove(trace, pairs)) expect(marked).toContain(page);
    const [destination] = next.devices;
    await streamsGoOn(destination as VhostUserDevice, pairs);
    network.end();
    await guest.reaches(`cat ${sums.join(' ')} | wc -l`, queues);
    const sent = await Promise.all(pairs.map(async (skip) => (await network.sent(skip)).hash));
    const received = (await guest.run(`cat ${sums.join(' ')}`)).match(/^\w{64}/gm);
    expect(received?.sort()).toEqual(sent.sort());
    await guest.answered(3);
    expect(errors).toEqual([]);
  },
);

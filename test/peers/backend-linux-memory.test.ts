/** Our back end, and a Linux in QEMU whose memory changes while frames go: it gets more and gives it back, or moves to another QEMU. */
import { closeSync, openSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  bit,
  hasBit,
  VHOST_F_LOG_ALL,
  VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  VhostUserBackend,
  type VhostUserBackendOptions,
} from '../../lib/index.js';
import { serveFolder, WWW } from '../../tools/vmm/guest/http.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { GuestNetwork, HOST } from '../support/guest-network.js';
import { until } from '../support/host.js';
import { LinuxGuest } from '../support/qemu-linux.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

const GUEST = '10.77.0.2';
const BYTES = 8 << 20;
const MORE_MEMORY = 128 << 20;
/** Pages of 4 KiB that are free in the zone for what can be moved: all of it was added later. */
const FREE =
  "awk '/zone/ { movable = /Movable/ } movable && /pages free/ { print $3 }' /proc/zoneinfo";

/** A guest that pings, its network and its back end; and what QEMU asked of that. */
async function pinging(options: Partial<VhostUserBackendOptions> & { slots?: number } = {}) {
  const { slots = 0, ...rest } = options;
  const path = socketPath();
  const requests: string[] = [];
  const errors: unknown[] = [];
  const after: VhostUserBackendOptions['after'] = ({ request }) => void requests.push(request);
  const backend = kept(VhostUserBackend.listen({ path, offload: true, after, ...rest }));
  backend.on('ringError', (_, ring, error) => errors.push([ring, error]));
  const network = await GuestNetwork.open();
  network.join(backend);
  await network.serve();
  const guest = await LinuxGuest.boot({ path, slots });
  await guest.configure(GUEST);
  await guest.startPinging(HOST);
  await guest.answered(3);
  return { backend, network, guest, requests, errors };
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
    const { backend, network, guest, requests, errors } = await pinging({
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
  },
);

test('a guest moves to another QEMU while it is sent a stream, which arrives unchanged, and its ping goes on', async () => {
  // QEMU takes bits out of the log again and again: they are looked for all the time.
  let marked = false;
  const before: VhostUserBackendOptions['before'] = ({ request, descriptors: [log] }) => {
    if (request !== 'VHOST_USER_SET_LOG_BASE') return undefined;
    const path = `/proc/self/fd/${log?.fd}`;
    const fd = openSync(path, 'r');
    const look = () => {
      marked ||= readFileSync(`/proc/self/fd/${fd}`).some((byte) => byte !== 0);
    };
    const timer = setInterval(look, 5);
    cleanup(() => clearInterval(timer));
    cleanup(() => closeSync(fd));
    return undefined;
  };
  const { backend, network, guest, requests, errors } = await pinging({ before });
  const [source] = backend.devices;
  let logged = false;
  backend.on('features', (device, features) => {
    if (device === source && hasBit(features, VHOST_F_LOG_ALL)) logged = true;
  });
  // Not so fast that it is over before much was sent.
  await guest.qmp.ask('migrate-set-parameters', { 'max-bandwidth': 64 << 20 });
  const stream = guest.shell.run(`wget -q -O - http://${HOST}/ | sha256sum`);
  await network.sending();
  await guest.migrate();
  expect(requests).toContain('VHOST_USER_SET_LOG_BASE');
  expect({ logged, marked }).toEqual({ logged: true, marked: true });
  await until(() => backend.devices.size === 1, 'the first QEMU is gone');
  const [destination] = backend.devices;
  expect(destination).not.toBe(source);
  const bytes = destination?.counters().sentBytes ?? 0;
  await until(() => (destination?.counters().sentBytes ?? 0) > bytes + (1 << 20), 'the stream');
  network.end();
  const { hash } = await network.sent();
  expect((await stream).output).toContain(hash);
  await guest.answered(3);
  expect(errors).toEqual([]);
});

/** Our back end, and Linux as a guest of QEMU's: its driver on both transports, with one queue pair and with two. */
import { expect, test } from 'vitest';
import { VhostUserBackend, type VhostUserBackendOptions } from '../../lib/index.js';
import { serveFolder, WWW } from '../../tools/vmm/guest/http.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { GuestNetwork, HOST, LEASED } from '../support/guest-network.js';
import * as answering from '../support/ping.js';
import { LinuxGuest } from '../support/qemu-linux.js';
import { answer } from '../support/responder.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

const MEGABYTES = 8 << 20;
/** What udhcpc does when it has a lease. */
const BOUND = '[ $1 != bound ] || ip addr add $ip/24 dev $interface';
const LONGEST_PLAIN = 1514;

function listen(options: Partial<VhostUserBackendOptions> = {}) {
  const path = socketPath();
  const backend = kept(VhostUserBackend.listen({ path, ...options }));
  const errors: unknown[] = [];
  backend.on('ringError', (_, ring, error) => errors.push([ring, error]));
  backend.on('disconnect', (_, error) => error && errors.push(error));
  return { path, backend, errors };
}

/** A back end that answers as a host would, each frame by the queue pair that it came by. */
function responder() {
  const listening = listen();
  listening.backend.on('connect', (device) =>
    device.onFrames((frames, pair) => {
      for (const { bytes } of frames) {
        const reply = answer(bytes.slice(), answering.SELF);
        if (reply) device.enqueue([reply], pair);
      }
    }),
  );
  return listening;
}

test('Linux gets an address of a host on a TAP, and both send megabytes, in super-frames, unchanged', async () => {
  const { path, backend, errors } = listen({ offload: true });
  const network = await GuestNetwork.open();
  network.join(backend);
  network.lease();
  await network.serve();
  const guest = await LinuxGuest.boot({ path });
  await guest.run(`printf '#!/bin/sh\\n${BOUND}\\n' > /tmp/bound; chmod +x /tmp/bound`);
  await guest.run('ip link set eth0 up; udhcpc -i eth0 -n -q -t 30 -s /tmp/bound');
  expect(await guest.run('ip addr show eth0')).toContain(`inet ${LEASED}/24`);
  await guest.pings(HOST);

  const got = await guest.run(`wget -q -O - http://${HOST}/${MEGABYTES} | sha256sum`);
  const sent = await network.sent();
  expect(sent.bytes).toBe(MEGABYTES);
  expect(got).toContain(sent.hash);

  await serveFolder(guest.shell);
  const file = `${WWW}/random`;
  await guest.run(`head -c ${MEGABYTES} /dev/urandom > ${file}`);
  const hashed = await guest.run(`sha256sum ${file}`);
  const received = await network.fetch(`http://${LEASED}/random`);
  expect(received.bytes).toBe(MEGABYTES);
  expect(hashed).toContain(received.hash);

  const [device] = backend.devices;
  const counters = device?.counters();
  expect((counters?.sentBytes ?? 0) / (counters?.sent ?? 1)).toBeGreaterThan(LONGEST_PLAIN);
  expect((counters?.receivedBytes ?? 0) / (counters?.received ?? 1)).toBeGreaterThan(LONGEST_PLAIN);
  expect(counters?.errors).toBe(0);
  await guest.process.kill();
  expect(errors).toEqual([]);
});

test('each of two processors of a Linux sends and receives by a queue pair of its own', async () => {
  const { path, backend, errors } = responder();
  const guest = await LinuxGuest.boot({ path, queues: 2 });
  await guest.configure(answering.HOST.ipv4);
  const [device] = backend.devices;
  for (const pair of [0, 1]) {
    const counters = device?.counters(pair);
    const { received = 0, sent = 0 } = { ...counters };
    await guest.pings(answering.PEER.ipv4, { count: 5, before: `taskset ${1 << pair}` });
    expect(counters?.received).toBeGreaterThanOrEqual(received + 5);
    expect(counters?.sent).toBeGreaterThanOrEqual(sent + 5);
  }
  expect(errors).toEqual([]);
});

test('Linux with its card on virtio-mmio pings', async () => {
  const { path, errors } = responder();
  const guest = await LinuxGuest.boot({ path, machine: 'microvm' });
  expect(await guest.run('readlink -f /sys/class/net/eth0')).toContain('LNRO0005');
  await guest.configure(answering.HOST.ipv4);
  await guest.pings(answering.PEER.ipv4);
  expect(errors).toEqual([]);
});

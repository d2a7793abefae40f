import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { NetPort, Segmenter } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { tapName, until } from '../support/host.js';
import { addAddress, bridge, ip, namespace, runIn } from '../support/network.js';
import { hush } from '../support/ports.js';

holdNothingLeaks();

const NEAR = ['10.89.0.1', 'fd89::1', '10.90.0.1'] as const;
const FAR = ['10.89.0.2', 'fd89::2', '10.90.0.2'] as const;
const PORT = 7777;
const AMOUNT = 1 << 20;
const LONGEST = 1514 + 4;
/** Gives back what it gets. */
const ECHO = `import { createServer } from 'node:net';
createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(${PORT}, '::', () => console.log('ready'));`;

/*
 *   this namespace:    TCP ── TAP A ── port A ─┐
 *                                              │ forward(): super-frames as they are, or in segments
 *   its own namespace: TCP ── veth ─ bridge ─ TAP B ── port B
 */
interface Network {
  a: NetPort;
  b: NetPort;
  far: string;
}

async function network(offload: { a: boolean; b: boolean }): Promise<Network> {
  const [near, away] = [tapName(), tapName()];
  const open = async (tap: string, wish: boolean) => {
    const port = await NetPort.open({ tap, offload: wish });
    cleanup(() => port.close());
    return port;
  };
  const [a, b] = [await open(near, offload.a), await open(away, offload.b)];
  hush(away);
  const { namespace: far, name } = namespace(`${FAR[0]}/24`, `${FAR[1]}/64`);
  bridge(away, name);
  addAddress(`${NEAR[0]}/24`, near);
  addAddress(`${NEAR[1]}/64`, near);
  for (const [where, on] of [
    ['', near],
    [`-n ${far} `, 'eth0'],
  ] as const) {
    ip(`${where}link add link ${on} name ${tagged(on)} type vlan id 9`);
    ip(`${where}link set ${tagged(on)} up`);
  }
  addAddress(`${NEAR[2]}/24`, tagged(near));
  addAddress(`${FAR[2]}/24`, tagged('eth0'), `-n ${far} `);
  await until(() => a.linkUp && b.linkUp, 'the links come up');
  await runIn(far, ECHO);
  return { a, b, far };
}

const tagged = (name: string) => `${name.slice(0, 11)}.9`;

/** What went from one port to the other. */
interface Forwarded {
  /** Frames longer than any that a link takes, as they came. */
  superFrames: number;
  partial: number;
  /** The longest frame that was sent on, in bytes. */
  longest: number;
}

/** Sends on what comes: as it is where the other port takes that, else in segments. */
function forward(from: NetPort, to: NetPort): Forwarded {
  const counts: Forwarded = { superFrames: 0, partial: 0, longest: 0 };
  const segmenter = new Segmenter();
  const run = async () => {
    for await (const frames of from) {
      for (const frame of frames) {
        if (frame.length > LONGEST) counts.superFrames++;
        if ((frame.offload.flags & 1) !== 0) counts.partial++;
        const whole = to.offloads.length > 0;
        const list = whole ? [frame] : segmenter.segment(frame.bytes, frame.offload);
        for (const one of list) counts.longest = Math.max(counts.longest, one.length);
        await to.send(list);
      }
    }
  };
  run().catch((error) => {
    // Closing one port ends what still waits to be sent to it.
    if (error.code !== 'ERR_CLOSED') throw error;
  });
  return counts;
}

/** Sends `AMOUNT` bytes to an address and holds that all of them come back. */
async function echo(address: string): Promise<void> {
  const sent = randomBytes(AMOUNT);
  const socket = connect({ host: address, port: PORT });
  cleanup(() => socket.destroy());
  const hash = createHash('sha256');
  let received = 0;
  socket.on('data', (chunk) => {
    hash.update(chunk);
    received += chunk.length;
  });
  await once(socket, 'connect');
  socket.end(sent);
  await once(socket, 'end');
  expect(received).toBe(AMOUNT);
  expect(hash.digest('hex')).toBe(createHash('sha256').update(sent).digest('hex'));
}

/** Segments that were dropped for their checksum: `Tcp: InCsumErrors` of `/proc/net/snmp`. */
function checksumErrors(snmp: string): number {
  const [names, values] = snmp.split('\n').filter((line) => line.startsWith('Tcp:')) as [
    string,
    string,
  ];
  return Number(values.split(' ')[names.split(' ').indexOf('InCsumErrors')]);
}

const everywhere = (far: string) => [
  checksumErrors(readFileSync('/proc/net/snmp', 'utf8')),
  checksumErrors(
    execFileSync('ip', ['netns', 'exec', far, 'cat', '/proc/net/snmp'], { encoding: 'utf8' }),
  ),
];

test.each([
  ['with offloads and one without', { a: true, b: false }],
  ['without offloads and one with', { a: false, b: true }],
  ['with offloads and another', { a: true, b: true }],
])('TCP crosses a port %s, over IPv4, IPv6 and behind a tag', async (_, offload) => {
  const { a, b, far } = await network(offload);
  const there = forward(a, b);
  const back = forward(b, a);
  const before = everywhere(far);
  for (const address of FAR) await echo(address);
  expect(everywhere(far)).toEqual(before);
  expect(there.superFrames > 0).toBe(offload.a);
  expect(there.partial > 0).toBe(offload.a);
  expect(back.superFrames > 0).toBe(offload.b);
  expect(there.longest > LONGEST).toBe(offload.a && offload.b);
  expect(back.longest > LONGEST).toBe(offload.a && offload.b);
});

/** Ports of ours that an Open vSwitch switches: one of them comes to it, to the other it comes. */
import { rmSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { NetPort } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { isOurs, makeFrame, sequenceOf } from '../support/frames.js';
import { until } from '../support/host.js';
import { OpenVswitch } from '../support/open-vswitch.js';
import { socketPort } from '../support/peer-ports.js';

holdNothingLeaks();

type Station = 1 | 2;
/** Frames under way at a time: fewer than a receive ring has buffers, for a switch drops what finds none. */
const WINDOW = 128;
const LENGTHS = [60, 64, 300, 1000, 1514];

/** Frame `sequence` from one station to the other, of a length that goes with its number. */
function frameTo(station: Station, sequence: number): Uint8Array {
  const frame = makeFrame(LENGTHS[sequence % LENGTHS.length] as number, sequence);
  frame[5] = station;
  frame[11] = 3 - station;
  return frame;
}

/** Looks at what a station gets: which frames came, and what is wrong with them. */
class Inbox {
  readonly came: number[] = [];
  readonly wrong: string[] = [];

  constructor(port: NetPort, station: Station) {
    port.onFrames((frames) => {
      for (const { bytes } of frames) {
        if (!isOurs(bytes)) continue;
        const sequence = sequenceOf(bytes);
        this.came.push(sequence);
        const same = Buffer.compare(bytes, frameTo(station, sequence)) === 0;
        if (!same) this.wrong.push(`frame ${sequence}: ${Buffer.from(bytes).toString('hex')}`);
      }
    });
  }
}

/** Sends frames `first` to `first + count - 1`, and holds that they come, unchanged and in order. */
async function passes(from: NetPort, inbox: Inbox, to: Station, first: number, count: number) {
  const before = inbox.came.length;
  for (let sent = 0; sent < count; sent += 32) {
    const some = Math.min(32, count - sent);
    await from.send(Array.from({ length: some }, (_, i) => frameTo(to, first + sent + i)));
    const enough = before + sent + some - WINDOW;
    await until(() => inbox.came.length >= enough, `frame ${first + sent}`);
  }
  await until(() => inbox.came.length >= before + count, 'every frame');
  expect(inbox.came.slice(before)).toEqual(Array.from({ length: count }, (_, i) => first + i));
  expect(inbox.wrong).toEqual([]);
}

/** A switch, and a port of ours at each kind of its ports. */
async function switched() {
  const ovs = await OpenVswitch.open();
  const path = await ovs.addPort('one', 'switch');
  const one = await socketPort({ path, reconnect: 50 });
  const listening = {
    path: await ovs.addPort('two', 'user'),
    mode: 'server',
    reconnect: 50,
  } as const;
  const two = await socketPort(listening);
  for (const name of ['one', 'two']) await ovs.linkUp(name);
  return { ovs, path, one, two };
}

test('frames between two ports of a switch arrive unchanged and in order, both ways', async () => {
  const { ovs, one, two } = await switched();
  const inboxes = [new Inbox(one, 1), new Inbox(two, 2)] as const;
  await passes(one, inboxes[1], 2, 0, 1000);
  await passes(two, inboxes[0], 1, 0, 1000);
  await passes(one, inboxes[1], 2, 1000, 1000);
  await one.close();
  await two.close();
  await ovs.stop();
});

test('a port that is closed and opened again is switched as before, and the other does not notice', async () => {
  const { ovs, path, one, two } = await switched();
  const links: boolean[] = [];
  two.on('link', (up) => links.push(up));
  const inbox = new Inbox(two, 2);
  await passes(one, inbox, 2, 0, 300);
  await one.close();
  const again = await socketPort(path);
  await ovs.linkUp('one');
  await passes(again, inbox, 2, 300, 300);
  await passes(two, new Inbox(again, 1), 1, 0, 300);
  expect(links).toEqual([]);
  await ovs.stop();
});

test('ports that a switch takes away go down, and come up when it has them again', async () => {
  const { ovs, one, two } = await switched();
  for (const [name, port, listener] of [
    ['one', one, 'switch'],
    ['two', two, 'user'],
  ] as const) {
    await ovs.removePort(name);
    await until(() => !port.linkUp, 'the link goes down');
    await ovs.addPort(name, listener);
    await until(() => port.linkUp, 'the link comes up');
    await ovs.linkUp(name);
  }
  await passes(one, new Inbox(two, 2), 2, 0, 300);
  await passes(two, new Inbox(one, 1), 1, 0, 300);
  await ovs.stop();
});

test('ports outlive a switch that is killed, and the next one switches them', async () => {
  const { ovs, path, one, two } = await switched();
  const inboxes = [new Inbox(one, 1), new Inbox(two, 2)] as const;
  await passes(one, inboxes[1], 2, 0, 300);
  await ovs.kill();
  await until(() => !one.linkUp && !two.linkUp, 'both links go down');
  // It would not listen where its predecessor did.
  rmSync(path);
  await ovs.start();
  await until(() => one.linkUp && two.linkUp, 'both links come up');
  for (const name of ['one', 'two']) await ovs.linkUp(name);
  await passes(one, inboxes[1], 2, 300, 300);
  await passes(two, inboxes[0], 1, 0, 300);
  await ovs.stop();
});

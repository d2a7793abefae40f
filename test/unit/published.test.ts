import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NetPort } from '../../lib/index.js';
import { noCounters } from '../../lib/port/counters.js';
import { Publisher } from '../../tools/cli/published/publisher.js';
import { parsePublication, readPublications } from '../../tools/cli/published/read.js';

/** What a publisher looks at of a port. */
const port = {
  taps: [{}],
  tap: { interface: { name: 'vnet0' } },
  pairCounters: [{ ...noCounters(), rxFrames: 5 }],
  pairBacklogs: [{ rxWaiting: 1, txWaiting: 2 }],
} as unknown as NetPort;

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vhost-net-published-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const fileOf = (pid: number) => join(folder, `${pid}.json`);

describe('what a process publishes', () => {
  test('is read by others, and gone when it ends', () => {
    const publisher = new Publisher(folder);
    publisher.write([port], 256);
    expect(readPublications([folder]).get(process.pid)).toMatchObject({
      pid: process.pid,
      ports: [
        { tap: 'vnet0', queueSize: 256, pairs: [{ rxFrames: 5, rxWaiting: 1, txWaiting: 2 }] },
      ],
    });
    expect(readdirSync(folder)).toEqual([`${process.pid}.json`]);
    publisher.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is not believed of a process that is no more, nor of another with its number', () => {
    const publisher = new Publisher(folder);
    publisher.write([port], 256);
    const [publication] = readPublications([folder]).values();
    writeFileSync(fileOf(process.pid), JSON.stringify({ ...publication, startTime: 1 }));
    expect(readPublications([folder]).size).toBe(0);
    // No process has a number above 2^22.
    const gone = 2 ** 22 + 1;
    writeFileSync(fileOf(gone), JSON.stringify({ ...publication, pid: gone }));
    expect(readPublications([folder]).size).toBe(0);
    publisher.close();
    // The next to publish takes away what a kill left.
    new Publisher(folder).close();
    expect(existsSync(fileOf(gone))).toBe(false);
  });

  test('is nothing where the folder cannot be written, without an error', () => {
    const file = join(folder, 'no-folder');
    writeFileSync(file, '');
    chmodSync(file, 0o400);
    const publisher = new Publisher(join(file, 'below'));
    expect(() => publisher.write([port], 256)).not.toThrow();
    expect(() => publisher.close()).not.toThrow();
  });

  test('a link, a folder and a huge file are not read', () => {
    const target = join(folder, 'target');
    writeFileSync(target, '{}');
    symlinkSync(target, fileOf(process.pid));
    expect(readPublications([folder]).size).toBe(0);
    rmSync(fileOf(process.pid));
    writeFileSync(fileOf(process.pid), ' '.repeat((1 << 18) + 1));
    expect(readPublications([folder]).size).toBe(0);
  });
});

test.each([
  ['no JSON', '{'],
  ['null', 'null'],
  ['another version', '{"version":2,"pid":1,"startTime":1,"time":1,"ports":[]}'],
  ['a port that is none', '{"version":1,"pid":1,"startTime":1,"time":1,"ports":[null]}'],
  [
    'a pair without numbers',
    '{"version":1,"pid":1,"startTime":1,"time":1,"ports":[{"tap":"t","queueSize":2,"pairs":[{}]}]}',
  ],
])('%s is no publication', (_what, text) => {
  expect(parsePublication(text)).toBeUndefined();
});

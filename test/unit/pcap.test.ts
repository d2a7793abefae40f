/** The capture file that `attach` and `backend` write. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { PcapWriter } from '../../tools/cli/pcap.js';

const HEADER = 24;
const RECORD = 16;

const folder = mkdtempSync(join(tmpdir(), 'vhost-net-'));
const file = join(folder, 'frames.pcap');
const size = () => statSync(file).size;

afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

test('frames are gathered, and written once in a while or when there are many', () => {
  vi.useFakeTimers();
  const pcap = new PcapWriter(file);
  expect(size()).toBe(HEADER);
  for (let i = 0; i < 100; i++) pcap.write([new Uint8Array(84)]);
  expect(size()).toBe(HEADER);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(1000);
  expect(size()).toBe(HEADER + 100 * (RECORD + 84));
  expect(vi.getTimerCount()).toBe(0);
  for (let i = 0; i < 3000; i++) pcap.write([new Uint8Array(84)]);
  // 256 KiB at a time.
  expect(size()).toBe(HEADER + 100 * (RECORD + 84) + 2621 * (RECORD + 84));
  pcap.close();
  expect(size()).toBe(HEADER + 3100 * (RECORD + 84));
  expect(vi.getTimerCount()).toBe(0);
});

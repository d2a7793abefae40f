import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NetInterface, PacketSocket, Tap } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { CLI, cli, program, Run } from '../support/cli.js';
import { tapName, until } from '../support/host.js';

holdNothingLeaks();

type Counters = Record<string, number>;

function temporaryFile(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-net-'));
  cleanup(() => rmSync(folder, { recursive: true }));
  return join(folder, name);
}

/** Frames that the interface's other side sees. */
function capture(name: string): () => Uint8Array[] {
  const socket = PacketSocket.open(name, { ignoreOutgoing: true, receiveBuffer: 16 << 20 });
  cleanup(() => socket.close());
  const slots = new Uint8Array(64 * 2048);
  const lengths = new Uint32Array(64);
  const seen: Uint8Array[] = [];
  return () => {
    for (let n = socket.receive(slots, 2048, lengths); n > 0; ) {
      for (let i = 0; i < n; i++) seen.push(slots.slice(i * 2048, i * 2048 + (lengths[i] ?? 0)));
      n = socket.receive(slots, 2048, lengths);
    }
    return seen;
  };
}

describe('icmpecho', () => {
  test('answers ARP, neighbour discovery and pings of v4 and v6, short and in fragments', async () => {
    const name = tapName();
    const pcap = temporaryFile('all.pcap');
    const run = cli([
      ...['attach', name, '--address', '10.81.0.1/24', '--address', 'fd81::1/64'],
      ...['--respond', '10.81.0.2', 'fd81::2', '--pcap', pcap],
    ]);
    const attached = await run.line('attached');
    expect(attached).toMatchObject({ tap: name, created: true, forwardMode: 'icmpecho' });
    const pings = [
      ['10.81.0.2'],
      ['fd81::2'],
      ['-s', '6000', '10.81.0.2'],
      ['-s', '6000', 'fd81::2'],
    ];
    for (const args of pings) {
      const { stdout } = await program('ping', ['-c', '2', '-i', '0.2', '-W', '5', ...args]);
      expect(stdout).toContain('2 packets transmitted, 2 received');
    }
    run.child.kill('SIGINT');
    expect(await run.exitCode()).toBe(0);
    expect(run.stderr).toBe('');
    const detached = await run.line('detached');
    expect(detached.reason).toBe('interrupted');
    expect(detached.answered).toMatchObject({ echo: 4, echo6: 4 });
    expect((detached.answered as Counters).arp).toBeGreaterThan(0);
    expect((detached.answered as Counters).neighbour).toBeGreaterThan(0);
    expect(new NetInterface(name).exists).toBe(false);

    const read = await program('tcpdump', ['-nr', pcap]);
    const counters = detached.counters as Counters;
    const frames = read.stdout.trim().split('\n');
    expect(frames).toHaveLength((counters.rxFrames ?? 0) + (counters.txFrames ?? 0));
    expect(read.stdout).toMatch(/ARP, Reply 10\.81\.0\.2 is-at/);
    expect(read.stdout).toMatch(/10\.81\.0\.2 > 10\.81\.0\.1: ICMP echo reply/);
    expect(read.stdout).toMatch(/neighbor advertisement, tgt is fd81::2/);
  });

  test('does not answer for an address that is not its own', async () => {
    const name = tapName();
    const run = cli(['attach', name, '--address', '10.82.0.1/24', '--respond', '10.82.0.2']);
    await run.line('attached');
    const { stdout } = await program('ping', ['-c', '1', '-W', '1', '10.82.0.3']);
    expect(stdout).toContain('0 received');
    run.child.kill('SIGTERM');
    expect(await run.exitCode()).toBe(0);
    expect((await run.line('detached')).answered).toEqual({
      arp: 0,
      echo: 0,
      neighbour: 0,
      echo6: 0,
    });
  });
});

test('macswap sends every frame back with its addresses exchanged', async () => {
  const name = tapName();
  const run = cli(['attach', name, '--forward-mode', 'macswap']);
  await run.line('attached');
  const seen = capture(name);
  const socket = PacketSocket.open(name);
  cleanup(() => socket.close());
  const frame = Uint8Array.from({ length: 60 }, (_, i) => i);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  expect(socket.send(frame, 60, Uint32Array.of(60), 1)).toBe(1);
  const swapped = frame.slice();
  swapped.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
  await until(() => seen().some((bytes) => Buffer.compare(bytes, swapped) === 0), 'the frame back');
  run.child.kill('SIGINT');
  expect(await run.exitCode()).toBe(0);
});

test('txonly sends exactly --count frames of --txpkts bytes, with good checksums', async () => {
  const name = tapName();
  const tap = Tap.open(name);
  tap.setPersist(true);
  // A packet socket reports it as an error when its interface is down.
  tap.interface.setUp();
  cleanup(() => {
    const again = Tap.open(name);
    again.setPersist(false);
    again.close();
  });
  tap.close();
  const pcap = temporaryFile('tx.pcap');
  const seen = capture(name);
  const run = cli([
    ...['attach', name, '--forward-mode', 'txonly', '--count', '1000'],
    ...['--txpkts', '128', '--pcap', pcap],
  ]);
  expect(await run.exitCode()).toBe(0);
  expect(await run.line('attached')).toMatchObject({ created: false });
  const detached = await run.line('detached');
  expect(detached.reason).toBe('1000 frames were sent');
  expect(detached.counters).toMatchObject({ txFrames: 1000, txBytes: 128_000 });
  const udp = seen().filter((bytes) => bytes.length === 128 && bytes[12] === 8 && bytes[13] === 0);
  expect(udp).toHaveLength(1000);
  const { stdout } = await program('tcpdump', ['-vvnr', pcap, '-c', '1', 'udp']);
  expect(stdout).toMatch(/198\.18\.0\.1\.9 > 198\.18\.0\.2\.9: \[udp sum ok\]/);
  expect(stdout).not.toContain('bad cksum');
});

test('rxonly ends by itself after --count frames', async () => {
  const name = tapName();
  const run = cli(['attach', name, '--count', '5']);
  await run.line('attached');
  const socket = PacketSocket.open(name);
  cleanup(() => socket.close());
  socket.send(new Uint8Array(64 * 60), 60, new Uint32Array(64).fill(60), 64);
  expect(await run.exitCode()).toBe(0);
  expect((await run.line('detached')).reason).toBe('5 frames were received');
});

test('--persist leaves the TAP with its settings, and the next run joins it', async () => {
  const name = tapName();
  const settings = ['--mtu', '1400', '--mac', '02:00:00:00:00:77', '--address', '10.83.0.1/24'];
  const first = cli(['attach', name, '--persist', '--duration', '0.1', ...settings]);
  expect(await first.exitCode()).toBe(0);
  expect((await first.line('detached')).reason).toBe('the time is over');
  const { stdout } = await program('ip', ['addr', 'show', name]);
  expect(stdout).toContain('mtu 1400');
  expect(stdout).toContain('02:00:00:00:00:77');
  expect(stdout).toContain('inet 10.83.0.1/24');
  const second = cli(['attach', name, '--duration', '0.1']);
  expect(await second.exitCode()).toBe(0);
  expect(await second.line('attached')).toMatchObject({ created: false, mtu: 1400 });
  expect((await program('ip', ['link', 'del', name])).code).toBe(0);
});

describe('how it fails', () => {
  test('a TAP that somebody has open: one line, a hint, exit code 1', async () => {
    const tap = Tap.open(tapName());
    cleanup(() => tap.close());
    const run = cli(['attach', tap.interface.name]);
    expect(await run.exitCode()).toBe(1);
    expect(run.stderr).toMatch(/^vhost-net: attach \w+: EBUSY: .*\(TUNSETIFF\) '\w+'\nhint: .+\n$/);
  });

  test('no rights: exit code 3', async () => {
    const run = cli(['attach', tapName()], { uid: 65534, gid: 65534 });
    expect(await run.exitCode()).toBe(3);
    expect(run.stderr).toMatch(/^vhost-net: attach \w+: E(PERM|ACCES): .*\nhint: .*root.*\n$/);
  });

  test('a TAP that is deleted while it runs: exit code 1', async () => {
    const name = tapName();
    const run = cli(['attach', name]);
    await run.line('attached');
    expect((await program('ip', ['link', 'del', name])).code).toBe(0);
    expect(await run.exitCode()).toBe(1);
    expect(run.stderr).toMatch(/^vhost-net: attach \w+: ENODEV: .*\nhint: .*deleted.*\n$/);
  });
});

describe('how it ends', () => {
  // Before the handlers are installed a signal ends the process as it ends any other. Emulated, that takes seconds.
  test.each([0, 2500, 5000, 7500])('Ctrl-C %d ms after the start leaves no TAP', async (delay) => {
    const name = tapName();
    const run = cli(['attach', name]);
    await new Promise((resolve) => setTimeout(resolve, delay));
    run.child.kill('SIGINT');
    const { code, signal } = await run.ended;
    expect(signal === 'SIGINT' || code === 0, `code ${code}, ${run.stderr}`).toBe(true);
    expect(run.stderr).toBe('');
    await until(() => !new NetInterface(name).exists, 'the TAP is gone');
  });

  test('a reader that goes away ends it without an error', async () => {
    const name = tapName();
    const script = `"$0" "$@" | head -n 1`;
    const run = new Run('sh', ['-c', script, process.execPath, CLI, 'attach', name]);
    expect(await run.exitCode()).toBe(0);
    expect(JSON.parse(run.stdout)).toMatchObject({ event: 'attached', tap: name });
    expect(run.stderr).toBe('');
    await until(() => !new NetInterface(name).exists, 'the TAP is gone');
  });

  test('on a terminal it draws one live line, and sums up at the end', async () => {
    const command = `${process.execPath} ${CLI} attach ${tapName()} --forward-mode txonly --duration 2.5`;
    const run = new Run('script', ['-qec', command, '/dev/null']);
    expect(await run.exitCode()).toBe(0);
    expect(run.stdout).toMatch(/attached to \/dev\/vhost-net on Linux \d/);
    const live = [
      ...run.stdout.matchAll(/rx [\d.]+ \w?frame\/s .* tx [\d.]+ \w?frame\/s .* call\/s/g),
    ];
    expect(live.length).toBeGreaterThan(0);
    expect(run.stdout).toContain('\r\x1b[2K');
    expect(run.stdout).toMatch(/detached after [\d.]+ s: the time is over/);
    expect(run.stdout).toMatch(/tx +\d{3,}/);
  });
});

/** Our back end, and DPDK's virtio-user in front of it. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { VhostUserBackend, type VhostUserDevice } from '../../lib/index.js';
import { cleanup, holdNothingLeaks } from '../support/cleanup.js';
import { cli, type Run } from '../support/cli.js';
import { tapName, until } from '../support/host.js';
import { ip } from '../support/network.js';
import { kept, socketPath } from '../support/sockets.js';
import { Testpmd, virtioUserPort } from '../support/testpmd.js';
import { Wire } from '../support/wire.js';

holdNothingLeaks();

/** A back end that sends every frame back to where it came from. */
function echo(path: string, mode: 'listen' | 'connect' = 'listen') {
  const backend = kept(
    mode === 'listen'
      ? VhostUserBackend.listen({ path })
      : VhostUserBackend.connect({ path, retryEvery: 50 }),
  );
  const devices: VhostUserDevice[] = [];
  const errors: unknown[] = [];
  const lengths = new Set<number>();
  backend.on('connect', (device) => {
    devices.push(device);
    device.onFrames((frames, pair) => {
      for (const { length } of frames) lengths.add(length);
      device.enqueue(frames, pair);
    });
  });
  backend.on('ringError', (_, ring, error) => errors.push([ring, error]));
  backend.on('disconnect', (_, error) => error && errors.push(error));
  return { backend, devices, errors, lengths };
}

const received = (device: VhostUserDevice | undefined, pair = 0) =>
  device?.counters(pair).received ?? 0;

describe('frames of DPDK come back to it', () => {
  test.each([
    ['merged buffers', '', []],
    ['single buffers', ',mrg_rxbuf=0', []],
    ['rings of 1024, in order', ',in_order=1,queue_size=1024', []],
    ['long frames', '', ['--txpkts=1514']],
    ['frames in pieces', '', ['--txpkts=100,200,300']],
  ])('with %s', async (_, port, more) => {
    const path = socketPath();
    const { devices, errors, lengths } = echo(path);
    // It sends a few bursts, and from then on whatever comes back: only so it also receives.
    const testpmd = await Testpmd.start({
      port: virtioUserPort(path, { more: port }),
      forward: 'io',
      start: false,
      more,
    });
    await testpmd.command('start tx_first 4');
    await testpmd.statsOnce(({ rxPackets }) => rxPackets > 2000);
    const [option = '--txpkts=64'] = more;
    const sizes = option.slice('--txpkts='.length).split(',').map(Number);
    expect([...lengths]).toEqual([sizes.reduce((a, b) => a + b)]);
    await testpmd.stop();
    await until(() => devices[0]?.running === false, 'the device to stop');
    expect(errors).toEqual([]);
  });
});

test('two queue pairs of DPDK are served', async () => {
  const path = socketPath();
  const { devices, errors } = echo(path);
  const testpmd = await Testpmd.start({
    port: virtioUserPort(path, { queues: 2 }),
    forward: 'io',
    queues: 2,
    start: false,
  });
  // It sends a few bursts by each, and more by one only while they come back by that.
  await testpmd.command('start tx_first 4');
  await until(() => [0, 1].every((pair) => received(devices[0], pair) > 2000), 'frames of both');
  expect(errors).toEqual([]);
  await testpmd.stop();
});

test('we connect to a DPDK that listens, and again after it was killed', async () => {
  const path = socketPath();
  const { devices, errors } = echo(path, 'connect');
  for (const round of [1, 2]) {
    const testpmd = await Testpmd.start({
      port: virtioUserPort(path, { more: ',server=1' }),
      forward: 'txonly',
    });
    await until(() => received(devices[round - 1]) > 1000, 'frames');
    await testpmd.kill();
    await until(() => devices[round - 1]?.running === false, 'its end to be noticed');
    // It would not listen where its predecessor did.
    rmSync(path);
  }
  expect(errors).toEqual([]);
});

test('a DPDK that listens goes on with another of our back ends', async () => {
  const path = socketPath();
  const first = echo(path, 'connect');
  const testpmd = await Testpmd.start({
    port: virtioUserPort(path, { more: ',server=1' }),
    forward: 'txonly',
  });
  await until(() => received(first.devices[0]) > 1000, 'frames');
  first.backend.close();
  const second = echo(path, 'connect');
  await until(() => received(second.devices[0]) > 1000, 'frames after that');
  expect([...first.errors, ...second.errors]).toEqual([]);
  await testpmd.stop();
});

/** The command between a socket and a TAP of its own. */
async function joinedToTap() {
  const path = socketPath();
  const name = tapName();
  const run = cli(['backend', '--socket', path, '--to', `tap:${name}`]);
  await run.line('listening');
  /** Frames on the host's side. */
  const arrived = () =>
    Number(readFileSync(`/sys/class/net/${name}/statistics/rx_packets`, 'utf8'));
  return { path, name, run, arrived };
}

/** Told to end, it has nothing to complain of. */
async function expectGoodEnd(run: Run): Promise<void> {
  run.child.kill('SIGINT');
  expect({ code: await run.exitCode(), stderr: run.stderr }).toEqual({ code: 0, stderr: '' });
}

test('the command joins two DPDKs', async () => {
  const [one, other] = [socketPath(), socketPath()];
  const run = cli(['backend', '--socket', one, '--to', `socket:${other}`, '--json']);
  cleanup(() => run.child.kill('SIGKILL'));
  await run.line('listening');
  const sink = await Testpmd.start({
    port: virtioUserPort(other),
    forward: 'rxonly',
    processor: 0,
  });
  const source = await Testpmd.start({ port: virtioUserPort(one), forward: 'txonly' });
  await sink.statsOnce(({ rxPackets }) => rxPackets > 5000);
  await source.stop();
  await sink.stop();
  await expectGoodEnd(run);
});

test('the command joins a DPDK and a TAP', async () => {
  const { path, name, run, arrived } = await joinedToTap();
  const source = await Testpmd.start({ port: virtioUserPort(path), forward: 'txonly' });
  await until(() => arrived() > 2000, 'frames on the host’s side');
  await source.command('stop');
  await source.command('set fwd rxonly');
  await source.command('start');
  const before = (await source.stats()).rxPackets;
  const wire = new Wire(name);
  cleanup(() => wire.close());
  await wire.send(
    100,
    () => 64,
    () => 0,
  );
  await source.statsOnce(({ rxPackets }) => rxPackets >= before + 100);
  await source.stop();
  await expectGoodEnd(run);
});

test('the command goes on when a DPDK dies with frames under way, of which it hears late', async () => {
  const { path, run, arrived } = await joinedToTap();
  // Rings of more frames than the port has room for: some wait in memory that is gone when it finds them and the end.
  const port = virtioUserPort(path, { more: ',queue_size=1024' });
  for (let round = 0; round < 2; round++) {
    const before = arrived();
    const source = await Testpmd.start({ port, forward: 'txonly' });
    await until(() => arrived() > before + 2000, 'frames on the host’s side');
    run.child.kill('SIGSTOP');
    // When it answers, its ring has long been full.
    await source.stats();
    await source.kill();
    run.child.kill('SIGCONT');
  }
  await expectGoodEnd(run);
});

test('the command ends when its TAP is gone, and says why', async () => {
  const { path, name, run } = await joinedToTap();
  const source = await Testpmd.start({ port: virtioUserPort(path), forward: 'txonly' });
  await run.line('started');
  ip(`link del ${name}`);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toContain('ENODEV');
  expect(existsSync(path)).toBe(false);
  await source.kill();
});

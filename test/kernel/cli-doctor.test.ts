import { expect, test } from 'vitest';
import { featureNames, VhostNet } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { CLI, cli, program, Run } from '../support/cli.js';

holdNothingLeaks();

interface Report {
  possible: boolean;
  checks: {
    name: string;
    status: 'ok' | 'missing' | 'failed';
    value: string;
    hint?: string;
    data?: { mask?: string; names?: string[] };
  }[];
}

async function json(run: Run): Promise<Map<string, Report['checks'][number]>> {
  await run.ended;
  const report = JSON.parse(run.stdout) as Report;
  return new Map(report.checks.map((check) => [check.name, check]));
}

test('on a host that can do it every line but those of newer kernels is ok, and it exits with 0', async () => {
  const run = cli(['doctor']);
  expect(await run.exitCode()).toBe(0);
  expect(run.stdout).not.toMatch(/^NO/m);
  expect(run.stdout).toMatch(/^ok {2}vhost-net +\/dev\/vhost-net opens$/m);
  expect(run.stdout).toMatch(/^ok {2}kvm +a guest in 64-bit mode ran$/m);
  const others = [...run.stdout.matchAll(/^-- {2}(\w+ \w+)/gm)].map(([, name]) => name);
  expect(['features array', 'fork owner']).toEqual(expect.arrayContaining(others));
  expect(run.stdout).toContain('This host can attach vhost-net to a TAP');
});

test('--json has the masks as hex strings beside their names, as the kernel says', async () => {
  const checks = await json(cli(['doctor', '--json']));
  const vhost = VhostNet.open();
  const features = vhost.getFeatures();
  await vhost.closeAsync();
  expect(checks.get('features')?.data).toEqual({
    mask: `0x${features.toString(16)}`,
    names: featureNames(features),
  });
  expect(checks.get('backend features')?.data?.names).toEqual(['VHOST_BACKEND_F_IOTLB_MSG_V2']);
  expect(checks.get('memory regions')?.value).toBe('at most 64');
  expect(checks.get('tun')?.data?.names).toContain('IFF_VNET_HDR');
});

test('it leaves no interface behind', async () => {
  await cli(['doctor']).exitCode();
  expect((await program('ip', ['-br', 'link'])).stdout).not.toContain('vhostdoc');
});

test('on a host with nothing it says for each what to do, and exits with 3', async () => {
  // A mount namespace whose /dev has nothing but what every process needs.
  const script = `mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"`;
  const args = ['--mount', 'sh', '-c', script, 'sh', process.execPath, CLI, 'doctor'];
  const run = new Run('unshare', args);
  expect(await run.exitCode()).toBe(3);
  expect(run.stderr).toBe('');
  expect(run.stdout).toMatch(/^NO {2}vhost-net +ENOENT: .*\n +hint: .*modprobe vhost_net/m);
  expect(run.stdout).toMatch(/^NO {2}tun +ENOENT: .*\n +hint: .*modprobe tun/m);
  expect(run.stdout).toMatch(/^-- {2}kvm +ENOENT: .*\n +hint: .*kvm/m);
  expect(run.stdout).toContain('This host cannot attach vhost-net to a TAP');
});

test('without rights it says whose they are to give, and exits with 3', async () => {
  const checks = await json(cli(['doctor', '--json'], { uid: 65534, gid: 65534 }));
  expect(checks.get('rights')?.hint).toContain('ip tuntap add NAME mode tap user USER');
  expect(checks.get('vhost-net')?.value).toMatch(/^EACCES/);
  expect(checks.get('vhost-net')?.hint).toContain('group');
});

/** The package itself: what is in it, and that it works where there is nothing else. */
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { native } from '../../lib/native.js';
import { ARCHITECTURES, hostArch, NODE_LINES, nodeFiles } from '../../tools/addon/node-lines.js';
import { Desert, execute, packed } from '../support/packed.js';
import { filesUnder } from '../support/sources.js';

/** What it brings so that nothing has to be fetched; none of them needs anything else. */
const BUNDLED = [
  ...[
    ...['LICENSE', 'Readme.md', 'esm.mjs', 'index.js', 'package-support.json', 'package.json'],
    ...['argument', 'command', 'error', 'help', 'option', 'suggestSimilar'].map(
      (name) => `lib/${name}.js`,
    ),
    ...['typings/esm.d.mts', 'typings/index.d.ts'],
  ].map((file) => `commander/${file}`),
  ...['LICENSE', 'README.md', 'package.json'].map((file) => `debug/${file}`),
  ...['browser', 'common', 'index', 'node'].map((name) => `debug/src/${name}.js`),
  ...['index.js', 'license.md', 'package.json', 'readme.md'].map((file) => `ms/${file}`),
];

/** Every file of the package: nothing more, nothing less. */
const FILES = [
  ...['CHANGELOG.md', 'LICENSE', 'README.md', 'binding.gyp', 'package.json'],
  ...['dist/bin/kvm-probe-main.js', 'dist/bin/vhost-net.js'],
  ...filesUnder('lib', /\.ts$/)
    .map((source) => source.replace(/\.ts$/, ''))
    .flatMap((source) => [`dist/${source}.js`, `dist/${source}.d.ts`]),
  ...filesUnder('native', /\.(?:cc?|h)$/),
  ...ARCHITECTURES.map((arch) => `prebuilds/linux-${arch}/vhost_net.node`),
  ...BUNDLED.map((file) => `node_modules/${file}`),
];

/** What runs programs for arm64, with Debian's libraries for them. */
const EMULATOR = hostArch() === 'arm64' ? [] : ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'];

/** The newest versions of symbols that Node's own binaries ask of the system's libraries. */
const NEWEST: Readonly<Record<string, string>> = {
  GLIBC: '2.28',
  GLIBCXX: '3.4.21',
  CXXABI: '1.3.9',
  GCC: '3.0',
};

let tarball: string;
let desert: Desert;

beforeAll(async () => {
  tarball = await packed();
  desert = new Desert();
  const { code, stderr } = await desert.run('npm', 'install', tarball);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

afterAll(() => desert?.close());

const installed = (path: string) => join(desert.project, 'node_modules/vhost-net', path);

test('holds exactly the files that it should', async () => {
  const { stdout } = await execute('tar', ['-tzf', tarball]);
  const files = stdout
    .trim()
    .split('\n')
    .map((path) => path.replace(/^package\//, ''));
  expect(files.sort()).toEqual(FILES.sort());
});

describe('installed with no registry, compiler or headers at hand', () => {
  /** What the doctor says of every host: the addon is there, and looked at the kernel. */
  const REPORT = /^(?:ok|NO) {2}vhost-net .*\n[\s\S]*^(?:ok|NO) {2}tun .*\n[\s\S]*^This host can/m;

  test('npx vhost-net doctor works', async () => {
    const { code, stdout, stderr } = await desert.run('npx', 'vhost-net', 'doctor');
    expect(stderr).toBe('');
    expect(stdout).toMatch(REPORT);
    expect(code).toBe(stdout.includes('This host cannot') ? 3 : 0);
  });

  test('brings no package but itself', async () => {
    const { stdout } = await desert.run('npm', 'ls', '--all', '--parseable');
    const paths = stdout.trim().split('\n').slice(1);
    expect(paths.length).toBeGreaterThan(0);
    for (const path of paths) expect(path.startsWith(installed('').replace(/\/$/, ''))).toBe(true);
  });

  test('is a module with its types', async () => {
    const script = `import('vhost-net').then(({ EventFd }) => {
      const event = EventFd.create(3);
      console.log(event.read());
      event.close();
    });`;
    expect(await desert.run('node', '-e', script)).toEqual({ code: 0, stdout: '3\n', stderr: '' });
    const manifest = JSON.parse(readFileSync(installed('package.json'), 'utf8')) as {
      types: string;
    };
    expect(readFileSync(installed(manifest.types), 'utf8')).toContain('NetPort');
  });

  test.each(NODE_LINES)('Node %s runs the same binary', async (line) => {
    const { binary } = await nodeFiles(line, hostArch());
    const doctor = [installed('dist/bin/vhost-net.js'), 'doctor'];
    const { stdout, stderr } = await execute(binary, doctor);
    expect(stderr).toBe('');
    expect(stdout).toMatch(REPORT);
    expect(stdout).toMatch(new RegExp(`^ok  node +v${line}\\.`, 'm'));
  });
});

test.each(ARCHITECTURES)(
  'the binary for %s asks for no newer libraries than Node',
  async (arch) => {
    const file = installed(`prebuilds/linux-${arch}/vhost_net.node`);
    const { stdout } = await execute('readelf', ['--version-info', file]);
    const versions = [...stdout.matchAll(/Name: ([A-Z]+)_([\d.]+)/g)];
    expect(versions.length).toBeGreaterThan(5);
    const newer = versions.filter(
      ([, library = '', version = '']) => compare(version, NEWEST[library] ?? '0') > 0,
    );
    expect(newer.map(([name]) => name)).toEqual([]);
  },
);

describe.each(['20', '26'] as const)('on arm64 under Node %s', (line) => {
  /** Runs a module that has the package as `vhost` and its addon as `native`. */
  async function onArm(body: string): Promise<unknown> {
    const { binary } = await nodeFiles(line, 'arm64');
    const source = `import * as vhost from '${pathToFileURL(installed('dist/lib/index.js'))}';
      import { native } from '${pathToFileURL(installed('dist/lib/native.js'))}';
      console.log(JSON.stringify(await (async () => { ${body} })()));`;
    const [program, ...args] = [...EMULATOR, binary, '--input-type=module', '-e', source];
    const { stdout, stderr } = await execute(program as string, args);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  test('structs, requests and constants are those of x86-64', async () => {
    const body = `return {
      arch: process.arch,
      layouts: native.layouts(),
      requests: native.requests(),
      constants: native.constants(),
    }`;
    expect(await onArm(body)).toEqual({
      arch: 'arm64',
      layouts: native.layouts(),
      requests: native.requests(),
      constants: native.constants(),
    });
  });

  test('memory, rings, eventfds and the event loop work', async () => {
    const body = `
      const memory = vhost.GuestMemory.create([{ guestAddress: 0n, size: 65536 }]);
      const ring = new vhost.VringDriver(memory, { size: 8, addresses: vhost.placeVring(0n, 8) });
      ring.addReadable(4096, 0, 60);
      ring.publish();
      const index = Buffer.from(memory.read(vhost.placeVring(0n, 8).avail, 4)).readUInt16LE(2);
      const event = vhost.EventFd.create();
      const counted = new Promise((resolve) => event.onSignal(resolve));
      event.signal(3);
      const count = await counted;
      event.close();
      memory.close();
      return { index, count };
    `;
    expect(await onArm(body)).toEqual({ index: 1, count: 3 });
  });

  test('a guest of x86 code is answered with ENOSYS', async () => {
    const body = `
      const [kvm, vm] = [native.eventfdCreate(0), native.eventfdCreate(0)];
      return native.kvmRunGuest(kvm, vm, Buffer.from([0xf4]));
    `;
    expect(await onArm(body)).toEqual({ result: -constants.errno.ENOSYS, printed: '' });
    expect(await onArm('return vhost.probeKvm()')).toMatchObject({ runs: false });
  });
});

/** Below, at or above 0 as version `a` is before, at or after `b`. */
function compare(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

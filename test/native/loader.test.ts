/** Loading the package where it cannot work says why, in one sentence. */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { ADDON, libraryCopy, runModule } from '../support/node-child.js';

const load = (entry: string) => `
  try {
    await import('./${entry}/index.js');
    console.log('loaded');
  } catch ({ name, code, message, hint }) {
    console.log(JSON.stringify({ name, code, message, hint }));
  }
`;

const PREBUILT = `prebuilds/linux-${process.arch}/vhost_net.node`;

/** Puts an addon into a copy of the library: the one at `source`, or a file that is none. */
function putAddon(library: string, path: string, source?: string): void {
  const target = join(library, path);
  mkdirSync(dirname(target), { recursive: true });
  if (source === undefined) writeFileSync(target, 'this is no shared object');
  else copyFileSync(source, target);
}

const onPlatform = (platform: string) => [
  '--import',
  `data:text/javascript,Object.defineProperty(process, 'platform', { value: '${platform}' })`,
];

test.each(['darwin', 'win32'])('on %s the library says that it is for Linux', async (platform) => {
  const { stdout, stderr } = await runModule(load('lib'), { node: onPlatform(platform) });
  expect(stderr).toBe('');
  expect(JSON.parse(stdout)).toEqual({
    name: 'StateError',
    code: 'ERR_UNSUPPORTED_PLATFORM',
    message: `vhost-net drives Linux's /dev/vhost-net and cannot be loaded on ${platform}`,
  });
});

test('on a big-endian machine the library says that it cannot read its rings', async () => {
  const bigEndian = `
    import os from 'node:os';
    import { syncBuiltinESMExports } from 'node:module';
    os.endianness = () => 'BE';
    syncBuiltinESMExports();
  `;
  const node = ['--import', `data:text/javascript,${encodeURIComponent(bigEndian)}`];
  const { stdout } = await runModule(load('lib'), { node });
  expect(JSON.parse(stdout)).toEqual({
    name: 'StateError',
    code: 'ERR_UNSUPPORTED_PLATFORM',
    message: `vhost-net reads rings in little-endian order and cannot be loaded on ${process.arch}`,
  });
});

test.each(['lib', 'dist/lib'] as const)(
  'in %s without an addon the library says how to build one',
  async (under) => {
    const library = libraryCopy({ under, addon: false });
    const { stdout, stderr } = await runModule(load(under), { library });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout)).toEqual({
      name: 'StateError',
      code: 'ERR_ADDON_NOT_FOUND',
      message: `vhost-net has no native addon for ${process.arch} here`,
      hint: expect.stringContaining('npm run build:native'),
    });
  },
);

test.each(['lib', 'dist/lib'] as const)('from %s the addon is found', async (under) => {
  const library = libraryCopy({ under, addon: true });
  expect(await runModule(load(under), { library })).toMatchObject({
    stdout: 'loaded\n',
    stderr: '',
  });
});

test('an addon that is there and does not load is the error itself, not "not found"', async () => {
  const library = libraryCopy({ addon: false });
  putAddon(library, 'build/Release/vhost_net.node');
  const { stdout } = await runModule(load('lib'), { library });
  expect(JSON.parse(stdout)).toMatchObject({
    code: 'ERR_DLOPEN_FAILED',
    message: expect.stringContaining('vhost_net.node'),
  });
});

test('a prebuilt addon is found where none was built', async () => {
  const library = libraryCopy({ addon: false });
  putAddon(library, PREBUILT, ADDON);
  expect(await runModule(load('lib'), { library })).toMatchObject({ stdout: 'loaded\n' });
});

test('an addon built here comes before the prebuilt one', async () => {
  const library = libraryCopy({ addon: true });
  putAddon(library, PREBUILT);
  expect(await runModule(load('lib'), { library })).toMatchObject({ stdout: 'loaded\n' });
});

test('a prebuilt addon that does not load says which C library it needs', async () => {
  const library = libraryCopy({ addon: false });
  putAddon(library, PREBUILT);
  const { stdout } = await runModule(load('lib'), { library });
  expect(JSON.parse(stdout)).toMatchObject({
    code: 'ERR_DLOPEN_FAILED',
    hint: expect.stringMatching(/glibc 2\.28 .* musl; .*npm run build:native/),
  });
});

test('the library needs no device and opens nothing when it is loaded', async () => {
  const { stdout } = await runModule(`
    import { readdirSync, readlinkSync } from 'node:fs';
    const links = () => readdirSync('/proc/self/fd').map((fd) => {
      try { return readlinkSync('/proc/self/fd/' + fd); } catch { return ''; }
    }).filter((link) => /vhost|tun|kvm|memfd|socket/.test(link));
    const before = links().length;
    await import('./lib/index.js');
    console.log(links().length - before);
  `);
  expect(stdout).toBe('0\n');
});

import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { parseShow } from '../../tools/test-vm/apt.js';
import {
  findDebian,
  parseDeb822,
  parseOneLine,
  sourceFor,
} from '../../tools/test-vm/apt-sources.js';
import { ConsoleTail } from '../../tools/test-vm/console-tail.js';
import { commandScript, mountsScript, passedEnv, quote } from '../../tools/test-vm/job.js';
import { KERNEL_LINES, lineMatch } from '../../tools/test-vm/kernels.js';
import {
  guestModules,
  loadOrder,
  moduleLine,
  moduleName,
  parseIndex,
} from '../../tools/test-vm/modules.js';
import { parseOptions } from '../../tools/test-vm/options.js';
import { qemuArguments } from '../../tools/test-vm/qemu.js';
import { signalStatus } from '../../tools/test-vm/status.js';

describe('the Debian archive is found in apt’s own configuration', () => {
  const oneLine = [
    '# deb http://old.example/debian bookworm main',
    'deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # ours',
    'deb-src http://mirror.example/debian bookworm main',
    'deb http://security.example/debian-security bookworm-security main',
  ].join('\n');

  const deb822 = [
    'Types: deb deb-src',
    '# a comment in the middle',
    'URIs: http://mirror.example/debian',
    'Suites: trixie trixie-updates',
    'Components: main',
    'signed-by:',
    ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
    ' .',
    ' -----END PGP PUBLIC KEY BLOCK-----',
    '',
    'Types: deb',
    'Enabled: no',
    'URIs: http://off.example/debian',
    'Suites: trixie',
    'Components: main',
  ].join('\n');

  test('in the one-line format, with options and comments', () => {
    expect(parseOneLine(oneLine)).toEqual([
      {
        uri: 'http://mirror.example/debian',
        suites: ['bookworm'],
        components: ['main', 'contrib'],
        options: { arch: 'amd64', 'Signed-By': '/k.gpg' },
      },
      {
        uri: 'http://security.example/debian-security',
        suites: ['bookworm-security'],
        components: ['main'],
        options: {},
      },
    ]);
  });

  test('in the deb822 format, with folded fields, without disabled paragraphs', () => {
    const sources = parseDeb822(deb822);
    expect(sources).toHaveLength(1);
    expect(sources[0]).toMatchObject({
      uri: 'http://mirror.example/debian',
      suites: ['trixie', 'trixie-updates'],
    });
    expect(sources[0]?.options['Signed-By']).toContain('\n -----END PGP');
  });

  test('by its suite: neither a security archive nor another vendor’s will do', () => {
    expect(findDebian(parseOneLine(oneLine))?.uri).toBe('http://mirror.example/debian');
    const others = 'deb http://x.example nodistro main\ndeb http://u.example/ubuntu noble main';
    expect(findDebian(parseOneLine(others))).toBeUndefined();
  });

  test('and another suite of it is written with the same trust', () => {
    const [source] = parseOneLine(oneLine);
    expect(source && sourceFor('trixie-backports', source)).toBe(
      [
        'Types: deb',
        'URIs: http://mirror.example/debian',
        'Suites: trixie-backports',
        'Components: main',
        'Signed-By: /k.gpg',
        '',
      ].join('\n'),
    );
  });

  test('and packages are read with the versions their dependencies ask for', () => {
    const shown = [
      'Package: linux-image-amd64',
      'Version: 7.3.4-1~bpo13+1',
      'Depends: linux-base (>= 4.3), linux-image-7.3.4-amd64 (= 7.3.4-1~bpo13+1)',
      '',
      'Package: linux-image-amd64',
      'Version: 6.12.1-1',
    ].join('\n');
    expect(parseShow(shown)).toEqual({
      name: 'linux-image-amd64',
      version: '7.3.4-1~bpo13+1',
      depends: [
        { name: 'linux-base', version: undefined },
        { name: 'linux-image-7.3.4-amd64', version: '7.3.4-1~bpo13+1' },
      ],
    });
  });
});

describe('a kernel line', () => {
  test.each([
    ['6.1', '6.1.176-1', 'same'],
    ['6.1', '6.12.95-1~bpo12+1', 'newer'],
    ['6.12', '6.1.176-1', 'older'],
    ['7.3', '7.10.1-1', 'newer'],
    ['7.3', '6.19.1-1', 'older'],
  ])('%s is served by %s as the %s line', (line, version, match) => {
    expect(lineMatch(line, version)).toBe(match);
  });

  test('has a name that is its version', () => {
    for (const { line } of KERNEL_LINES) expect(lineMatch(line, line)).toBe('same');
  });
});

describe('modules', () => {
  //   vhost_net ── tun
  //        │  └─── vhost ── vhost_iotlb
  //        └────── tap
  const index = parseIndex(
    [
      'kernel/drivers/vhost/vhost_net.ko.xz: kernel/drivers/net/tun.ko.xz kernel/drivers/vhost/vhost.ko.xz kernel/drivers/vhost/vhost_iotlb.ko.xz kernel/drivers/net/tap.ko.xz',
      'kernel/drivers/vhost/vhost.ko.xz: kernel/drivers/vhost/vhost_iotlb.ko.xz',
      'kernel/drivers/vhost/vhost_iotlb.ko.xz:',
      'kernel/drivers/net/tun.ko.xz:',
      'kernel/drivers/net/tap.ko.xz:',
      'kernel/arch/x86/kvm/kvm-amd.ko.xz: kernel/arch/x86/kvm/kvm.ko.xz',
      'kernel/arch/x86/kvm/kvm.ko.xz:',
    ].join('\n'),
    'kernel/drivers/virtio/virtio_pci.ko\nkernel/net/packet/af_packet.ko\n',
  );
  const names = (paths: string[]) => paths.map(moduleName);

  test('are named as the kernel names them', () => {
    expect(moduleName('kernel/arch/x86/kvm/kvm-amd.ko.xz')).toBe('kvm_amd');
    expect(moduleName('kernel/drivers/net/tun.ko')).toBe('tun');
  });

  test('come after all they need, and once', () => {
    const { paths, missing } = loadOrder(index, ['tap', 'vhost_net', 'vhost']);
    expect(names(paths)).toEqual(['tap', 'vhost_iotlb', 'vhost', 'tun', 'vhost_net']);
    expect(missing).toEqual([]);
  });

  test('are not loaded when built in, and may be called by either spelling', () => {
    expect(names(loadOrder(index, ['af_packet', 'kvm-amd']).paths)).toEqual(['kvm', 'kvm_amd']);
  });

  test('that the kernel lacks matter if it cannot boot without them or the user asked', () => {
    const { lists, missing } = guestModules(index, ['nosuch']);
    expect(missing).toEqual(['virtio_console', '9pnet_virtio', '9p', 'overlay', 'nosuch']);
    expect(names(lists.rest)).toEqual(['tun', 'tap', 'vhost_iotlb', 'vhost', 'vhost_net']);
    expect(lists.kvm_intel).toEqual([]);
  });

  test('make no interfaces of their own', () => {
    expect(moduleLine('kernel/drivers/net/dummy.ko')).toBe('dummy numdummies=0');
    expect(moduleLine('kernel/drivers/net/tun.ko')).toBe('tun');
  });
});

describe('the command line', () => {
  test('leaves everything after -- to the command', () => {
    const options = parseOptions(['-k', '6.1', '--', 'node', '--version', '-q']);
    expect(options.kernels).toEqual(['6.1']);
    expect(options.command).toEqual(['node', '--version', '-q']);
    expect(options.quiet).toBe(false);
  });

  test('has defaults for everything but the command', () => {
    expect(parseOptions(['--', 'true'])).toMatchObject({
      kernels: ['6.12'],
      memory: 4096,
      cpus: 2,
      timeout: 600,
      accel: 'tcg',
      modules: [],
      shares: [],
      env: {},
    });
  });

  test('collects what may be given repeatedly', () => {
    const argv = ['--env', 'A=1', '--env', 'B=x=y', '--share', '/a', '--share', '/b', '--', 'true'];
    expect(parseOptions(argv)).toMatchObject({
      env: { A: '1', B: 'x=y' },
      shares: ['/a', '/b'],
    });
  });

  test.each([
    ['no command', []],
    ['two kernels', ['-k', '6.1', '-k', '7.3', '--', 'true']],
    ['an unknown option', ['--bogus', '--', 'true']],
    ['a timeout of nothing', ['--timeout', '0', '--', 'true']],
    ['a variable without a value', ['--env', 'A', '--', 'true']],
    ['an unknown accelerator', ['--accel', 'hvf', '--', 'true']],
  ])('refuses %s', (_, argv) => {
    const write = process.stderr.write;
    process.stderr.write = () => true;
    try {
      expect(() => parseOptions(argv)).toThrow();
    } finally {
      process.stderr.write = write;
    }
  });

  test('takes several kernels with --fetch', () => {
    expect(parseOptions(['--fetch', '-k', '6.1', '-k', '7.3']).kernels).toEqual(['6.1', '7.3']);
  });
});

describe('a job', () => {
  const job = {
    command: ['/bin/echo', "it's", '$HOME'],
    cwd: '/a b',
    env: { A: 'x y' },
    shares: ['/out', '/a,b'],
  };
  const kernel = {
    release: '6.1.0',
    version: undefined,
    image: '/vmlinuz',
    modulesDir: '/m/6.1.0',
  };

  test('quotes every word for the guest’s shell', () => {
    expect(quote("it's")).toBe(`'it'\\''s'`);
    expect(commandScript(job)).toContain(`'A=x y' '/bin/echo' 'it'\\''s' '$HOME'`);
    expect(commandScript(job)).toContain(`cd '/a b' || exit 126`);
  });

  test('mounts its shares by number and the kernel’s modules where modprobe looks', () => {
    expect(mountsScript(job, kernel).split('\n')).toEqual([
      `mkdir -p './out'; share share0 './out' cache=mmap`,
      `mkdir -p './a,b'; share share1 './a,b' cache=mmap`,
      `mkdir -p './lib/modules/6.1.0'; mount --bind '/host/m/6.1.0' './lib/modules/6.1.0'`,
      '',
    ]);
  });

  test('takes along only the part of the environment that means something there', () => {
    const env = {
      PATH: '/bin',
      NODE_OPTIONS: '-x',
      XDG_RUNTIME_DIR: '/run/u',
      SSH_AUTH_SOCK: '/s',
    };
    expect(passedEnv(env)).toEqual({ PATH: '/bin', NODE_OPTIONS: '-x' });
  });

  test('reaches QEMU with commas in paths doubled', () => {
    const machine = { accel: 'tcg', memory: 512, cpus: 2, console: 'errors' } as const;
    const args = qemuArguments(machine, { kernel: '/k', initrd: '/i' }, '/tmp/job', job.shares);
    expect(args).toContain('local,path=/a,,b,mount_tag=share1,security_model=none,multidevs=remap');
    expect(args[args.indexOf('-append') + 1]).toMatch(/ test_vm\.job=\/tmp\/job$/);
  });
});

test('a signal’s exit status is the shell’s', () => {
  expect(signalStatus('SIGINT')).toBe(130);
  expect(signalStatus('SIGTERM')).toBe(128 + constants.signals.SIGTERM);
});

test('the console’s tail has no control sequences and no more lines than fit a screen', () => {
  const tail = new ConsoleTail();
  tail.add(Buffer.from('\x1bc\x1b[?7l\x1b[2J'));
  for (let line = 1; line <= 100; line++) tail.add(Buffer.from(`line ${line}\r\n`));
  const lines = tail.text().split('\n');
  expect(lines).toHaveLength(40);
  expect(lines[0]).toBe('line 61');
  expect(lines.at(-1)).toBe('line 100');
});

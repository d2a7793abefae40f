import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { holdNothingLeaks } from '../support/cleanup.js';
import { cli } from '../support/cli.js';

holdNothingLeaks();

test('without arguments it shows its help on stderr and exits with 2', async () => {
  const run = cli([]);
  expect(await run.exitCode()).toBe(2);
  expect(run.stderr).toContain('Usage: vhost-net [options] [command]');
  expect(run.stdout).toBe('');
});

test('--help shows the commands and the exit codes on stdout', async () => {
  const run = cli(['--help']);
  expect(await run.exitCode()).toBe(0);
  expect(run.stdout).toMatch(/^ {2}doctor /m);
  for (const command of ['attach', 'broker', 'exec', 'top', 'trace']) {
    expect(run.stdout).toMatch(new RegExp(`^ {2}${command} `, 'm'));
  }
  expect(run.stdout).toContain('Exit status: 0 done, 1 failed, 2 wrong usage, 3 ');
});

test('--version prints the version of package.json', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const run = cli(['--version']);
  expect(await run.exitCode()).toBe(0);
  expect(run.stdout).toBe(`${version}\n`);
});

test('attach --help shows every option and examples', async () => {
  const run = cli(['attach', '--help']);
  expect(await run.exitCode()).toBe(0);
  const options = [
    'socket',
    'listen',
    'busy-poll',
    'queues',
    'bridge',
    'stats',
    'queue-size',
    'address',
    'forward-mode',
    'respond',
    'pcap',
    'duration',
    'count',
  ];
  for (const option of [...options, 'persist', 'mtu', 'mac', 'json', 'txpkts', 'burst']) {
    expect(run.stdout).toContain(`--${option}`);
  }
  expect(run.stdout).toContain('Examples:');
});

describe('wrong usage is one line that says what is wrong, and exit code 2', () => {
  test.each([
    ['a command that does not exist', ['attahc'], /unknown command 'attahc'[\s\S]*attach/],
    [
      'an option that does not exist',
      ['attach', 't0', '--jsn'],
      /unknown option '--jsn'[\s\S]*--json/,
    ],
    ['no TAP', ['attach'], /attach needs a TAP, or --socket PATH/],
    ['a TAP and a socket', ['attach', 't0', '--socket', '/x'], /leave out t0/],
    ['a socket without a path', ['attach', '--socket', ''], /--socket needs a path/],
    ['nowhere to listen', ['attach', 't0', '--listen'], /--listen goes with --socket PATH/],
    [
      'an address for a socket',
      ['attach', '--socket', '/x', '--address', '10.0.0.1/24'],
      /--address is about a TAP, and --socket has none/,
    ],
    ['an MTU for a socket', ['attach', '--socket', '/x', '--mtu', '1400'], /--mtu is about a TAP/],
    ['a socket that persists', ['attach', '--socket', '/x', '--persist'], /--persist is about/],
    ['a worker for a socket', ['attach', '--socket', '/x', '--busy-poll', '9'], /--busy-poll is/],
    ['a back end that is none', ['attach', 't0', '--backend', 'qemu'], /in-process or user:PATH/],
    ['a back end nowhere', ['attach', '--backend', 'user:'], /in-process or user:PATH/],
    ['a TAP and a back end', ['attach', 't0', '--backend', 'user:/x'], /leave out t0/],
    [
      'two back ends',
      ['attach', '--backend', 'user:/x', '--socket', '/y'],
      /user:\/x and --socket \/y are two back ends: leave one out/,
    ],
    [
      'a back end to be waited for',
      ['attach', '--backend', 'user:/x', '--listen'],
      /--listen goes with --socket PATH/,
    ],
    ['a back end’s MTU', ['attach', '--backend', 'user:/x', '--mtu', '1400'], /--mtu is about a/],
    ['too many pairs', ['attach', '--socket', '/x', '--queues', '129'], /at most 128 queue pairs/],
    ['a name that is too long', ['attach', 'a-name-of-17-byte'], /17 bytes; the kernel allows 15/],
    ['a name with a slash', ['attach', 'a/b'], /'a\/b' cannot be the name/],
    [
      'a mode that does not exist',
      ['attach', 't0', '--forward-mode', 'nat'],
      /icmpecho, io, macswap/,
    ],
    ['icmpecho without an address', ['attach', 't0', '--forward-mode', 'icmpecho'], /--respond IP/],
    [
      'addresses for another mode',
      ['attach', 't0', '--forward-mode', 'rxonly', '--respond', '10.0.0.1'],
      /--respond goes with --forward-mode icmpecho/,
    ],
    ['io without a second TAP', ['attach', 't0', '--forward-mode', 'io'], /--bridge TAP2/],
    [
      'a second TAP for another mode',
      ['attach', 't0', '--forward-mode', 'macswap', '--bridge', 't1'],
      /--bridge goes with --forward-mode io, not macswap/,
    ],
    [
      'a bridge that answers',
      ['attach', 't0', '--bridge', 't1', '--respond', '10.0.0.1'],
      /--respond goes with --forward-mode icmpecho, not io/,
    ],
    ['a bridge to itself', ['attach', 't0', '--bridge', 't0'], /a second TAP, not the same/],
    ['a bridge to what is no name', ['attach', 't0', '--bridge', 'a/b'], /'a\/b' cannot be/],
    ['no queue pair', ['attach', 't0', '--queues', '0'], /from 1 to 256/],
    ['an offload that is none', ['attach', 't0', '--offload', 'csum,tso'], /csum,tso4,tso6/],
    ['a time that is no number', ['attach', 't0', '--busy-poll', 'long'], /from 0 to 1000000/],
    ['no interval', ['top', '--interval', '0.05'], /0\.1 seconds or more/],
    ['a TAP to watch that cannot be', ['top', 'a/b'], /'a\/b' cannot be the name/],
    ['an address that is none', ['attach', 't0', '--respond', '10.0.0.256'], /IPv4 or IPv6/],
    ['a prefix that is too long', ['attach', 't0', '--address', '10.0.0.1/33'], /10\.0\.0\.1\/24/],
    ['a ring size of 3', ['attach', 't0', '--queue-size', '3'], /power of two/],
    ['a ring size that is no number', ['attach', 't0', '--queue-size', 'many'], /2 to 32768/],
    ['a MAC that is none', ['attach', 't0', '--mac', '52:54'], /52:54:00:12:34:56/],
    ['an MTU out of range', ['attach', 't0', '--mtu', '65522'], /68 to 65521/],
    ['a count of 0', ['attach', 't0', '--count', '0'], /from 1/],
    ['a duration of 0', ['attach', 't0', '--duration', '0'], /above 0/],
    ['a broker without a socket', ['broker'], /--socket <PATH>/],
    ['a broker for nobody', ['broker', '--socket', '/x'], /allows nobody[\s\S]*hint: .*--allow/],
    [
      'an entry for no TAP',
      ['broker', '--socket', '/x', '--allow', '1000'],
      /1000:vnet0 or alice:vm1-\*/,
    ],
    [
      'a user who does not exist',
      ['broker', '--socket', '/x', '--allow', 'no-such-user:vnet0'],
      /no user 'no-such-user'/,
    ],
    [
      'an entry for a TAP that cannot be',
      ['broker', '--socket', '/x', '--allow', 'root:a/b'],
      /'a\/b' cannot be the name/,
    ],
    ['no command to run', ['exec', 't0', '--broker', '/x'], /missing required argument 'command'/],
    [
      'more queues than there are',
      ['exec', 't0', '--broker', '/x', '--queues', '257', '--', 'true'],
      /1 to 256/,
    ],
    ['a trace of nobody', ['trace', '/x'], /--to <SOCKET>/],
    [
      'a trace of itself',
      ['trace', '/tmp/x', '--to', '/tmp/../tmp/x'],
      /listen itself[\s\S]*trace --help/,
    ],
    ['a frame that is too short', ['attach', 't0', '--txpkts', '41'], /42 to/],
  ])('%s', async (_what, args, message) => {
    const run = cli(args);
    expect(await run.exitCode()).toBe(2);
    expect(run.stderr).toMatch(message);
    expect(run.stderr).not.toContain('    at ');
    expect(run.stdout).toBe('');
  });
});

test('exec says where no broker listens, and does not run the command', async () => {
  const run = cli(['exec', 't0', '--broker', '/nonexistent/socket', '--', 'echo', 'ran']);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toMatch(
    /^vhost-net: exec t0: ENOENT: .*connect\(AF_UNIX\) '\/nonexistent\/socket'\nhint: .+\n$/,
  );
  expect(run.stdout).toBe('');
});

test('a capture file that cannot be written is an error before anything is made', async () => {
  const run = cli(['attach', 'nopcap0', '--pcap', '/nonexistent/file.pcap']);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toMatch(/^vhost-net: attach nopcap0: ENOENT.*\/nonexistent\/file\.pcap/);
});

test('doctor --json is one document, and its exit code says whether the main job is possible', async () => {
  const run = cli(['doctor', '--json']);
  const code = await run.exitCode();
  const report = JSON.parse(run.stdout) as {
    possible: boolean;
    checks: { name: string; status: string; value: string; hint?: string }[];
  };
  expect(code).toBe(report.possible ? 0 : 3);
  expect(report.checks.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['kernel', 'node', 'rights', 'vhost-net', 'tun', 'kvm']),
  );
  for (const { status, value, hint } of report.checks) {
    expect(value).not.toBe('');
    if (status !== 'ok') expect(hint).toMatch(/\w+ \w+/);
  }
});

test.each([
  ['--socket', '/nonexistent/socket'],
  ['--backend', 'user:/nonexistent/socket'],
])('attach %s says where no vhost-user back end listens', async (option, where) => {
  const run = cli(['attach', option, where, '--forward-mode', 'rxonly']);
  expect(await run.exitCode()).toBe(1);
  expect(run.stderr).toMatch(
    /^vhost-net: attach: ENOENT: .*connect\(AF_UNIX\) '\/nonexistent\/socket'\nhint: .+\n$/,
  );
});

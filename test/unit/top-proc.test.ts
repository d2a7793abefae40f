import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { findHolders } from '../../tools/cli/top/holders.js';
import {
  devicesOf,
  interfaceOf,
  runTimeOf,
  statOf,
  vhostOwnerOf,
} from '../../tools/cli/top/proc-texts.js';

const STAT = (pid: number, name: string, parent: number) =>
  `${pid} (${name}) S ${parent} 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 4242 123 456 18446744073709551615\n`;

describe('the texts of /proc', () => {
  test('a name with brackets and blanks does not shift the fields of stat', () => {
    expect(statOf(STAT(7, 'a) S 9 (b', 3))).toEqual({
      name: 'a) S 9 (b',
      parent: 3,
      startTime: 4242,
    });
  });

  test('fdinfo of a TAP queue has its interface, one of another file none', () => {
    const flags = 'pos:\t0\nflags:\t0104002\nmnt_id:\t22\nino:\t5\n';
    expect(interfaceOf(`${flags}iff:\tvnet0\n`)).toBe('vnet0');
    expect(interfaceOf(`${flags}iff:\t\n`)).toBeUndefined();
    expect(interfaceOf(flags)).toBeUndefined();
  });

  test('net/dev has bytes, frames and drops of both directions', () => {
    const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1 2 0 0 0 0 0 0 1 2 0 0 0 0 0 0
 vnet0:    1100      11    0    3    0     0          0         0     2200      22    0    4    0     0       0          0
`;
    const devices = devicesOf(text);
    expect([...devices.keys()]).toEqual(['lo', 'vnet0']);
    expect(devices.get('vnet0')).toEqual({
      rxBytes: 1100,
      rxFrames: 11,
      rxDropped: 3,
      txBytes: 2200,
      txFrames: 22,
      txDropped: 4,
    });
  });

  test('schedstat begins with the time that a thread ran', () => {
    expect(runTimeOf('123456789 42 7\n')).toBe(123_456_789);
  });

  test('a vhost worker has the thread in its name that it works for', () => {
    expect(vhostOwnerOf('vhost-4711')).toBe(4711);
    expect(vhostOwnerOf('vhost-')).toBeUndefined();
    expect(vhostOwnerOf('my-vhost-1')).toBeUndefined();
  });
});

describe('a look through /proc', () => {
  let root = '';
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  function proc(files: Record<string, string>, links: Record<string, string>): string {
    root = mkdtempSync(join(tmpdir(), 'vhost-net-proc-'));
    const place = (path: string, make: (path: string) => void) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      make(join(root, path));
    };
    for (const [path, text] of Object.entries(files)) place(path, (at) => writeFileSync(at, text));
    for (const [path, target] of Object.entries(links)) {
      place(path, (at) => symlinkSync(target, at));
    }
    return root;
  }

  const common = {
    'self/stat': STAT(1, 'not a number', 1),
    '10/stat': STAT(10, 'qemu', 1),
    '10/fdinfo/3': 'iff:\tvm0\n',
    '10/fdinfo/4': 'iff:\tvm0\n',
    '10/fdinfo/5': 'iff:\tvm1\n',
    '11/stat': STAT(11, 'openvpn', 1),
    '11/fdinfo/3': 'iff:\ttun0\n',
    '12/stat': STAT(12, 'gone', 1),
  };
  const links = {
    '10/fd/3': '/dev/net/tun',
    '10/fd/4': '/dev/net/tun',
    '10/fd/5': '/dev/net/tun',
    '10/fd/6': '/dev/vhost-net',
    '10/fd/7': '/dev/vhost-net',
    '10/fd/8': 'socket:[1]',
    '11/fd/3': '/dev/net/tun',
  };

  test('finds the processes with vhost-net devices, and their queues of each TAP', () => {
    const [holder, ...others] = findHolders(proc(common, links));
    expect(others).toEqual([]);
    expect(holder).toMatchObject({ pid: 10, program: 'qemu', devices: 2 });
    expect([...(holder?.taps ?? [])]).toEqual([
      ['vm0', 2],
      ['vm1', 1],
    ]);
  });

  test('finds workers that are threads of the process (Linux 6.4 and newer)', () => {
    const files = { '10/task/10/comm': 'qemu\n', '10/task/14/comm': 'vhost-10\n' };
    const [holder] = findHolders(proc({ ...common, ...files }, links));
    expect(holder?.workers).toEqual([`${root}/10/task/14`]);
  });

  test('finds workers that are kernel threads, by any thread of the process (before 6.4)', () => {
    const files = {
      '10/task/10/comm': 'qemu\n',
      '10/task/13/comm': 'worker\n',
      '20/stat': STAT(20, 'vhost-13', 2),
      '21/stat': STAT(21, 'vhost-99', 2),
      // Anybody can take such a name; kernel threads have one parent.
      '22/stat': STAT(22, 'vhost-10', 1),
    };
    const [holder] = findHolders(proc({ ...common, ...files }, links));
    expect(holder?.workers).toEqual([`${root}/20`]);
  });
});

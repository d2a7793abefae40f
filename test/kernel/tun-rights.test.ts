import { chmodSync, statSync } from 'node:fs';
import { describe, onTestFinished, test } from 'vitest';
import { Tap } from '../../lib/index.js';
import { newTap } from '../support/device.js';
import { expectSystemError, thrownBy } from '../support/errors.js';
import { tapName } from '../support/host.js';

const SETIFF = 'ioctl(TUNSETIFF)';
const NOBODY = 65534;

/** Runs `call` without root's rights, on a node that anybody may open, as udev makes it. */
function asNobody<T>(call: () => T, uid = NOBODY, gid = NOBODY): T {
  const { mode } = statSync('/dev/net/tun');
  chmodSync('/dev/net/tun', 0o666);
  process.setegid?.(gid);
  process.seteuid?.(uid);
  try {
    return call();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
    chmodSync('/dev/net/tun', mode & 0o777);
  }
}

/** A TAP that outlives its descriptor until the test ends. */
function persistent(): Tap {
  const tap = newTap();
  tap.setPersist(true);
  onTestFinished(() => {
    const last = Tap.open(tap.interface.name);
    last.setPersist(false);
    last.close();
  });
  return tap;
}

describe('without CAP_NET_ADMIN', () => {
  test('making a TAP fails with EPERM', async () => {
    const name = tapName();
    await expectSystemError(() => asNobody(() => Tap.open(name)), 'EPERM', SETIFF, name);
  });

  test('opening a node that is root’s alone fails with EACCES', async () => {
    const { mode } = statSync('/dev/net/tun');
    chmodSync('/dev/net/tun', 0o600);
    process.seteuid?.(NOBODY);
    const error = await thrownBy(() => Tap.open('never')).finally(() => process.seteuid?.(0));
    chmodSync('/dev/net/tun', mode & 0o777);
    await expectSystemError(() => Promise.reject(error), 'EACCES', 'open', '/dev/net/tun');
  });

  test('the owner of a TAP may open it, another may not', async () => {
    const tap = persistent();
    const { name } = tap.interface;
    tap.setOwner(NOBODY);
    tap.close();
    asNobody(() => Tap.open(name)).close();
    await expectSystemError(() => asNobody(() => Tap.open(name), 4711), 'EPERM', SETIFF, name);
  });

  test('a member of the group of a TAP may open it, another may not', async () => {
    const tap = persistent();
    const { name } = tap.interface;
    tap.setGroup(4712);
    tap.close();
    asNobody(() => Tap.open(name), NOBODY, 4712).close();
    const other = () => asNobody(() => Tap.open(name), NOBODY, 4713);
    await expectSystemError(other, 'EPERM', SETIFF, name);
  });
});

import { describe, expect, test } from 'vitest';
import { type LinkChange, LinkMonitor } from '../../lib/index.js';
import { type Fd, native } from '../../lib/native.js';
import { keep, newTap } from '../support/device.js';
import { expectCode } from '../support/errors.js';
import { tapName, until } from '../support/host.js';
import { expectNoLeaks, leakSnapshot } from '../support/leaks.js';

const SIOCSIFNAME = 0x8923;
const IFREQ = 40;

/** Renames an interface that is down: any socket will do. */
function rename(from: string, to: string): void {
  const socket = keep(native.packetOpen() as Fd);
  const request = Buffer.alloc(IFREQ);
  request.write(from, 0);
  request.write(to, 16);
  expect(native.ioctl(socket, SIOCSIFNAME, request)).toBe(0);
}

/** A monitor and what it heard, of every interface. */
function listen(): { monitor: LinkMonitor; changes: LinkChange[] } {
  const monitor = keep(LinkMonitor.open());
  const changes: LinkChange[] = [];
  monitor.onChange(
    (change) => changes.push(change),
    () => changes.splice(0),
  );
  return { monitor, changes };
}

describe('a link monitor', () => {
  test('hears of an interface that appears, goes up, gets a carrier, goes down and is deleted', async () => {
    const { changes } = listen();
    const tap = newTap();
    const { index, name } = tap.interface;
    const heard = (wanted: Partial<LinkChange>) =>
      until(
        () =>
          changes.some(
            (change) =>
              change.index === index &&
              Object.entries(wanted).every(
                ([key, value]) => change[key as keyof LinkChange] === value,
              ),
          ),
        JSON.stringify(wanted),
      );
    await heard({ name, up: false, deleted: false });
    tap.interface.setUp();
    await heard({ name, up: true, running: true });
    changes.length = 0;
    tap.interface.setDown();
    await heard({ name, up: false, running: false, deleted: false });
    tap.close();
    await heard({ name, deleted: true });
  });

  test('hears the new name under the old index, which the TAP knows too', async () => {
    const tap = newTap();
    const { index, name } = tap.interface;
    const { changes } = listen();
    const other = tapName();
    rename(name, other);
    await until(() => changes.some((one) => one.index === index && one.name === other), 'the name');
    expect(tap.name).toBe(other);
    expect(tap.interface).toMatchObject({ name: other, index });
  });

  test('hears of an unplugged cable as up and not running', async () => {
    const tap = newTap();
    tap.interface.setUp();
    const { index } = tap.interface;
    const { changes } = listen();
    tap.setCarrier(false);
    await until(
      () => changes.some((one) => one.index === index && one.up && !one.running),
      'the cable is unplugged',
    );
  });

  test('hears nothing after it was closed, be it by its own listener', async () => {
    const monitor = keep(LinkMonitor.open());
    let heard = 0;
    monitor.onChange(
      () => {
        heard++;
        monitor.close();
      },
      () => {},
    );
    const tap = newTap();
    tap.interface.setUp();
    await until(() => heard > 0, 'the first change');
    tap.interface.setDown();
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(heard).toBe(1);
  });

  test('has one listener: ERR_BUSY', async () => {
    const { monitor } = listen();
    await expectCode(
      () =>
        monitor.onChange(
          () => {},
          () => {},
        ),
      'ERR_BUSY',
    );
  });

  test('leaves nothing behind', async () => {
    const before = await leakSnapshot();
    for (let i = 0; i < 10; i++) listen().monitor.close();
    await expectNoLeaks(before);
  });
});

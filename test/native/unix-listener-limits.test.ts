/** A listener that accepts by itself, in a process that has no descriptor left: who comes waits, and is accepted later. */
import { expect, test } from 'vitest';
import { runModule } from '../support/node-child.js';

test('it goes on when there are descriptors again, also for its own subscription', async () => {
  const { code, stdout, stderr } = await runModule(
    `
    import { closeSync, openSync } from 'node:fs';
    import { setTimeout } from 'node:timers/promises';
    import * as vhost from './lib/index.js';
    const listener = vhost.UnixListener.listen('./limited.sock', 'stream');
    const accepted = [];
    const codes = [];
    const taken = [];
    const take = () => {
      try {
        for (;;) taken.push(openSync('/dev/null'));
      } catch {}
    };
    listener.onSocket((socket) => accepted.push(socket) > 0, ({ code }) => {
      codes.push(code);
      // The one that it listened with as well, which is closed soon, and which it will want again.
      setTimeout(20).then(() => codes.length < 3 && take());
    });
    const client = vhost.UnixSocket.connect(listener.path, 'stream');
    take();
    while (codes.length < 3) await setTimeout(5);
    console.log(accepted.length, codes.slice(0, 3).join());
    taken.forEach((fd) => closeSync(fd));
    while (accepted.length === 0) await setTimeout(5);
    console.log(accepted.length);
    for (const one of [client, ...accepted, listener]) one.close();
    `,
    { files: 300 },
  );
  expect({ code, stdout, stderr }).toEqual({
    code: 0,
    stdout: '0 EMFILE,EMFILE,EMFILE\n1\n',
    stderr: '',
  });
});

test('it rests where who accepted says that there is no room, is busy meanwhile, and can be closed', async () => {
  const { code, stdout, stderr } = await runModule(`
    import { setTimeout } from 'node:timers/promises';
    import * as vhost from './lib/index.js';
    const listener = vhost.UnixListener.listen('./resting.sock', 'stream');
    const accepted = [];
    listener.onSocket((socket) => accepted.push(socket) > 2, console.log);
    const clients = [1, 2].map(() => vhost.UnixSocket.connect(listener.path, 'stream'));
    while (accepted.length === 0) await setTimeout(1);
    console.log(accepted.length);
    try {
      listener.onConnection(() => {});
    } catch ({ code }) {
      console.log(code);
    }
    while (accepted.length === 1) await setTimeout(1);
    console.log(accepted.length);
    for (const one of [...clients, ...accepted, listener]) one.close();
  `);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '1\nERR_BUSY\n2\n', stderr: '' });
});

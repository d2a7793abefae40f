/** A vhost-user back end whose process has no descriptor left: who is served goes on, and who comes waits or is turned away. */
import { expect, test } from 'vitest';
import { runModule } from '../support/node-child.js';

/** Each connection takes three here, its other end among them: one of three neighbours fails at each of them. */
test.each([300, 301, 302])(
  'front-ends beyond a limit of %i descriptors end nobody else',
  async (files) => {
    const { code, stdout, stderr } = await runModule(
      `
    import { setTimeout } from 'node:timers/promises';
    import * as vhost from './lib/index.js';
    const path = './limited-${files}.sock';
    const backend = vhost.VhostUserBackend.listen({ path });
    const codes = new Set();
    backend.on('error', ({ code }) => codes.add(code));
    const told = { connect: 0, disconnect: 0 };
    for (const event of Object.keys(told)) backend.on(event, () => void told[event]++);
    const idle = [];
    try {
      for (;;) {
        idle.push(vhost.UnixSocket.connect(path, 'stream'));
        await setTimeout(2);
      }
    } catch ({ code }) {
      codes.add(code);
    }
    // Time to be tried again, and to fail again.
    await setTimeout(300);
    console.log([...codes].join(), told.connect === backend.devices.size);
    for (const socket of idle) socket.close();
    while (backend.devices.size > 0) await setTimeout(2);
    const connection = new vhost.VhostUserConnection(vhost.UnixSocket.connect(path, 'stream'), { role: 'asks' });
    const requests = new vhost.VhostUserRequests(connection);
    const { payload } = await requests.request('VHOST_USER_GET_FEATURES', undefined);
    connection.close();
    while (backend.devices.size > 0) await setTimeout(2);
    console.log(payload !== 0n, told.connect === told.disconnect);
    backend.close();
    `,
      { files },
    );
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'EMFILE true\ntrue true\n',
      stderr: '',
    });
  },
);

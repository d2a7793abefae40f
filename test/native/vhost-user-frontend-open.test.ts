/** Front ends that cannot be opened, and what is left of them: nothing. */
import { describe, expect, test } from 'vitest';
import { UnixListener, VhostUserFrontend, type VhostUserRequestName } from '../../lib/index.js';
import { holdNothingLeaks } from '../support/cleanup.js';
import { expectCode, expectSystemError } from '../support/errors.js';
import { FakeBackEnd } from '../support/fake-back-end.js';
import { HANDSHAKE } from '../support/frontend-words.js';
import { kept, socketPath } from '../support/sockets.js';

holdNothingLeaks();

describe('a front end cannot be opened', () => {
  const HANDSHAKES = HANDSHAKE.map((name) => `VHOST_USER_${name}` as VhostUserRequestName);

  test.each(HANDSHAKES)('on a back end that hangs up at %s', async (step) => {
    const path = socketPath();
    FakeBackEnd.listen(path, { trouble: { [step]: 'hang up' } });
    await expectCode(() => VhostUserFrontend.open({ path }), 'ERR_VHOST_USER_DISCONNECTED');
  });

  test.each(['VHOST_USER_SET_OWNER', 'VHOST_USER_SET_BACKEND_REQ_FD'] as const)(
    'on a back end that refuses %s',
    async (step) => {
      const path = socketPath();
      FakeBackEnd.listen(path, { trouble: { [step]: 'refuse' } });
      await expectCode(() => VhostUserFrontend.open({ path }), 'ERR_VHOST_USER_REFUSED');
    },
  );

  test('on one that has too few queue pairs, or says nothing', async () => {
    const path = socketPath();
    const fake = FakeBackEnd.listen(path, { queuePairs: 2 });
    const few = VhostUserFrontend.open({ path, queuePairs: 3 });
    await expectCode(() => few, 'ERR_FEATURES_NOT_OFFERED');
    fake.options.trouble = { VHOST_USER_GET_FEATURES: 'silence' };
    const mute = VhostUserFrontend.open({ path, timeout: 20 });
    await expectCode(() => mute, 'ERR_VHOST_USER_DISCONNECTED');
  });

  test('on one that dies in the middle of a reply', async () => {
    const path = socketPath();
    const listener = kept(UnixListener.listen(path, 'stream'));
    listener.onConnection(() => {
      const socket = listener.accept();
      socket?.send(new Uint8Array([1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 1]));
      socket?.close();
    });
    const error = await expectCode(
      () => VhostUserFrontend.open({ path }),
      'ERR_VHOST_USER_DISCONNECTED',
    );
    expect(error.message).toMatch(/in the middle of VHOST_USER_GET_FEATURES/);
  });

  test('where nobody listens, or somebody else does', async () => {
    const path = socketPath();
    await expectSystemError(
      () => VhostUserFrontend.open({ path }),
      'ENOENT',
      'connect(AF_UNIX)',
      path,
    );
    kept(UnixListener.listen(path, 'stream'));
    const server = () => VhostUserFrontend.open({ path, mode: 'server' });
    await expectSystemError(server, 'EADDRINUSE', 'bind(AF_UNIX)', path);
  });

  test('once whoever waits for a back end has had enough', async () => {
    const path = socketPath();
    const reason = new Error('enough');
    const end = new AbortController();
    const open = VhostUserFrontend.open({ path, mode: 'server', signal: end.signal });
    end.abort(reason);
    await expect(open).rejects.toBe(reason);
    // The path is free again.
    kept(UnixListener.listen(path, 'stream'));
  });

  test.each([
    [{ path: '' }, 'ERR_INVALID_ARG_VALUE'],
    [{ path: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ path: 'a', mode: 'both' }, 'ERR_INVALID_ARG_VALUE'],
    [{ path: 'a', queuePairs: 129 }, 'ERR_OUT_OF_RANGE'],
    [{ path: 'a', reconnect: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ path: 'a', timeout: 2 ** 31 }, 'ERR_OUT_OF_RANGE'],
  ])('with the options %o', async (options, code) => {
    await expectCode(() => VhostUserFrontend.open(options as never), code);
  });
});

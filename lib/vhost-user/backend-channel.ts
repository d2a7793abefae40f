/** BackendChannel: what a back end asks of its front-end, on the socket that it was given for that. */
import type { UnixSocket } from '../host/unix-socket.js';
import { logVhostUser } from '../log.js';
import { VhostUserConnection } from './connection.js';
import { VhostUserRequests } from './requests.js';

type Told =
  | 'VHOST_USER_BACKEND_VRING_CALL'
  | 'VHOST_USER_BACKEND_VRING_ERR'
  | 'VHOST_USER_BACKEND_CONFIG_CHANGE_MSG';

export class BackendChannel {
  readonly #connection: VhostUserConnection;

  /** Owns the socket. Throws `EMFILE`; then it is closed. */
  constructor(socket: UnixSocket, replyAck: boolean) {
    this.#connection = new VhostUserConnection(socket, { requester: 'back-end', role: 'asks' });
    this.#connection.on('close', (error) => {
      if (error) logVhostUser('the back-end’s socket ended: %o', error);
    });
    try {
      new VhostUserRequests(this.#connection).replyAck = replyAck;
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  /** Tells of a ring. */
  ring(index: number, what: 'call' | 'err'): void {
    this.#tell(`VHOST_USER_BACKEND_VRING_${what === 'call' ? 'CALL' : 'ERR'}`, { index, num: 0 });
  }

  /** Tells that the configuration is another now. */
  configChanged(): void {
    this.#tell('VHOST_USER_BACKEND_CONFIG_CHANGE_MSG', undefined);
  }

  close(): void {
    this.#connection.close();
  }

  /** Who closed the socket, or does not read it, is not told. */
  #tell(name: Told, payload: { index: number; num: number } | undefined): void {
    try {
      this.#connection.sendRequest(name, payload);
    } catch (error) {
      logVhostUser('not told: %s %o %o', name, payload, error);
    }
  }
}

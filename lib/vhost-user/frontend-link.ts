/** FrontendLink: how a front end comes to a back end, loses it, and comes to another. */
import { EventEmitter } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { closedError } from '../errors.js';
import { logVhostUser } from '../log.js';
import { type Connector, openConnector } from './connector.js';
import { disconnected } from './errors.js';
import type { CheckedFrontendOptions } from './frontend-options.js';
import { openSession } from './handshake.js';
import type { Session } from './session.js';
import { tell } from './tell.js';

export interface VhostUserFrontendEvents {
  /**
   * The back end is there and serves the rings, or is not: then `error` is what ended the connection, undefined
   * where the other end closed it between two messages.
   */
  link: [up: boolean, error?: Error];
  /** The back end says that the device's configuration is another now. */
  config: [];
}

/** What a front end begins with. */
export interface Connected {
  options: CheckedFrontendOptions;
  connector: Connector;
  session: Session;
}

export abstract class FrontendLink extends EventEmitter<VhostUserFrontendEvents> {
  /** @internal */
  protected readonly options: CheckedFrontendOptions;
  /** @internal Undefined while no back end is there. */
  protected session: Session | undefined;
  readonly #connector: Connector;
  #protocolFeatures = 0n;
  /** What must not overlap: starts, stops, and going on with another back end. */
  #last: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  /** Aborted when nothing goes on any more. */
  readonly #end = new AbortController();

  /** @internal */
  protected constructor({ options, connector, session }: Connected) {
    super();
    this.options = options;
    this.#connector = connector;
    this.#adopt(session);
  }

  /** @internal Comes to the first back end; where that fails nothing stays open. */
  protected static async connect(options: CheckedFrontendOptions): Promise<Connected> {
    const { path, mode, queuePairs, signal = new AbortController().signal } = options;
    const connector = openConnector(path, mode);
    try {
      const needed = { features: 0n, queuePairs };
      const session = await openSession(await connector.next(signal), { ...options, needed });
      return { options, connector, session };
    } catch (error) {
      connector.close();
      throw error;
    }
  }

  /** The protocol features that both ends have; of a back end that is gone, had. */
  get protocolFeatures(): bigint {
    return this.#protocolFeatures;
  }

  /** Whether the back end is there. What is started while it is not runs as soon as it is. */
  get linkUp(): boolean {
    return this.session !== undefined;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Stops, lets go of the memory, and gives everything back. Closing twice is no error. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal Features without which another back end cannot go on. */
  protected abstract get neededFeatures(): bigint;
  /** @internal The back end went away. */
  protected abstract lost(): void;
  /** @internal Another is there: it is to have all that the one before had. */
  protected abstract replay(session: Session): Promise<void>;
  /** @internal Nothing is served any more. */
  protected abstract release(): Promise<void>;

  /** @internal */
  protected assertOpen(): void {
    if (this.closed) throw closedError('the backend');
  }

  /** @internal The session. Throws `ERR_CLOSED`, `ERR_VHOST_USER_DISCONNECTED`. */
  protected get present(): Session {
    this.assertOpen();
    if (!this.session) throw disconnected('and was not made again yet');
    return this.session;
  }

  /** @internal Whether a back end is there, or will be. */
  protected get hopeful(): boolean {
    return this.session !== undefined || this.options.reconnect !== 'never';
  }

  /** @internal Does `work` when all before it is done, however that ended. */
  protected inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async #close(): Promise<void> {
    // Who is about to come is not waited for.
    if (!this.session) this.#end.abort();
    await this.inTurn(() => this.release());
    this.#end.abort();
    this.session?.close();
    this.session = undefined;
    this.#connector.close();
  }

  #adopt(session: Session): void {
    this.session = session;
    this.#protocolFeatures = session.protocolFeatures;
    session.onConfigChanged = () => tell(() => this.emit('config'));
    session.connection.once('close', (error) => this.#lose(session, error));
  }

  #lose(session: Session, error: Error | undefined): void {
    if (this.session !== session) return;
    this.session = undefined;
    if (this.#end.signal.aborted) return;
    this.lost();
    if (!this.closed) void this.#reconnect();
    tell(() => this.emit('link', false, error));
  }

  async #reconnect(): Promise<void> {
    const { reconnect, queuePairs } = this.options;
    const { signal } = this.#end;
    while (reconnect !== 'never' && !signal.aborted) {
      try {
        await delay(reconnect, undefined, { signal, ref: false });
        const socket = await this.#connector.next();
        const needed = { features: this.neededFeatures, queuePairs };
        const session = await openSession(socket, { ...this.options, needed, signal });
        await this.inTurn(() => this.#goOn(session, signal));
        return;
      } catch (error) {
        logVhostUser('no back end yet: %o', error);
      }
    }
  }

  async #goOn(session: Session, signal: AbortSignal): Promise<void> {
    const abort = () => session.close();
    signal.addEventListener('abort', abort);
    session.connection.once('close', () => signal.removeEventListener('abort', abort));
    try {
      signal.throwIfAborted();
      await this.replay(session);
      if (session.closed) throw disconnected('before the rings were served');
    } catch (error) {
      session.close();
      throw error;
    }
    this.#adopt(session);
    tell(() => this.emit('link', true));
  }
}

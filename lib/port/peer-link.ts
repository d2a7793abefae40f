/** The link of a port on a socket: it is up while the back end is there. */
import type { VhostBackend } from '../vhost/backend.js';
import { VhostUserFrontend } from '../vhost-user/frontend.js';
import type { LinkListener, PortLink } from './link-state.js';

export class PeerLink implements PortLink {
  readonly #listener: LinkListener;
  readonly #hear: (up: boolean) => void;
  /** Undefined while somebody else serves the rings, who is always there. */
  #frontend: VhostUserFrontend | undefined;

  constructor(frontend: VhostUserFrontend, listener: LinkListener) {
    this.#listener = listener;
    this.#hear = (up) => listener.changed(up);
    this.#frontend = frontend.on('link', this.#hear);
  }

  get up(): boolean {
    return this.#frontend?.linkUp ?? true;
  }

  isUpNow(): boolean {
    return this.up;
  }

  follow(backend: VhostBackend, before: boolean): void {
    this.close();
    this.#frontend = backend instanceof VhostUserFrontend ? backend : undefined;
    this.#frontend?.on('link', this.#hear);
    if (this.up !== before) this.#listener.changed(this.up);
  }

  close(): void {
    this.#frontend?.off('link', this.#hear);
  }
}

/** BackendConfigSpace: the device's configuration as one front-end reads and writes it. */
import { checkInteger, StateError, typeError } from '../errors.js';
import { VHOST_USER_MAX_CONFIG_SIZE } from '../uapi/vhost-user.js';

export class BackendConfigSpace {
  /** Undefined where the back end has none. */
  readonly #bytes: Uint8Array | undefined;

  constructor(bytes: Uint8Array | undefined) {
    this.#bytes = bytes?.slice();
  }

  /** A copy. */
  get bytes(): Uint8Array | undefined {
    return this.#bytes?.slice();
  }

  /** A copy of `length` bytes, or undefined where they are not all there. */
  read(offset: number, length: number): Uint8Array | undefined {
    if (!this.#has(offset, length)) return undefined;
    return this.#bytes?.slice(offset, offset + length);
  }

  /** Throws `ERR_FEATURES_NOT_OFFERED` without a configuration, `ERR_OUT_OF_RANGE` beyond its end. */
  write(offset: number, bytes: Uint8Array): void {
    if (!this.#bytes) {
      throw new StateError(
        'ERR_FEATURES_NOT_OFFERED',
        'the back end has no configuration',
        'open it with `config`',
      );
    }
    checkInteger('offset', offset, 0, this.#bytes.length);
    checkInteger('the length', bytes.length, 0, this.#bytes.length - offset);
    this.#bytes.set(bytes, offset);
  }

  #has(offset: number, length: number): boolean {
    return offset + length <= (this.#bytes?.length ?? 0);
  }
}

/** Throws `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE` for what no message has room for. */
export function checkConfig(config: Uint8Array | undefined): Uint8Array | undefined {
  if (config === undefined) return undefined;
  if (!(config instanceof Uint8Array)) throw typeError('config must be a Uint8Array');
  checkInteger('the length of config', config.length, 1, VHOST_USER_MAX_CONFIG_SIZE);
  return config;
}

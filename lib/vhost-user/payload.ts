/** What a kind of payload is to the codec, and the simplest kinds. */
import type { Struct } from './struct.js';

/** Bytes of the longest payload: far above any of the specification's, far below a burden. */
export const LONGEST_PAYLOAD = 4096;

/** How JavaScript tells the kinds apart that one message may have. */
export type Shape = 'undefined' | 'bigint' | 'array' | 'bytes' | 'object';

/** One kind of payload. What is wrong with one is thrown as an `Error` that says it. */
export interface Payload<T> {
  readonly shape: Shape;
  /** Whether a payload may have so many bytes. */
  readonly fits: (size: number) => boolean;
  /** Which sizes those are, for people. */
  readonly sizes: string;
  /** Bytes of this value. */
  readonly sizeOf: (value: T) => number;
  readonly read: (view: DataView) => T;
  readonly write: (view: DataView, value: T) => void;
  /** Throws for what fits and cannot be meant, before it is sent and after it was received. */
  readonly check?: (value: T) => void;
}

/** What payloads of one size have in common. */
export function ofSize(size: number, shape: Shape = 'object') {
  return {
    shape,
    fits: (bytes: number) => bytes === size,
    sizes: `${size}`,
    sizeOf: () => size,
  };
}

/** A payload that is one struct. */
export function structPayload<T>(layout: Struct<T>, check?: (value: T) => void): Payload<T> {
  return {
    ...ofSize(layout.size),
    read: (view) => layout.read(view),
    write: (view, value) => layout.write(view, value),
    ...(check && { check }),
  };
}

/** A payload that is bytes to the protocol, and has a meaning elsewhere. */
export function bytesPayload(least: number, most: number): Payload<Uint8Array> {
  return {
    shape: 'bytes',
    fits: (bytes) => bytes >= least && bytes <= most,
    sizes: least === most ? `${least}` : `${least} to ${most}`,
    sizeOf: (value) => value.length,
    read: (view) => bytesOf(view).slice(),
    write: (view, value) => bytesOf(view).set(value),
  };
}

/** The bytes behind a view. */
export function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** No payload. */
export const NOTHING: Payload<undefined> = {
  ...ofSize(0, 'undefined'),
  read: () => undefined,
  write: () => undefined,
};

/** Which shape a value has; undefined for one that no payload has. */
export function shapeOf(value: unknown): Shape | undefined {
  if (value === undefined) return 'undefined';
  if (typeof value === 'bigint') return 'bigint';
  if (Array.isArray(value)) return 'array';
  if (value instanceof Uint8Array) return 'bytes';
  return typeof value === 'object' && value !== null ? 'object' : undefined;
}

/** C structs of fixed layout, told by their fields: read and written as natural alignment has them. */
import { checkInteger, checkUint64 } from '../errors.js';

const BYTES = { u8: 1, u16: 2, u32: 4, u64: 8 } as const;
const LITTLE_ENDIAN = true;

type FieldType = keyof typeof BYTES;
type Fields = Readonly<Record<string, FieldType>>;
type Values<F extends Fields> = { -readonly [K in keyof F]: F[K] extends 'u64' ? bigint : number };

export interface Struct<T> {
  /** Bytes, padding at the end included. */
  readonly size: number;
  read(view: DataView, at?: number): T;
  /** Throws for a value that its field cannot hold; padding is left as it is. */
  write(view: DataView, value: T, at?: number): void;
}

/**
 * A struct of these fields, in this order, each aligned to its size. `size` where the struct is longer,
 * or ends earlier than its alignment would have it. The protocol's byte order is the machine's, which
 * `lib/native.ts` holds to be little-endian.
 */
export function struct<const F extends Fields>(fields: F, size?: number): Struct<Values<F>> {
  let end = 0;
  const layout = Object.entries(fields).map(([name, type]) => {
    const bytes = BYTES[type];
    const offset = Math.ceil(end / bytes) * bytes;
    end = offset + bytes;
    return { name, type, offset };
  });
  return {
    size: size ?? end,
    read(view, at = 0) {
      const value: Record<string, number | bigint> = {};
      for (const { name, type, offset } of layout) value[name] = readField(view, type, at + offset);
      return value as Values<F>;
    },
    write(view, value, at = 0) {
      for (const { name, type, offset } of layout) {
        writeField(view, type, at + offset, name, (value as Record<string, unknown>)[name]);
      }
    },
  };
}

function readField(view: DataView, type: FieldType, at: number): number | bigint {
  switch (type) {
    case 'u8':
      return view.getUint8(at);
    case 'u16':
      return view.getUint16(at, LITTLE_ENDIAN);
    case 'u32':
      return view.getUint32(at, LITTLE_ENDIAN);
    default:
      return view.getBigUint64(at, LITTLE_ENDIAN);
  }
}

function writeField(view: DataView, type: FieldType, at: number, name: string, value: unknown) {
  if (type === 'u64') return view.setBigUint64(at, checkUint64(name, value), LITTLE_ENDIAN);
  const number = checkInteger(name, value, 0, 2 ** (8 * BYTES[type]) - 1);
  if (type === 'u8') view.setUint8(at, number);
  else if (type === 'u16') view.setUint16(at, number, LITTLE_ENDIAN);
  else view.setUint32(at, number, LITTLE_ENDIAN);
}

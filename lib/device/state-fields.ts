/**
 * The fields of a saved state. It comes from outside: whatever is wrong with one is the same kind of error,
 * which names the field.
 */
import { valueError } from '../errors.js';

/** Says why a state is refused. */
export function stateError(reason: string): TypeError {
  return valueError(`the state cannot be this card's: ${reason}`);
}

/** A whole number from 0 to `most`. Throws `ERR_INVALID_ARG_VALUE`, as all of these. */
export function checkNumber(name: string, value: unknown, most: number): void {
  if (Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most) return;
  throw stateError(`${name} is ${shown(value)}, not 0 to ${most}`);
}

export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== 'boolean') throw stateError(`${name} is ${shown(value)}, not true or false`);
}

/** A number of up to `bits` bits, `'0x…'`. */
export function checkHex(name: string, value: unknown, bits: number): void {
  if (typeof value === 'string' && /^0x[0-9a-f]{1,32}$/i.test(value)) {
    if (BigInt(value) >> BigInt(bits) === 0n) return;
  }
  throw stateError(`${name} is ${shown(value)}, not '0x…' of ${bits} bits`);
}

/** `length` bytes, two digits each. */
export function checkBytes(name: string, value: unknown, length: number): void {
  const fits = typeof value === 'string' && value.length === 2 * length;
  if (!fits || !/^[0-9a-f]*$/i.test(value)) throw stateError(`${name} is not ${length} bytes`);
}

/** A list of MAC addresses of at most `most`. */
export function checkMacs(name: string, value: unknown, most: number): void {
  checkList(name, value, most);
  for (const mac of value as unknown[]) {
    if (typeof mac === 'string' && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(mac)) continue;
    throw stateError(`${name} has ${shown(mac)}, which is no MAC address`);
  }
}

export function checkList(name: string, value: unknown, most: number): void {
  if (!Array.isArray(value)) throw stateError(`${name} is no list`);
  if (value.length > most) throw stateError(`${name} has ${value.length} items, and not ${most}`);
}

export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw stateError(`${name} is missing`);
}

/** As much of it as an error needs. */
function shown(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, 40);
}

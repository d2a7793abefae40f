/** Power: the ports by which a guest switches itself off or resets itself; `acpi/tables.ts` names them. */
import type { BusDevice } from './bus.js';

export const POWER_PORT = 0x600;
export const POWER_PORTS = 4;
/** Offsets of the registers. */
export const SLEEP_CONTROL = 0;
export const SLEEP_STATUS = 1;
export const RESET = 2;
export const RESET_VALUE = 1;
/** What the tables give as the type of S5, off. */
export const SLEEP_TYPE_OFF = 5;

const SLEEP_ENABLE = 0x20;

/** The keyboard controller's command port, by which Linux resets a machine where ACPI failed. */
export const KEYBOARD_PORT = 0x64;
const KEYBOARD_RESET = 0xfe;

/**
 * Firmware of four instructions, for the reset vector: `mov dx, port; mov al, value; out dx, al; hlt`. Where
 * ACPI's hardware is reduced, Linux takes a machine for one with EFI, asks that for a reset, and as there is
 * none jumps to the firmware as a PC of old.
 */
export const RESET_CODE = Uint8Array.of(
  ...[0xba, (POWER_PORT + RESET) & 0xff, (POWER_PORT + RESET) >> 8],
  ...[0xb0, RESET_VALUE, 0xee, 0xf4],
);

export type PowerEvent = 'poweroff' | 'reset';

export class Power implements BusDevice {
  readonly #on: (event: PowerEvent) => void;

  constructor(on: (event: PowerEvent) => void) {
    this.#on = on;
  }

  read(_offset: number, length: number): Uint8Array {
    return new Uint8Array(length);
  }

  write(offset: number, bytes: Uint8Array): undefined {
    const [value = 0] = bytes;
    const off = SLEEP_ENABLE | (SLEEP_TYPE_OFF << 2);
    if (offset === SLEEP_CONTROL && (value & 0x3c) === off) this.#on('poweroff');
    if (offset === RESET && value === RESET_VALUE) this.#on('reset');
  }
}

/** No keyboard: its status reads 0, nothing to take and nothing full, and one command is heard. */
export class KeyboardReset implements BusDevice {
  readonly #on: (event: PowerEvent) => void;

  constructor(on: (event: PowerEvent) => void) {
    this.#on = on;
  }

  read(_offset: number, length: number): Uint8Array {
    return new Uint8Array(length);
  }

  write(_offset: number, bytes: Uint8Array): undefined {
    if (bytes[0] === KEYBOARD_RESET) this.#on('reset');
  }
}

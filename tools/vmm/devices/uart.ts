/** Uart: a 16550A serial port, of which Linux makes a console. */
import type { BusDevice } from './bus.js';

/** Registers, by offset; the first two are others while DLAB is set. */
const DATA = 0;
const INTERRUPT_ENABLE = 1;
const INTERRUPT_ID = 2;
const LINE_CONTROL = 3;
const MODEM_CONTROL = 4;
const LINE_STATUS = 5;
const MODEM_STATUS = 6;
const SCRATCH = 7;

const ENABLE_RECEIVED = 1;
const ENABLE_SENT = 2;
/** Interrupts in order of rank, as InterruptId tells them; both FIFOs are on. */
const NO_INTERRUPT = 0xc1;
const SENT = 0xc2;
const RECEIVED = 0xc4;
const DIVISOR_LATCH = 0x80;
const LOOPBACK = 0x10;
const DATA_READY = 1;
/** All that was sent is gone, at once. */
const SENDER_EMPTY = 0x60;
/** Carrier, ready and clear to send. */
const CONNECTED = 0xb0;

export class Uart implements BusDevice {
  readonly #send: (byte: number) => void;
  readonly #setLine: (level: boolean) => void;
  readonly #received: number[] = [];
  #enabled = 0;
  #lineControl = 0;
  #modemControl = 0;
  #scratch = 0;
  #divisor = 12;
  /** Whether the guest was not yet told that it may send more. */
  #sent = false;
  #level = false;

  constructor(send: (byte: number) => void, setLine: (level: boolean) => void) {
    this.#send = send;
    this.#setLine = setLine;
  }

  /** What comes in from the terminal; the guest takes it at its own pace. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.#received.push(byte);
    this.#interrupt();
  }

  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    bytes[0] = this.#register(offset);
    return bytes;
  }

  write(offset: number, bytes: Uint8Array): undefined {
    const [value = 0] = bytes;
    const latch = (this.#lineControl & DIVISOR_LATCH) !== 0;
    if (latch && offset === DATA) this.#divisor = (this.#divisor & 0xff00) | value;
    else if (latch && offset === INTERRUPT_ENABLE)
      this.#divisor = (this.#divisor & 0xff) | (value << 8);
    else if (offset === DATA) this.#transmit(value);
    else if (offset === INTERRUPT_ENABLE) this.#enable(value);
    else if (offset === LINE_CONTROL) this.#lineControl = value;
    else if (offset === MODEM_CONTROL) this.#modemControl = value;
    else if (offset === SCRATCH) this.#scratch = value;
    this.#interrupt();
  }

  #register(offset: number): number {
    const latch = (this.#lineControl & DIVISOR_LATCH) !== 0;
    switch (offset) {
      case DATA:
        return latch ? this.#divisor & 0xff : this.#take();
      case INTERRUPT_ENABLE:
        return latch ? this.#divisor >> 8 : this.#enabled;
      case INTERRUPT_ID:
        return this.#identify();
      case LINE_CONTROL:
        return this.#lineControl;
      case MODEM_CONTROL:
        return this.#modemControl;
      case LINE_STATUS:
        return SENDER_EMPTY | (this.#received.length > 0 ? DATA_READY : 0);
      case MODEM_STATUS:
        return this.#modemControl & LOOPBACK ? loopedBack(this.#modemControl) : CONNECTED;
      default:
        return this.#scratch;
    }
  }

  #take(): number {
    const byte = this.#received.shift() ?? 0;
    this.#interrupt();
    return byte;
  }

  #transmit(byte: number): void {
    if (this.#modemControl & LOOPBACK) this.#received.push(byte);
    else this.#send(byte);
    this.#sent = true;
  }

  #enable(value: number): void {
    // An idle port says so as soon as somebody wants to hear it.
    if (value & ~this.#enabled & ENABLE_SENT) this.#sent = true;
    this.#enabled = value & 0xf;
  }

  /** Which interrupt there is. Having read that more may be sent takes that one back. */
  #identify(): number {
    const pending = this.#pending();
    if (pending === SENT) {
      this.#sent = false;
      this.#interrupt();
    }
    return pending;
  }

  #pending(): number {
    if (this.#enabled & ENABLE_RECEIVED && this.#received.length > 0) return RECEIVED;
    if (this.#enabled & ENABLE_SENT && this.#sent) return SENT;
    return NO_INTERRUPT;
  }

  #interrupt(): void {
    const level = this.#pending() !== NO_INTERRUPT;
    if (level === this.#level) return;
    this.#level = level;
    this.#setLine(level);
  }
}

/** What a port in loopback sees on its modem lines: what it drives itself, by which Linux knows a 16550. */
function loopedBack(modemControl: number): number {
  const dtr = modemControl & 1;
  const rts = (modemControl >> 1) & 1;
  const out1 = (modemControl >> 2) & 1;
  const out2 = (modemControl >> 3) & 1;
  return (rts << 4) | (dtr << 5) | (out1 << 6) | (out2 << 7);
}

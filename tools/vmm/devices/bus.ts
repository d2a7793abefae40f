/** Bus: what answers at which addresses, memory's or ports'. */

/** What sits on a bus. `offset` counts from where it sits. */
export interface BusDevice {
  read(offset: number, length: number): Uint8Array;
  /** A promise where the processor is to wait. */
  write(offset: number, bytes: Uint8Array): Promise<void> | undefined;
}

export interface Mapping {
  readonly start: number;
  readonly length: number;
  readonly device: BusDevice;
  /** Times that a processor left the guest for it. */
  accesses: number;
}

export class Bus {
  readonly #mappings: Mapping[] = [];
  /** Where the last access was: the next is often there. */
  #last: Mapping | undefined;

  add(start: number, length: number, device: BusDevice): Mapping {
    const mapping: Mapping = { start, length, device, accesses: 0 };
    this.#mappings.push(mapping);
    return mapping;
  }

  remove(mapping: Mapping): void {
    const index = this.#mappings.indexOf(mapping);
    if (index >= 0) this.#mappings.splice(index, 1);
    if (this.#last === mapping) this.#last = undefined;
  }

  /** Where nobody answers, a read gives ones. */
  read(address: number, length: number): Uint8Array {
    const mapping = this.#find(address);
    if (!mapping) return new Uint8Array(length).fill(0xff);
    mapping.accesses++;
    return mapping.device.read(address - mapping.start, length);
  }

  /** Where nobody answers, a write is lost. */
  write(address: number, bytes: Uint8Array): Promise<void> | undefined {
    const mapping = this.#find(address);
    if (!mapping) return undefined;
    mapping.accesses++;
    return mapping.device.write(address - mapping.start, bytes);
  }

  #find(address: number): Mapping | undefined {
    const has = ({ start, length }: Mapping) => address >= start && address < start + length;
    if (this.#last && has(this.#last)) return this.#last;
    this.#last = this.#mappings.find(has);
    return this.#last;
  }
}

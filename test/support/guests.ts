/**
 * Guests of a few bytes for `native.kvmRunGuest`: 16-bit code at 0x1000 of one megabyte of memory,
 * `%cs` 0. Port 0xe9 prints, port 0xf4 ends.
 */

/** Machine code from lines of hexadecimal bytes, each with its assembly after `;`. */
function assemble(listing: string): Uint8Array {
  const bytes = listing
    .split('\n')
    .flatMap((line) => (line.split(';')[0] ?? '').match(/[0-9a-f]{2}/g) ?? []);
  return Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16));
}

/** Writes 7 to port 0x510 (a byte) and 0x1234 to port 0x512 (a word), prints `p`. */
export const PIO_GUEST = assemble(`
  ba 10 05           ; mov $0x510, %dx
  b0 07              ; mov $7, %al
  ee                 ; out %al, (%dx)
  b8 34 12           ; mov $0x1234, %ax
  ba 12 05           ; mov $0x512, %dx
  ef                 ; out %ax, (%dx)
  b0 70              ; mov $'p', %al
  e6 e9              ; out %al, $0xe9
  e6 f4              ; out %al, $0xf4
`);

/**
 * Writes 7 to 0x100000 (a byte), 0x12345678 to 0x100010 (a double word) and 0x1234 to 0x100020 (a
 * word), where it has no memory, prints `m`.
 */
export const MMIO_GUEST = assemble(`
  b8 ff ff           ; mov $0xffff, %ax
  8e d8              ; mov %ax, %ds
  b0 07              ; mov $7, %al
  a2 10 00           ; mov %al, 0x10
  66 b8 78 56 34 12  ; mov $0x12345678, %eax
  66 a3 20 00        ; mov %eax, 0x20
  b8 34 12           ; mov $0x1234, %ax
  a3 30 00           ; mov %ax, 0x30
  b0 6d              ; mov $'m', %al
  e6 e9              ; out %al, $0xe9
  e6 f4              ; out %al, $0xf4
`);

/** Vectors 0x20 and 0x28 for the two interrupt controllers, of which only line 5 is open. */
const OPEN_LINE_5 = `
  fa                 ; cli
  31 c0              ; xor %ax, %ax
  8e d8              ; mov %ax, %ds
  8e d0              ; mov %ax, %ss
  bc 00 80           ; mov $0x8000, %sp
  b0 11              ; mov $0x11, %al
  e6 20              ; out %al, $0x20
  e6 a0              ; out %al, $0xa0
  b0 20              ; mov $0x20, %al
  e6 21              ; out %al, $0x21
  b0 28              ; mov $0x28, %al
  e6 a1              ; out %al, $0xa1
  b0 04              ; mov $4, %al
  e6 21              ; out %al, $0x21
  b0 02              ; mov $2, %al
  e6 a1              ; out %al, $0xa1
  b0 01              ; mov $1, %al
  e6 21              ; out %al, $0x21
  e6 a1              ; out %al, $0xa1
  b0 df              ; mov $0xdf, %al
  e6 21              ; out %al, $0x21
  b0 ff              ; mov $0xff, %al
  e6 a1              ; out %al, $0xa1
`;

/** Writes to port 0xe0 and halts until line 5 interrupts it, prints `i` and ends. */
export const EDGE_GUEST = assemble(`${OPEN_LINE_5}
  c7 06 94 00 3e 10  ; movw $handler, 0x94
  8c 0e 96 00        ; mov %cs, 0x96
  e6 e0              ; out %al, $0xe0
  fb                 ; sti
  f4                 ; 1: hlt
  eb fd              ; jmp 1b
  b0 69              ; handler: mov $'i', %al
  e6 e9              ; out %al, $0xe9
  b0 20              ; mov $0x20, %al
  e6 20              ; out %al, $0x20
  e6 f4              ; out %al, $0xf4
`);

/**
 * Writes to port 0xe0 and halts until line 5, which it takes by level, interrupted it twice; prints
 * `l` each time. Then it stays open to a third for 4096 turns, and ends.
 */
export const LEVEL_GUEST = assemble(`${OPEN_LINE_5}
  ba d0 04           ; mov $0x4d0, %dx
  b0 20              ; mov $0x20, %al
  ee                 ; out %al, (%dx)
  c7 06 94 00 52 10  ; movw $handler, 0x94
  8c 0e 96 00        ; mov %cs, 0x96
  31 db              ; xor %bx, %bx
  e6 e0              ; out %al, $0xe0
  fb                 ; 1: sti
  f4                 ; hlt
  fa                 ; cli
  83 fb 02           ; cmp $2, %bx
  72 f8              ; jb 1b
  b9 00 10           ; mov $4096, %cx
  fb                 ; sti
  e2 fe              ; 2: loop 2b
  e6 f4              ; out %al, $0xf4
  43                 ; handler: inc %bx
  b0 6c              ; mov $'l', %al
  e6 e9              ; out %al, $0xe9
  b0 20              ; mov $0x20, %al
  e6 20              ; out %al, $0x20
  cf                 ; iret
`);

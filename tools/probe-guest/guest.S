# The guest that shows whether a /dev/kvm runs real guests (lib/host/kvm-probe.ts holds it assembled):
#   as -o guest.o guest.S && ld -Ttext=0x1000 --oformat=binary -o guest.bin guest.o
#
# It goes from real mode to 64-bit mode with paging as a kernel does, takes an exception there and
# returns from it. A KVM that only emulates gets as far as the first letter.
# Port 0xe9 prints, port 0xf4 ends.
.code16
.globl _start
_start:
  cli
  xorw %ax,%ax
  movw %ax,%ds
  movw %ax,%es
  movw %ax,%ss

  lgdtl gdtr
  movl %cr0,%eax
  orl $1,%eax
  movl %eax,%cr0
  ljmpl $8,$prot
.code32
prot:
  movw $16,%ax
  movw %ax,%ds
  movw %ax,%es
  movw %ax,%ss
  # PML4 at 0x10000, PDPT at 0x11000, a directory at 0x12000 with one page of 2 MiB
  movl $0x10000,%edi
  xorl %eax,%eax
  movl $0xc00,%ecx
  rep stosl
  movl $0x11003,0x10000
  movl $0x12003,0x11000
  movl $0x83,0x12000
  movl $0x10000,%eax
  movl %eax,%cr3
  movl %cr4,%eax
  orl $0x20,%eax
  movl %eax,%cr4
  movl $0xc0000080,%ecx
  rdmsr
  orl $0x100,%eax
  wrmsr
  movl %cr0,%eax
  orl $0x80000000,%eax
  movl %eax,%cr0
  ljmpl $24,$long
.code64
long:
  movw $16,%ax
  movw %ax,%ss
  movq $0x8000,%rsp
  # '0': the privilege level
  movw %cs,%ax
  andb $3,%al
  addb $'0',%al
  outb %al,$0xe9
  # gate 3 of an IDT at 0x20000, for int3
  movq $0x20030,%rdi
  movq $handler,%rax
  movw %ax,(%rdi)
  movw $24,2(%rdi)
  movw $0x8e00,4(%rdi)
  shrq $16,%rax
  movw %ax,6(%rdi)
  movq $0,8(%rdi)
  lidt idtr
  int3
  movb $'r',%al
  outb %al,$0xe9
  outb %al,$0xf4
  hlt
handler:
  movb $'x',%al
  outb %al,$0xe9
  iretq
.align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdtr: .word 31
 .long gdt
idtr: .word 0x3ff
 .quad 0x20000

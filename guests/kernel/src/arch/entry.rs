//! The assembly of traps, interrupts and system calls: saves `PtRegs`, calls Rust, returns.
#![allow(unsafe_code)]
#![allow(bad_asm_style, reason = "see SEG")]

use core::arch::global_asm;

// At `common_trap` the stack holds: vector, error code, EIP, CS, EFLAGS (, ESP, SS). The
// slot of the error code becomes `orig_eax`, that of the vector `gs`; the rest is `PtRegs`.
//
// A selector that ring 3 had loaded may have died since: the POPs on the way out, and
// IRET, stand in the exception table. A bad segment register becomes null; a frame that
// IRET refuses comes back as a #GP of ring 3.
global_asm!(
    r#"
    /* The assembler takes PUSH and POP of a segment register for 16-bit ones in Intel's
       syntax. */
    .macro SEG op, reg
    .att_syntax prefix
    \op %\reg
    .intel_syntax noprefix
    .endm

    .macro SAVE_FROM_FS
    SEG pushl, fs
    SEG pushl, es
    SEG pushl, ds
    push eax
    push ebp
    push edi
    push esi
    push edx
    push ecx
    push ebx
    mov eax, {kernel_ds}
    mov ds, eax
    mov es, eax
    cld
    .endm

    /* FS leads to the CPU's own data. The kernel keeps no program's FS and GS: the descriptor
       behind them goes with a context switch, and an interrupt of the kernel would then fail
       to restore them. */
    .macro SET_FS_CLEAR_GS
    mov eax, {percpu_ds}
    mov fs, eax
    xor eax, eax
    mov gs, eax
    .endm

    .macro EX_TABLE insn, fixup
    .pushsection __ex_table, "a"
    .long \insn, \fixup
    .popsection
    .endm

    .section .text.entry, "ax"
    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 48
    .balign 16
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
    push -1
    .endif
    push offset vector
    jmp common_trap
    .set vector, vector + 1
    .endr

    .balign 16
    .globl apic_stubs
apic_stubs:
    .set vector, 0xe0
    .rept 32
    .balign 16
    push -1
    push offset vector
    jmp common_trap
    .set vector, vector + 1
    .endr

    .balign 16
common_trap:
    SAVE_FROM_FS
    mov edx, [esp + 40]         /* vector */
    mov ecx, [esp + 44]         /* error code */
    xor eax, eax
    mov ax, gs
    mov [esp + 40], eax
    mov dword ptr [esp + 44], -1
    SET_FS_CLEAR_GS
    mov ebx, esp
    test byte ptr [esp + 52], 3
    jz 2f
    xor ebp, ebp                /* ring 3 has no frames of ours */
2:  and esp, -16
    push 0
    push ecx
    push edx
    push ebx
    call do_trap
    mov esp, ebx
    jmp ret_from_trap

    .balign 16
    .globl entry_int80
entry_int80:
    push eax                    /* orig_eax */
    SEG pushl, gs
    SAVE_FROM_FS
    SET_FS_CLEAR_GS
    mov ebx, esp
    xor ebp, ebp
    and esp, -16
    sub esp, 12
    push ebx
    call do_int80_syscall
    mov esp, ebx

    .globl ret_from_trap
ret_from_trap:
    cli
    test byte ptr [esp + 52], 3
    jz 3f
    mov ebx, esp
    xor ebp, ebp
    and esp, -16
    sub esp, 12
    push ebx
    call exit_to_user_mode      /* returns with interrupts off, without the kernel lock */
    mov esp, ebx
3:  pop ebx
    pop ecx
    pop edx
    pop esi
    pop edi
    pop ebp
    pop eax
4:  SEG popl, ds
5:  SEG popl, es
6:  SEG popl, fs
7:  SEG popl, gs
    add esp, 4
8:  iretd

9:  push -1
    push 13
    jmp common_trap
94: mov dword ptr [esp], 0
    jmp 4b
95: mov dword ptr [esp], 0
    jmp 5b
96: mov dword ptr [esp], 0
    jmp 6b
97: mov dword ptr [esp], 0
    jmp 7b
    EX_TABLE 4b, 94b
    EX_TABLE 5b, 95b
    EX_TABLE 6b, 96b
    EX_TABLE 7b, 97b
    EX_TABLE 8b, 9b

    .balign 16
    .globl ret_from_fork
ret_from_fork:                  /* EBX function or 0, ESI argument; above: PtRegs */
    mov edi, esp
    and esp, -16
    sub esp, 8
    push esi
    push ebx
    call ret_from_fork_body
    mov esp, edi
    jmp ret_from_trap

    .balign 16
    .globl __switch_to_asm
__switch_to_asm:                /* (*mut u32 where ESP goes, u32 the next ESP) */
    mov eax, [esp + 4]
    mov edx, [esp + 8]
    push ebp
    push ebx
    push edi
    push esi
    mov [eax], esp
    mov esp, edx
    pop esi
    pop edi
    pop ebx
    pop ebp
    ret
    .text
"#,
    kernel_ds = const super::gdt::KERNEL_DS,
    percpu_ds = const super::gdt::PERCPU_DS,
);

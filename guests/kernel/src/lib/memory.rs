//! The functions that the compiler calls by name: `memcpy` and its kin.
#![allow(unsafe_code)]

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text
    .globl memcpy
memcpy:
    push esi
    push edi
    mov edi, [esp + 12]
    mov esi, [esp + 16]
    mov ecx, [esp + 20]
    mov eax, edi
    mov edx, ecx
    shr ecx, 2
    rep movsd
    mov ecx, edx
    and ecx, 3
    rep movsb
    pop edi
    pop esi
    ret

    .globl memmove
memmove:
    push esi
    push edi
    mov edi, [esp + 12]
    mov esi, [esp + 16]
    mov ecx, [esp + 20]
    mov eax, edi
    sub eax, esi
    cmp eax, ecx                /* unsigned: dst in [src, src+n) must go down */
    mov eax, edi
    jb 2f
    mov edx, ecx
    shr ecx, 2
    rep movsd
    mov ecx, edx
    and ecx, 3
    rep movsb
    jmp 3f
2:  std
    lea edi, [edi + ecx - 1]
    lea esi, [esi + ecx - 1]
    rep movsb
    cld
3:  pop edi
    pop esi
    ret

    .globl memset
memset:
    push edi
    mov edi, [esp + 8]
    movzx eax, byte ptr [esp + 12]
    imul eax, eax, 0x01010101
    mov ecx, [esp + 16]
    mov edx, ecx
    shr ecx, 2
    rep stosd
    mov ecx, edx
    and ecx, 3
    rep stosb
    mov eax, [esp + 8]
    pop edi
    ret

    .globl memcmp
    .globl bcmp
memcmp:
bcmp:
    push esi
    push edi
    mov esi, [esp + 12]
    mov edi, [esp + 16]
    mov ecx, [esp + 20]
    xor eax, eax
    cmp eax, eax                /* equal, for a count of 0 */
    repe cmpsb
    je 4f
    movzx eax, byte ptr [esi - 1]
    movzx edx, byte ptr [edi - 1]
    sub eax, edx
4:  pop edi
    pop esi
    ret

    .globl strlen
strlen:
    mov edx, [esp + 4]
    mov eax, edx
5:  cmp byte ptr [eax], 0
    je 6f
    inc eax
    jmp 5b
6:  sub eax, edx
    ret

    /* Named by the prebuilt `alloc`, never called: panics abort. */
    .globl _Unwind_Resume
    .globl rust_eh_personality
_Unwind_Resume:
rust_eh_personality:
    ud2
"#
);

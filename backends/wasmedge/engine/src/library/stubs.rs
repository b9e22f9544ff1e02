//! What is linked in the place of the library's functions.
//!
//! Each is a jump to where its entry of [`FUNCTIONS`] says. Until the library is open, that is [`first`], which opens it and
//! goes on to the function that was called, with all that it was called with.
//!
//! They are hidden: only this binary is linked with them, and the library's own calls stay within the library.

use std::arch::{global_asm, naked_asm};
use std::ffi::{CStr, c_void};
use std::sync::atomic::AtomicPtr;

use super::functions::for_functions;

/// The address of one of the library's functions, or of [`first`].
pub(super) type Entry = AtomicPtr<c_void>;

macro_rules! stubs {
    ($($name:ident)*) => {
        /// The names of the functions, in the order of [`entries`].
        pub(super) const NAMES: &[&CStr] = &[$(
            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => unreachable!(),
            },
        )*];

        global_asm!(
            ".pushsection .data.wharf_wasmedge,\"aw\",@progbits",
            ".balign 8",
            ".globl wharf_wasmedge_entries",
            ".hidden wharf_wasmedge_entries",
            "wharf_wasmedge_entries:",
            $(concat!(".Lentry_", stringify!($name), ": .quad {first}"),)*
            ".popsection",
            ".pushsection .text.wharf_wasmedge,\"ax\",@progbits",
            $(concat!(
                ".balign 16\n",
                ".globl ", stringify!($name), "\n",
                ".hidden ", stringify!($name), "\n",
                ".type ", stringify!($name), ",@function\n",
                stringify!($name), ":\n",
                ".cfi_startproc\n",
                jump!($name), "\n",
                ".cfi_endproc\n",
                ".size ", stringify!($name), ", . - ", stringify!($name),
            ),)*
            ".popsection",
            first = sym first,
        );
    };
}

/// A jump through the function's entry, whose address stays in `r11`: a register for what stands between a call and the
/// called function (System V ABI, AMD64 supplement, 3.2.1).
#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    ($name:ident) => {
        concat!("lea r11, [rip + .Lentry_", stringify!($name), "]\njmp qword ptr [r11]")
    };
}

/// A jump through the function's entry, whose address stays in `x16`: like `x17`, a register for what stands between a call
/// and the called function (AAPCS64, 6.1.1). Whoever sees the function's address sees what opening the library wrote.
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    ($name:ident) => {
        concat!(
            "adrp x16, .Lentry_",
            stringify!($name),
            "\nadd x16, x16, :lo12:.Lentry_",
            stringify!($name),
            "\nldar x17, [x16]\nbr x17"
        )
    };
}

for_functions!(stubs);

/// The entries of the functions in [`NAMES`].
pub(super) fn entries() -> &'static [Entry; NAMES.len()] {
    unsafe extern "C" {
        #[link_name = "wharf_wasmedge_entries"]
        static ENTRIES: [Entry; NAMES.len()];
    }
    // SAFETY: the assembly above defines it, with as many aligned words as there are names.
    unsafe { &ENTRIES }
}

/// Goes on to the function of the entry in `r11`, whose address [`super::bound`] finds. What a function of C is called
/// with is kept: the general registers, the lower 128 bits of the vector registers, as no function of the library takes
/// wider ones, and the stack.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn first() {
    naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "sub rsp, 192",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + 48], rax",
        "mov [rsp + 56], r10",
        "movups [rsp + 64], xmm0",
        "movups [rsp + 80], xmm1",
        "movups [rsp + 96], xmm2",
        "movups [rsp + 112], xmm3",
        "movups [rsp + 128], xmm4",
        "movups [rsp + 144], xmm5",
        "movups [rsp + 160], xmm6",
        "movups [rsp + 176], xmm7",
        "mov rdi, r11",
        "call {bound}",
        "mov r11, rax",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov rax, [rsp + 48]",
        "mov r10, [rsp + 56]",
        "movups xmm0, [rsp + 64]",
        "movups xmm1, [rsp + 80]",
        "movups xmm2, [rsp + 96]",
        "movups xmm3, [rsp + 112]",
        "movups xmm4, [rsp + 128]",
        "movups xmm5, [rsp + 144]",
        "movups xmm6, [rsp + 160]",
        "movups xmm7, [rsp + 176]",
        "leave",
        "jmp r11",
        bound = sym super::bound,
    )
}

/// Goes on to the function of the entry in `x16`, whose address [`super::bound`] finds. What a function of C is called
/// with is kept: the registers of arguments, that of the result's address, and the stack.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
pub(super) unsafe extern "C" fn first() {
    naked_asm!(
        "stp x29, x30, [sp, #-224]!",
        "mov x29, sp",
        "stp x0, x1, [sp, #16]",
        "stp x2, x3, [sp, #32]",
        "stp x4, x5, [sp, #48]",
        "stp x6, x7, [sp, #64]",
        "str x8, [sp, #80]",
        "stp q0, q1, [sp, #96]",
        "stp q2, q3, [sp, #128]",
        "stp q4, q5, [sp, #160]",
        "stp q6, q7, [sp, #192]",
        "mov x0, x16",
        "bl {bound}",
        "mov x16, x0",
        "ldp x0, x1, [sp, #16]",
        "ldp x2, x3, [sp, #32]",
        "ldp x4, x5, [sp, #48]",
        "ldp x6, x7, [sp, #64]",
        "ldr x8, [sp, #80]",
        "ldp q0, q1, [sp, #96]",
        "ldp q2, q3, [sp, #128]",
        "ldp q4, q5, [sp, #160]",
        "ldp q6, q7, [sp, #192]",
        "ldp x29, x30, [sp], #224",
        "br x16",
        bound = sym super::bound,
    )
}

//! The strings that a new program is given.

use alloc::vec::Vec;

use abi::errno::{E2BIG, EFAULT, ENAMETOOLONG, Result};

use crate::{
    mm::uaccess::{UserPtr, get_user, strncpy_from_user},
    task::{current, rlimits::resource},
};

/// Longest single string, with its zero.
const MAX_ARG_STRLEN: usize = 32 * 4096;
/// Strings and pointers together never take more.
const STACK_LIMIT: u32 = 8 << 20;
/// A pointer.
const WORD: usize = 4;

/// Arguments or environment: strings without their zeros.
#[derive(Clone, Debug, Default)]
pub struct Strings(pub Vec<Vec<u8>>);

impl Strings {
    /// Copies a null-terminated array of strings; a null array is empty.
    pub fn from_user(array: u32) -> Result<Self> {
        let mut list = Vec::new();
        if array == 0 {
            return Ok(Strings(list));
        }
        let mut left = limit();
        loop {
            let slot = UserPtr::<u32>::new(array).add(list.len() as u32);
            let addr = get_user(slot)?;
            if addr == 0 {
                return Ok(Strings(list));
            }
            let text = strncpy_from_user(UserPtr::new(addr), MAX_ARG_STRLEN).map_err(|error| match error {
                ENAMETOOLONG => E2BIG,
                _ => EFAULT,
            })?;
            left = left.checked_sub(text.len() + 1 + WORD).ok_or(E2BIG)?;
            list.push(text);
        }
    }

    /// From words of the kernel.
    pub fn of(words: &[&[u8]]) -> Self {
        Strings(words.iter().map(|w| w.to_vec()).collect())
    }

    /// Bytes of all strings with their zeros.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|s| s.len() + 1).sum()
    }
}

/// Bytes for strings and pointers: a quarter of the stack, and never less than 128 KiB.
pub fn limit() -> usize {
    let stack = current().rlimit(resource::STACK).min(STACK_LIMIT / 4 * 3 * 4);
    (stack / 4).max(32 * 4096) as usize
}

/// E2BIG if arguments and environment together are too long.
pub fn check_size(argv: &Strings, envp: &Strings) -> Result<()> {
    let pointers = (argv.0.len() + envp.0.len()) * WORD;
    if argv.bytes() + envp.bytes() + pointers > limit() { Err(E2BIG) } else { Ok(()) }
}

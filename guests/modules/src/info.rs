//! What the loader reads of a module: strings, parameters, symbols for others.
#![allow(unsafe_code)]

use abi::module::{FileOperations, KernelParam, KernelSymbol};

/// A parameter in the module's table.
#[repr(transparent)]
pub struct Param(pub KernelParam);

// SAFETY: only the loader reads it, before the module runs.
unsafe impl Sync for Param {}

/// A symbol in the module's table.
#[repr(transparent)]
pub struct Ksym(pub KernelSymbol);

// SAFETY: only the loader reads it.
unsafe impl Sync for Ksym {}

/// The functions of a driver, in a `static`, whose address says whose they are.
#[repr(transparent)]
pub struct Fops(pub FileOperations);

impl Fops {
    /// What `register_chrdev` wants.
    pub const fn as_ptr(&'static self) -> *const FileOperations {
        &raw const self.0
    }
}

/// A string in the section `.modinfo`.
#[macro_export]
macro_rules! modinfo {
    ($text:expr) => {
        const _: () = {
            const TEXT: &str = concat!($text, "\0");
            #[used]
            #[unsafe(link_section = ".modinfo")]
            static INFO: [u8; TEXT.len()] = {
                let mut bytes = [0; TEXT.len()];
                let mut n = 0;
                while n < bytes.len() {
                    bytes[n] = TEXT.as_bytes()[n];
                    n += 1;
                }
                bytes
            };
        };
    };
}

/// Says what the module is. Once in each module.
#[macro_export]
macro_rules! module {
    (name: $name:literal, license: $license:literal, description: $description:literal $(,)?) => {
        $crate::modinfo!(concat!("name=", $name));
        $crate::modinfo!(concat!("license=", $license));
        $crate::modinfo!(concat!("description=", $description));
        $crate::modinfo!("depends=");
        const _: () = {
            const TAG: &[u8] = b"vermagic=";
            const LEN: usize = TAG.len() + $crate::VERMAGIC.len() + 1;
            #[used]
            #[unsafe(link_section = ".modinfo")]
            static INFO: [u8; LEN] = {
                let mut bytes = [0; LEN];
                let mut n = 0;
                while n < LEN - 1 {
                    bytes[n] = if n < TAG.len() { TAG[n] } else { $crate::VERMAGIC.as_bytes()[n - TAG.len()] };
                    n += 1;
                }
                bytes
            };
        };
        #[panic_handler]
        fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::stop(info)
        }
    };
}

/// A variable that `insmod x.ko name=value` sets: `module_param!(COUNT, "count", INT)`, where
/// `COUNT` is a `static mut` of the kind's type. Its value does not change once the module
/// runs.
#[macro_export]
macro_rules! module_param {
    ($variable:ident, $name:literal, $kind:ident) => {
        const _: () = {
            #[used]
            #[unsafe(link_section = "__param")]
            static PARAM: $crate::Param = $crate::Param($crate::KernelParam {
                name: concat!($name, "\0").as_ptr(),
                kind: $crate::param_kind::$kind,
                value: (&raw mut $variable).cast(),
            });
        };
    };
}

/// Lets other modules use a function of this one by its name: `export_symbol!(total)`.
#[macro_export]
macro_rules! export_symbol {
    ($function:ident) => {
        const _: () = {
            #[used]
            #[unsafe(link_section = "__ksymtab")]
            static SYMBOL: $crate::Ksym = $crate::Ksym($crate::KernelSymbol {
                value: $function as *const core::ffi::c_void,
                name: concat!(stringify!($function), "\0").as_ptr(),
            });
        };
    };
}

//! Tells whether handlers may chain by tail calls: stable Rust makes them jumps on x86-64 at
//! opt-level 3, and nowhere else is it certain enough. And whether host code is made from blocks.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(tail_calls)");
    println!("cargo::rustc-check-cfg=cfg(host_code)");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo::rustc-cfg=host_code");
    }
    let checked = env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_some();
    if is("OPT_LEVEL", "3") && is("CARGO_CFG_TARGET_ARCH", "x86_64") && !checked {
        println!("cargo::rustc-cfg=tail_calls");
    }
}

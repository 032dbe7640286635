//! Link arguments: the program keeps no symbols.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bin=workload=--strip-all");
}

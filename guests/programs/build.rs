//! Link arguments by program: those that are there to be debugged keep symbols and line
//! tables, compressed; the others keep nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for program in ["init", "toolbox"] {
        println!("cargo::rustc-link-arg-bin={program}=--strip-all");
    }
    println!("cargo::rustc-link-arg-bin=tour=--compress-debug-sections=zlib");
}

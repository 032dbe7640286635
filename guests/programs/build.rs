//! Link arguments by program: the one that is there to be debugged keeps symbols and line
//! tables, compressed; the others keep nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for program in ["bigtext", "init", "mmprobe", "stress", "toolbox"] {
        println!("cargo::rustc-link-arg-bin={program}=--strip-all");
    }
    println!("cargo::rustc-link-arg-bin=tour=--compress-debug-sections=zlib");
}

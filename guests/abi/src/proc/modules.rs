//! `/proc/modules`.

use crate::books::{ModuleRecord, module_state};
use crate::{Out, out};

/// A module's name without its padding.
pub fn name(module: &ModuleRecord) -> &[u8] {
    let len = module.name.iter().position(|&byte| byte == 0).unwrap_or(module.name.len());
    &module.name[..len]
}

/// The word for a state.
pub fn state(state: u32) -> &'static str {
    match state {
        module_state::COMING => "Loading",
        module_state::GOING => "Unloading",
        _ => "Live",
    }
}

/// The line of a module. `users` are the modules that use symbols of it, newest first.
pub fn line<'a>(out: &mut dyn Out, module: &ModuleRecord, users: impl Iterator<Item = &'a ModuleRecord>) {
    out.bytes(name(module));
    out!(out, " {} {} ", module.size, module.refcnt);
    let mut none = true;
    for user in users {
        out.bytes(name(user));
        out.bytes(b",");
        none = false;
    }
    if module.init != 0 && module.exit == 0 {
        out.bytes(b"[permanent],");
        none = false;
    }
    if none {
        out.bytes(b"-");
    }
    out!(out, " {} {:#010x}\n", state(module.state), module.base);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::render;

    fn module(name: &str, size: u32, refcnt: u32, base: u32) -> ModuleRecord {
        let mut record = ModuleRecord { size, refcnt, base, ..ModuleRecord::EMPTY };
        record.name[..name.len()].copy_from_slice(name.as_bytes());
        record
    }

    #[test]
    fn lines_equal_those_of_a_real_kernel() {
        let loop_ = module("loop", 28672, 0, 0xf751_c000);
        let show = |module: &ModuleRecord, users: &[ModuleRecord]| render(|out| line(out, module, users.iter()));
        assert_eq!(show(&loop_, &[]), b"loop 28672 0 - Live 0xf751c000\n");
        let users = [module("libata", 0, 0, 0), module("scsi_mod", 0, 0, 0)];
        let common = module("scsi_common", 16384, 2, 0xf740_e000);
        assert_eq!(show(&common, &users), b"scsi_common 16384 2 libata,scsi_mod, Live 0xf740e000\n");
    }

    #[test]
    fn what_cannot_go_and_what_comes_or_goes_is_said() {
        let record = ModuleRecord { init: 1, state: module_state::COMING, ..module("x", 4096, 1, 0xf880_0000) };
        assert_eq!(render(|out| line(out, &record, [].iter())), b"x 4096 1 [permanent], Loading 0xf8800000\n");
        let record = ModuleRecord { exit: 1, state: module_state::GOING, ..record };
        assert_eq!(render(|out| line(out, &record, [].iter())), b"x 4096 1 - Unloading 0xf8800000\n");
    }
}

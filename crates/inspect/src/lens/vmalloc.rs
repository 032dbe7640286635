//! The kernel's vmalloc space: `vmallocinfo`.

use abi::out::render;
use abi::proc::vmallocinfo as rows;
use serde_json::{Value, json};

use super::{Answer, lossy};
use crate::{Books, Result, Target};

/// `/proc/vmallocinfo`.
pub fn vmallocinfo(target: &Target<'_>) -> Result<Answer> {
    let (areas, unpurged) = Books::of(target)?.vmap_areas()?;
    let text = render(|out| {
        areas.iter().for_each(|(caller, area)| {
            rows::line(out, area, rows::Caller { name: &caller.name, module: &caller.module });
        });
        unpurged.iter().for_each(|area| rows::unpurged_line(out, area));
    });
    let in_use = areas.iter().map(|(caller, area)| {
        let module = (!caller.module.is_empty()).then(|| lossy(&caller.module));
        let caller = match caller.name.is_empty() {
            true => Value::from(area.caller),
            false => format!("{}+{:#x}/{:#x}", lossy(&caller.name), area.caller_offset, area.caller_size).into(),
        };
        let kinds =
            [(rows::vm_area::IOREMAP, "ioremap"), (rows::vm_area::ALLOC, "vmalloc"), (rows::vm_area::MAP, "vmap")];
        let kind = kinds.iter().find(|(bit, _)| area.flags & bit != 0).map(|(_, name)| *name);
        json!({
            "start": area.addr, "size": area.size, "caller": caller, "module": module, "pages": area.nr_pages,
            "phys": area.phys_addr, "kind": kind,
        })
    });
    let freed = unpurged.iter().map(|area| json!({"start": area.addr, "size": area.size, "kind": "unpurged"}));
    Ok(Answer::new(text, in_use.chain(freed).collect::<Vec<_>>()))
}

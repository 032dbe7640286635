//! Who has which ports and which physical memory.

use abi::books::ResourceRecord;
use abi::out::render;
use abi::proc::resources::{Space, line};
use abi::{Out, Ptr32};
use serde_json::json;

use super::Answer;
use crate::books::Resource;
use crate::{Books, Error, Result, Target, WiredRange};

/// `/proc/iomem`, or physical memory as the machine is wired.
pub fn iomem(target: &Target<'_>, machine: bool) -> Result<Answer> {
    match machine {
        true => wired(target, Space::Memory),
        false => booked(target, Space::Memory, |root| root.iomem),
    }
}

/// `/proc/ioports`, or the ports as the machine is wired.
pub fn ioports(target: &Target<'_>, machine: bool) -> Result<Answer> {
    match machine {
        true => wired(target, Space::Ports),
        false => booked(target, Space::Ports, |root| root.ioports),
    }
}

fn booked(
    target: &Target<'_>,
    space: Space,
    root: fn(&abi::books::KernelBooks) -> Ptr32<ResourceRecord>,
) -> Result<Answer> {
    let books = Books::of(target)?;
    Ok(answer(space, &books.resources(root(books.root()))?))
}

fn wired(target: &Target<'_>, space: Space) -> Result<Answer> {
    let wiring = target.wiring.ok_or_else(|| Error::Usage("the machine's wiring is not known here".into()))?;
    let rows = if space == Space::Memory { &wiring.memory } else { &wiring.ports };
    let resource = |row: &WiredRange| Resource {
        depth: row.depth,
        start: row.start,
        end: row.end,
        name: row.name.clone().into_bytes(),
    };
    Ok(answer(space, &rows.iter().map(resource).collect::<Vec<_>>()))
}

fn answer(space: Space, rows: &[Resource]) -> Answer {
    let show = |out: &mut dyn Out| {
        for row in rows {
            line(out, space, row.depth, row.start, row.end, &row.name);
        }
    };
    let json = |row: &Resource| json!({"depth": row.depth, "start": row.start, "end": row.end, "name": super::lossy(&row.name)});
    Answer::new(render(show), rows.iter().map(json).collect::<Vec<_>>())
}

//! Whose a frame is, in words: as the picture of the whole machine has it.

use crate::{
    Target,
    picture::{Owner, Picture},
};

/// The owners of all frames of a machine.
pub(super) struct Owners {
    classes: Vec<Owner>,
    /// By frame.
    numbers: Vec<u32>,
}

impl Owners {
    /// Looks at all tables and descriptors once.
    pub(super) fn of(target: &Target<'_>) -> Owners {
        let frames = Picture::of(target, usize::MAX).frames;
        Owners { classes: frames.owners, numbers: frames.owner.values().unwrap_or_default() }
    }

    /// The owner of a frame in words.
    pub(super) fn of_frame(&self, pfn: u32) -> String {
        let number = self.numbers.get(pfn as usize);
        let Some(owner) = number.and_then(|&number| self.classes.get(number as usize)) else {
            return "no descriptor: firmware or a device".into();
        };
        let name = &owner.name;
        match owner.kind.as_str() {
            "free" | "cpulist" => "nobody: free".into(),
            "slab" => format!("slab cache {name}"),
            "anon" if owner.pid.is_some() => format!("anonymous memory of {name}"),
            "anon" => format!("anonymous memory, {name}"),
            "cache" => format!("page cache of {name}"),
            "reserved" => format!("{name}: the kernel itself, or firmware"),
            _ => name.clone(),
        }
    }
}

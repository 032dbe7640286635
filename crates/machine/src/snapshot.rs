//! Saved machines: a header with version and checksums, then one compressed stream of sections: the
//! state, by serde, the samples, and the pages of memory. `docs/snapshots.md` has the format.
mod error;
mod file;
mod section;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    path::Path,
};

use cpu::{Cpu, CpuState, Engine, EngineConfig};
use memory::{FrameKind, PhysMem};
use serde::{Deserialize, Serialize};
use x86::{LinearAddr, PAGE_SIZE, PhysAddr};

use crate::{
    Boot, Chipset, Error, Machine, MachineConfig,
    board::Signals,
    boot,
    disk::{DiskBank, DiskConfig, DiskSource, SavedDisk},
    input::InputQueue,
    machine::empty_memory,
    resource::PortMap,
    samples::Samples,
    schedule::Schedule,
    stats::MachineStats,
    timeline::Timeline,
    unresolved::{Explanation, LastUnresolved},
};
pub use error::SnapshotError;
use section::{Section, Tag};

/// What a saved machine is, beside memory. The order of the fields is the file's format:
/// whoever changes it, or what is inside, raises [`file::VERSION`].
#[derive(Serialize)]
struct Saved<'a> {
    config: &'a MachineConfig,
    boot: &'a Boot,
    cpus: Vec<&'a CpuState>,
    chipset: &'a Chipset,
    disks: &'a [SavedDisk],
    input: &'a InputQueue,
    schedule: &'a Schedule,
    now_ns: u64,
    timeline: Timeline,
    explanation: &'a Option<Explanation>,
}

/// The same, read back.
#[derive(Deserialize)]
struct Restored {
    config: MachineConfig,
    boot: Boot,
    cpus: Vec<CpuState>,
    chipset: Chipset,
    disks: Vec<SavedDisk>,
    input: InputQueue,
    schedule: Schedule,
    now_ns: u64,
    timeline: Timeline,
    explanation: Option<Explanation>,
}

impl Machine {
    /// Saves the machine. The file appears whole or not at all; an older one stays until then.
    ///
    /// # Errors
    /// [`Error::Snapshot`] when the file cannot be written, [`Error::Disk`] when a disk cannot be read.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let is_image = |disk: &DiskConfig, there: &Path| match &disk.source {
            DiskSource::Image { path, .. } => path == there,
            DiskSource::Swap => false,
        };
        if path.canonicalize().is_ok_and(|there| self.config.disks.iter().any(|disk| is_image(disk, &there))) {
            return Err(named(path, SnapshotError::ADisk));
        }
        let disks = self.disks.save(&self.config)?;
        file::write(path, |body| self.write_body(&disks, body)).map_err(|source| named(path, source))
    }

    /// The machine that `path` holds. Image files of its disks come with [`Machine::attach_disks`].
    ///
    /// # Errors
    /// [`Error::Snapshot`] when the file cannot be read, is cut short, corrupt, or of another version.
    pub fn restore(path: &Path, engine: EngineConfig) -> Result<Self, Error> {
        file::read(path, |body| read_body(body, engine)).map_err(|source| named(path, source))
    }

    /// A machine of its own in the same state, for a look at what would come: nothing that it
    /// does reaches this one. Breakpoints and the counts of the run stay behind.
    ///
    /// # Errors
    /// [`Error`] when the host has no room for its memory.
    pub fn duplicate(&self) -> Result<Self, Error> {
        let mut mem = empty_memory(&self.config)?;
        boot::map_rom(&self.boot, &mut mem)
            .map_err(|source| Error::Boot { image: "the machine's ROM".into(), source })?;
        self.each_page(|frame, page| {
            mem.load(PhysAddr::from_frame(frame), page);
            Ok::<_, Error>(())
        })?;
        Ok(Machine {
            ports: PortMap::new(&self.config),
            config: self.config.clone(),
            boot: self.boot.clone(),
            cpus: self.cpus.iter().map(Cpu::duplicate).collect(),
            mem,
            chipset: self.chipset.clone(),
            disks: self.disks.duplicate(),
            input: self.input.clone(),
            schedule: self.schedule.clone(),
            now_ns: self.now_ns,
            timeline: self.timeline.clone(),
            samples: self.samples.clone(),
            unresolved: self.unresolved.clone(),
            engine: Engine::new(EngineConfig::default()),
            signals: Signals::default(),
            breakpoints: BTreeSet::new(),
            told: BTreeSet::new(),
            told_last: None,
            entered: self.entered,
            before: None,
            before_event: None,
            chips_due_ns: 0,
            stats: MachineStats::new(self.config.cpus),
        })
    }

    /// Calls `visit` with the number and the bytes of every frame that is not all zero.
    fn each_page<E>(&self, mut visit: impl FnMut(u32, &[u8; PAGE_SIZE as usize]) -> Result<(), E>) -> Result<(), E> {
        let mut page = [0; PAGE_SIZE as usize];
        for frame in self.mem.touched_frames() {
            self.mem.read(PhysAddr::from_frame(frame), &mut page);
            if page.iter().any(|&byte| byte != 0) {
                visit(frame, &page)?;
            }
        }
        Ok(())
    }

    fn write_body(&self, disks: &[SavedDisk], body: &mut dyn Write) -> Result<(), SnapshotError> {
        let saved = Saved {
            config: &self.config,
            boot: &self.boot,
            cpus: self.cpus.iter().map(|cpu| &cpu.state).collect(),
            chipset: &self.chipset,
            disks,
            input: &self.input,
            schedule: &self.schedule,
            now_ns: self.now_ns,
            timeline: self.timeline.last(),
            explanation: &self.unresolved.explanation,
        };
        let plain = "plain data can be serialised";
        section::write(body, Tag::STATE, &postcard::to_stdvec(&saved).expect(plain))?;
        section::write(body, Tag::SAMPLES, &postcard::to_stdvec(&self.samples).expect(plain))?;
        let mut pages = Vec::with_capacity(PAGES_TOGETHER * PAGE_RECORD);
        self.each_page(|frame, page| {
            pages.extend_from_slice(&frame.to_le_bytes());
            pages.extend_from_slice(page);
            if pages.len() < PAGES_TOGETHER * PAGE_RECORD {
                return Ok(());
            }
            section::write(body, Tag::PAGES, &std::mem::take(&mut pages))
        })?;
        if !pages.is_empty() {
            section::write(body, Tag::PAGES, &pages)?;
        }
        section::write(body, Tag::END, &[])
    }
}

/// A machine's time is no later: some 146 years, and as many are left before it overflows.
const LATEST_NS: u64 = 1 << 62;

/// Bytes of a page with its frame's number, and pages of one section.
const PAGE_RECORD: usize = 4 + PAGE_SIZE as usize;
const PAGES_TOGETHER: usize = 256;

fn read_body(body: &mut dyn Read, engine: EngineConfig) -> Result<Machine, SnapshotError> {
    let state = section::read_expected(body, Tag::STATE)?;
    let restored: Restored = postcard::from_bytes(&state).map_err(|error| corrupt(format!("its state: {error}")))?;
    restored.config.check().map_err(|error| corrupt(error.to_string()))?;
    let cpus = usize::from(restored.config.cpus);
    if restored.cpus.len() != cpus || !restored.schedule.fits(cpus) {
        return Err(corrupt(format!("its state is not that of {cpus} CPUs")));
    }
    if restored.now_ns > LATEST_NS || !restored.chipset.fits(&restored.config, restored.now_ns) {
        return Err(corrupt("its chips are in a state that they cannot come to".into()));
    }
    let samples = section::read_expected(body, Tag::SAMPLES)?;
    let samples: Samples = postcard::from_bytes(&samples).map_err(|error| corrupt(format!("its samples: {error}")))?;
    if !samples.fits() {
        return Err(corrupt("its samples are more than are kept, or out of order".into()));
    }
    let stats = MachineStats::new(restored.config.cpus);
    let entered = restored.schedule.current();
    let disks = DiskBank::restore(&restored.config, &restored.disks).ok_or_else(|| corrupt("its disks".into()))?;
    let mut mem = empty_memory(&restored.config).map_err(|error| corrupt(error.to_string()))?;
    boot::map_rom(&restored.boot, &mut mem).map_err(|error| corrupt(error.to_string()))?;
    read_pages(body, &mut mem)?;
    let mut engine = Engine::new(engine);
    restored.timeline.places().for_each(|place| engine.add_breakpoint(LinearAddr(place)));
    Ok(Machine {
        ports: PortMap::new(&restored.config),
        config: restored.config,
        boot: restored.boot,
        cpus: restored.cpus.into_iter().map(Cpu::new).collect(),
        mem,
        chipset: restored.chipset,
        disks,
        input: restored.input,
        schedule: restored.schedule,
        now_ns: restored.now_ns,
        timeline: restored.timeline,
        samples,
        unresolved: LastUnresolved { fault: None, explanation: restored.explanation },
        engine,
        signals: Signals::default(),
        breakpoints: BTreeSet::new(),
        told: BTreeSet::new(),
        told_last: None,
        entered,
        before: None,
        before_event: None,
        chips_due_ns: 0,
        stats,
    })
}

fn read_pages(body: &mut dyn Read, mem: &mut PhysMem) -> Result<(), SnapshotError> {
    loop {
        let Section { tag, bytes } = section::read(body)?;
        match tag {
            Tag::PAGES => {}
            Tag::END => break,
            other => return Err(corrupt(format!("a section {other} where pages are expected"))),
        }
        let (records, rest) = bytes.as_chunks::<PAGE_RECORD>();
        if !rest.is_empty() {
            return Err(corrupt("a part of a page".into()));
        }
        for record in records {
            let (frame, page) = record.split_at(4);
            let frame = u32::from_le_bytes(frame.try_into().expect("four bytes"));
            if frame >= 1 << 20 || mem.kind(frame) == FrameKind::Bus {
                return Err(corrupt(format!("a page for frame {frame:#x}, where there is no memory")));
            }
            mem.load(PhysAddr::from_frame(frame), page);
        }
    }
    match body.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(corrupt("more behind its last section".into())),
    }
}

fn corrupt(what: String) -> SnapshotError {
    SnapshotError::Corrupt { what }
}

fn named(path: &Path, source: SnapshotError) -> Error {
    Error::Snapshot { path: path.display().to_string(), source }
}

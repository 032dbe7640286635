//! One disk: the image, what covers it, and which sectors fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    sync::Arc,
};

use devices::{DiskFault, SECTOR_BYTES};
use serde::{Deserialize, Serialize};

use super::{DiskAccess, DiskConfig, DiskOperation, DiskSource, FaultySectors, file, swap_area};

/// Bytes that are kept together.
pub(super) const IMAGE_CHUNK: usize = 4096;
const CHUNK_SECTORS: u64 = (IMAGE_CHUNK / SECTOR_BYTES) as u64;

/// The host's errors that are told of before they are only counted.
const COMPLAINTS: u32 = 16;

/// What the guest has made of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskState {
    sectors: u64,
    has_image: bool,
    /// Chunks that cover the image, by number; `None` while writes go to the image itself.
    overlay: Option<BTreeMap<u64, Vec<u8>>>,
    /// Chunks of the image itself that were written.
    written: BTreeSet<u64>,
}

impl DiskState {
    /// A disk that nobody has written.
    pub fn new(config: &DiskConfig) -> Self {
        let overlay = match &config.source {
            DiskSource::Image { access: DiskAccess::Write, .. } => None,
            DiskSource::Image { access: DiskAccess::Keep, .. } => Some(BTreeMap::new()),
            DiskSource::Swap => Some(BTreeMap::from([(0, swap_area::header(config.sectors))])),
        };
        let has_image = config.source != DiskSource::Swap;
        DiskState { sectors: config.sectors, has_image, overlay, written: BTreeSet::new() }
    }

    /// Whether a saved state can be that of a disk.
    pub fn fits(&self, config: &DiskConfig) -> bool {
        let chunks = config.sectors.div_ceil(CHUNK_SECTORS);
        let good = |(&chunk, data): (&u64, &Vec<u8>)| chunk < chunks && data.len() == IMAGE_CHUNK;
        self.sectors == config.sectors
            && self.has_image == (config.source != DiskSource::Swap)
            && self.overlay.iter().flatten().all(good)
            && self.written.iter().all(|&chunk| chunk < chunks)
    }

    pub fn has_image(&self) -> bool {
        self.has_image
    }
}

/// A disk with its image.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub state: DiskState,
    /// The image, where there is one and it is attached.
    pub file: Option<Arc<File>>,
    /// What the image must hash to when it is attached.
    pub expected_image: Option<u64>,
    name: String,
    faulty: Vec<FaultySectors>,
    complaints: u32,
}

impl Disk {
    pub fn new(config: &DiskConfig, state: DiskState, file: Option<Arc<File>>) -> Self {
        Disk { state, file, expected_image: None, name: config.name(), faulty: config.faulty.clone(), complaints: 0 }
    }

    /// Writes go to an overlay from now on.
    pub fn keep_image(&mut self) {
        self.state.overlay.get_or_insert_with(BTreeMap::new);
    }

    /// Chunks that were written, ascending.
    pub fn written(&self) -> BTreeSet<u64> {
        self.state.overlay.iter().flatten().map(|(&chunk, _)| chunk).chain(self.state.written.iter().copied()).collect()
    }

    pub fn read(&mut self, sector: u64, data: &mut [u8]) -> Result<(), DiskFault> {
        self.check(sector, DiskOperation::Read)?;
        let (chunk, offset) = place(sector);
        if let Some(covered) = self.state.overlay.as_ref().and_then(|overlay| overlay.get(&chunk)) {
            data.copy_from_slice(&covered[offset..offset + SECTOR_BYTES]);
            return Ok(());
        }
        let outcome = self.read_image(sector * SECTOR_BYTES as u64, data);
        outcome.map_err(|error| self.complain("read", sector, &error))
    }

    pub fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), DiskFault> {
        self.check(sector, DiskOperation::Write)?;
        let (chunk, offset) = place(sector);
        let Some(overlay) = &mut self.state.overlay else {
            let outcome = match &self.file {
                Some(file) => file::write_at(file, sector * SECTOR_BYTES as u64, data),
                None => Err(not_attached()),
            };
            return match outcome {
                Ok(()) => {
                    self.state.written.insert(chunk);
                    Ok(())
                }
                Err(error) => Err(self.complain("write", sector, &error)),
            };
        };
        if let Some(covered) = overlay.get_mut(&chunk) {
            covered[offset..offset + SECTOR_BYTES].copy_from_slice(data);
            return Ok(());
        }
        let mut cover = vec![0; IMAGE_CHUNK];
        self.read_chunk(chunk, &mut cover).map_err(|error| self.complain("read", sector, &error))?;
        cover[offset..offset + SECTOR_BYTES].copy_from_slice(data);
        self.state.overlay.get_or_insert_default().insert(chunk, cover);
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), DiskFault> {
        match &self.file {
            Some(file) if self.state.overlay.is_none() => {
                file.sync_data().map_err(|error| self.complain("flush", 0, &error))
            }
            _ => Ok(()),
        }
    }

    /// A chunk as the guest would read it; past the end of the disk it is zero.
    pub fn read_chunk(&self, chunk: u64, data: &mut [u8]) -> std::io::Result<()> {
        if let Some(covered) = self.state.overlay.as_ref().and_then(|overlay| overlay.get(&chunk)) {
            data.copy_from_slice(covered);
            return Ok(());
        }
        let sectors = self.state.sectors.saturating_sub(chunk * CHUNK_SECTORS).min(CHUNK_SECTORS);
        let (within, beyond) = data.split_at_mut(sectors as usize * SECTOR_BYTES);
        beyond.fill(0);
        self.read_image(chunk * IMAGE_CHUNK as u64, within)
    }

    fn read_image(&self, at: u64, data: &mut [u8]) -> std::io::Result<()> {
        match &self.file {
            Some(file) => file::read_at(file, at, data),
            None if self.state.has_image => Err(not_attached()),
            None => {
                data.fill(0);
                Ok(())
            }
        }
    }

    /// Refuses what lies beyond the end, and what is to fail.
    fn check(&self, sector: u64, operation: DiskOperation) -> Result<(), DiskFault> {
        let fails = |faulty: &FaultySectors| {
            (faulty.first..=faulty.last).contains(&sector)
                && (faulty.operation == operation || faulty.operation == DiskOperation::Both)
        };
        if sector >= self.state.sectors || self.faulty.iter().any(fails) { Err(DiskFault) } else { Ok(()) }
    }

    /// Tells the user of what the guest sees as a failing disk.
    fn complain(&mut self, what: &str, sector: u64, error: &std::io::Error) -> DiskFault {
        self.complaints = self.complaints.saturating_add(1);
        if self.complaints <= COMPLAINTS {
            log::error!("{}: {what} at sector {sector}: {error}; the guest sees the disk fail", self.name);
        }
        if self.complaints == COMPLAINTS {
            log::error!("{}: further errors are not shown", self.name);
        }
        DiskFault
    }
}

fn place(sector: u64) -> (u64, usize) {
    (sector / CHUNK_SECTORS, (sector % CHUNK_SECTORS) as usize * SECTOR_BYTES)
}

fn not_attached() -> std::io::Error {
    std::io::Error::other("the image is not attached")
}

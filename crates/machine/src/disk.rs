//! Disks: what is behind the drives of the IDE channels.
//!
//! A disk is an image file of the host, or memory. What the guest writes goes to the file, or,
//! where the file is to stay as it is, to an overlay in memory. The overlay, and which parts of
//! a file were written, are state of the machine; the file is its surroundings.
mod config;
mod error;
mod file;
mod store;
mod swap_area;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices::{DiskFault, Disks};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use config::{DiskAccess, DiskConfig, DiskOperation, DiskSource, FaultySectors, MAX_DISKS};
pub use error::DiskError;
pub(crate) use store::DiskState;
use store::{Disk, IMAGE_CHUNK};

use crate::{Error, MachineConfig};

/// Why a saved machine gets its disks back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskPurpose {
    /// It is to run: image files must be as they were, and are ours alone.
    Run,
    /// It is looked at. An image file that is gone is done without.
    Look,
}

/// All disks of a machine, in the order of its configuration.
#[derive(Debug, Default)]
pub(crate) struct DiskBank {
    disks: Vec<Disk>,
}

/// What a snapshot holds of a disk beside its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedDisk {
    state: DiskState,
    /// Hash of the whole image file; `None` where there is no file.
    image: Option<u64>,
}

impl DiskBank {
    /// Opens what `config` names.
    pub fn open(config: &MachineConfig) -> Result<Self, Error> {
        let open = |disk: &DiskConfig| {
            let state = DiskState::new(disk);
            let file = match &disk.source {
                DiskSource::Image { path, access } => {
                    let (file, sectors) = file::open(path, *access).map_err(|error| disk.error(error))?;
                    if sectors != disk.sectors {
                        return Err(disk.error(DiskError::Changed));
                    }
                    Some(Arc::new(file))
                }
                DiskSource::Swap => None,
            };
            Ok(Disk::new(disk, state, file))
        };
        Ok(DiskBank { disks: config.disks.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// The disks of a saved machine; image files are not there yet. `None` if they are not
    /// those of `config`.
    pub fn restore(config: &MachineConfig, saved: &[SavedDisk]) -> Option<Self> {
        let fits = config.disks.len() == saved.len() && config.disks.iter().zip(saved).all(|(c, s)| s.state.fits(c));
        fits.then(|| {
            let disks = config.disks.iter().zip(saved).map(|(config, saved)| {
                let mut disk = Disk::new(config, saved.state.clone(), None);
                disk.expected_image = saved.image;
                disk
            });
            DiskBank { disks: disks.collect() }
        })
    }

    /// Opens the image files of a saved machine.
    pub fn attach(&mut self, config: &MachineConfig, purpose: DiskPurpose) -> Result<(), Error> {
        for (disk, config) in self.disks.iter_mut().zip(&config.disks) {
            let DiskSource::Image { path, access } = &config.source else { continue };
            match purpose {
                DiskPurpose::Run => {
                    let (file, sectors) = file::open(path, *access).map_err(|error| config.error(error))?;
                    let image = file::fingerprint(&file).map_err(|error| config.error(error.into()))?;
                    if sectors != config.sectors || Some(image) != disk.expected_image {
                        return Err(config.error(DiskError::Changed));
                    }
                    disk.file = Some(Arc::new(file));
                }
                DiskPurpose::Look => {
                    disk.file = std::fs::File::open(path).ok().map(Arc::new);
                    disk.keep_image();
                }
            }
        }
        Ok(())
    }

    /// Opens the image files of a saved machine that takes the place of a running one: those that both have
    /// are locked by that one, and handed over.
    pub fn attach_in_place_of(
        &mut self,
        config: &MachineConfig,
        running: &DiskBank,
        running_config: &MachineConfig,
    ) -> Result<(), Error> {
        let held: Vec<_> = running_config.disks.iter().zip(&running.disks).collect();
        for (disk, config) in self.disks.iter_mut().zip(&config.disks) {
            let DiskSource::Image { path, access } = &config.source else { continue };
            let ours = held.iter().find(|(theirs, _)| theirs.source == config.source);
            let (file, sectors) = match ours.and_then(|(theirs, held)| Some((held.file.clone()?, theirs.sectors))) {
                Some(handed_over) => handed_over,
                None => {
                    let (file, sectors) = file::open(path, *access).map_err(|error| config.error(error))?;
                    (Arc::new(file), sectors)
                }
            };
            let image = file::fingerprint(&file).map_err(|error| config.error(error.into()))?;
            if sectors != config.sectors || Some(image) != disk.expected_image {
                return Err(config.error(DiskError::Changed));
            }
            disk.file = Some(file);
        }
        Ok(())
    }

    /// What a snapshot holds.
    pub fn save(&self, config: &MachineConfig) -> Result<Vec<SavedDisk>, Error> {
        let save = |(disk, config): (&Disk, &DiskConfig)| {
            let image = match &disk.file {
                Some(file) => Some(file::fingerprint(file).map_err(|error| config.error(error.into()))?),
                None => disk.expected_image,
            };
            Ok(SavedDisk { state: disk.state.clone(), image })
        };
        self.disks.iter().zip(&config.disks).map(save).collect()
    }

    /// Disks of the same contents, whose writes reach no file.
    pub fn duplicate(&self) -> Self {
        let duplicate = |disk: &Disk| {
            let mut copy = disk.clone();
            copy.keep_image();
            copy
        };
        DiskBank { disks: self.disks.iter().map(duplicate).collect() }
    }

    /// A hash of everything that was written, the same whether it is in a file or not.
    pub fn hash(&self) -> u64 {
        let mut sum = 0u64;
        let mut data = [0; IMAGE_CHUNK];
        for (number, disk) in (0..).zip(&self.disks) {
            for chunk in disk.written() {
                // What cannot be read hashes as nothing: the log has told of it.
                data.fill(0);
                let known = disk.read_chunk(chunk, &mut data).is_ok();
                if known && (disk.state.has_image() || data.iter().any(|&byte| byte != 0)) {
                    sum = sum.wrapping_add(xxh3_64_with_seed(&data, chunk << 2 | number));
                }
            }
        }
        sum
    }
}

impl Disks for DiskBank {
    fn read(&mut self, disk: u8, sector: u64, data: &mut [u8]) -> Result<(), DiskFault> {
        self.disks.get_mut(usize::from(disk)).ok_or(DiskFault)?.read(sector, data)
    }

    fn write(&mut self, disk: u8, sector: u64, data: &[u8]) -> Result<(), DiskFault> {
        self.disks.get_mut(usize::from(disk)).ok_or(DiskFault)?.write(sector, data)
    }

    fn flush(&mut self, disk: u8) -> Result<(), DiskFault> {
        self.disks.get_mut(usize::from(disk)).ok_or(DiskFault)?.flush()
    }
}

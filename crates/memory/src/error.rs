/// Why guest memory can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host refuses the address space.
    #[error("cannot reserve {bytes} bytes of address space for guest memory: {source}")]
    Reserve {
        /// Size asked for.
        bytes: usize,
        /// The host's reason.
        source: std::io::Error,
    },
    /// A range leaves the 4 GiB of physical addresses, or is not made of whole frames.
    #[error("physical range {start:#x}+{len:#x} is not made of whole 4 KiB frames below 4 GiB")]
    Range {
        /// First address.
        start: u64,
        /// Bytes.
        len: u64,
    },
}

/// What is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// Not an ELF file at all.
    #[error("not an ELF file")]
    NotElf,
    /// An ELF file for a 64-bit processor.
    #[error("a 64-bit ELF file: the machine is 32-bit x86")]
    Elf64,
    /// An ELF file of the wrong byte order.
    #[error("a big-endian ELF file: the machine is 32-bit x86")]
    BigEndian,
    /// An ELF file for another processor.
    #[error("an ELF file for {name}: the machine is 32-bit x86")]
    OtherProcessor {
        /// The processor's name.
        name: String,
    },
    /// An ELF file that is no program.
    #[error("an ELF file of type {kind}: not an executable")]
    NotExecutable {
        /// `e_type`.
        kind: u16,
    },
    /// A table or a segment lies beyond the end of the file.
    #[error("truncated: {what} ends at byte {end:#x}, the file at {len:#x}")]
    Truncated {
        /// What lies beyond.
        what: String,
        /// Where it would end.
        end: u64,
        /// Size of the file.
        len: u64,
    },
    /// A header's fields contradict one another.
    #[error("corrupt: {what}")]
    Corrupt {
        /// Which and how.
        what: String,
    },
    /// Nothing to load.
    #[error("no segment to load")]
    NoSegments,
    /// No Multiboot header where one must be.
    #[error("no Multiboot header in the first {searched} bytes")]
    NoMultibootHeader {
        /// How far it was looked for.
        searched: usize,
    },
    /// The header wants something that is not there.
    #[error("the Multiboot header requires features {flags:#06x} that are not supported")]
    Features {
        /// Bits of its flags.
        flags: u32,
    },
    /// A part of the image does not fit into RAM.
    #[error("{what} needs {start:#x}-{last:#x}, which is not all RAM (memory ends at {memory_end:#x})")]
    DoesNotFit {
        /// Which part.
        what: String,
        /// First address.
        start: u64,
        /// Last address.
        last: u64,
        /// End of the machine's memory.
        memory_end: u64,
    },
    /// The boot information is too large.
    #[error("command line and boot information take {bytes} bytes, more than the {room} that there are below 1 MiB")]
    TooMuchInformation {
        /// Size.
        bytes: u64,
        /// Room.
        room: u64,
    },
    /// A string for the kernel has a NUL in it.
    #[error("the command line has a NUL byte in it")]
    NulInCommandLine,
    /// A ROM of an impossible size.
    #[error("a ROM of {bytes} bytes: must be 4 KiB to 16 MiB, in whole 4 KiB pages")]
    RomSize {
        /// Size of the file.
        bytes: u64,
    },
}

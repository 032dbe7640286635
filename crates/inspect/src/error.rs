use x86::LinearAddr;

/// Why a lens has nothing to show. Each is one clear line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The kernel is not ours, or has not filled its books yet.
    #[error("{0}")]
    NoBooks(&'static str),
    /// The kernel's records have another layout than this program knows.
    #[error("the guest kernel's books have version {found}, this program reads version {known}")]
    BooksVersion {
        /// What the guest says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// A pointer in the guest's books leads nowhere.
    #[error("the guest kernel's {what} at {addr:#010x} cannot be read: its books are damaged")]
    Unreadable {
        /// Which record.
        what: &'static str,
        /// Where it should be.
        addr: u32,
    },
    /// A list in the guest's books is longer than any sane one.
    #[error("the guest kernel's list of {what} does not end: its books are damaged")]
    Endless {
        /// Which list.
        what: &'static str,
    },
    /// A list in the guest's books comes back to where it was.
    #[error("the guest kernel's list of {what} comes back to {addr:#010x}: its books are damaged")]
    Cycle {
        /// Which list.
        what: &'static str,
        /// The record that comes again.
        addr: u32,
    },
    /// A record in the guest's books says what can't be.
    #[error("the guest kernel's {what} at {addr:#010x}: {why}: its books are damaged")]
    Lie {
        /// Which record.
        what: &'static str,
        /// Where it is.
        addr: u32,
        /// What can't be.
        why: String,
    },
    /// What was asked for is not there, and the books are damaged.
    #[error("{why}; {damage}")]
    Damaged {
        /// What is missing.
        why: Box<Error>,
        /// What was found wrong.
        damage: String,
    },
    /// No process has this number.
    #[error("no process {0} in the guest")]
    NoProcess(u32),
    /// The machine has fewer CPUs.
    #[error("no CPU {asked}: the machine has {have}")]
    NoCpu {
        /// The number given.
        asked: usize,
        /// How many there are.
        have: usize,
    },
    /// A word that is no address, symbol, register or `segment:offset`.
    #[error("`{0}` is neither an address, a symbol, a register nor segment:offset")]
    BadAddress(String),
    /// The name is in no symbol table that we have.
    #[error("no symbol `{0}`")]
    NoSymbol(String),
    /// Nothing is mapped where something was to be read.
    #[error("cannot read memory at {0:?}: nothing is mapped there")]
    Unmapped(LinearAddr),
    /// A segment selector that names no usable descriptor.
    #[error("selector {selector:#06x}: {why}")]
    BadSelector {
        /// The selector.
        selector: u16,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing to explain.
    #[error("no fault of this machine is known that was not resolved")]
    NoFault,
    /// Only CPUs and memory of the machine are known.
    #[error("the machine's display is not known here")]
    NoScreen,
    /// The books are in the middle of a change, and there is no room for a machine to run on.
    #[error("the machine cannot be copied: {0}")]
    NoCopy(String),
    /// What was found is damaged, and the books are in the middle of a change.
    #[error("{note}: {why}")]
    InFlux {
        /// Which change.
        note: String,
        /// What was found.
        why: Box<Error>,
    },
    /// The command's words make no request.
    #[error("{0}")]
    Usage(String),
}

/// What a lens gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

//! gdb on a machine: the remote protocol by gdbstub over TCP or a Unix socket.
//!
//! One stub is one process for gdb and the CPUs are its threads. What gdb reads touches
//! nothing; breakpoints and watchpoints live beside the machine, in the engine. The
//! [`Server`] listens; the run loop asks it whether somebody knocks and hands it the
//! machine for the length of a session. What the machine needs meanwhile (its host, signals,
//! limits, other lookers) the [`Keeper`] does.
#![forbid(unsafe_code)]

mod arch;
mod error;
mod link;
mod listen;
mod lldb;
mod registers;
mod server;
mod session;
mod stub;

pub use error::Error;
pub use link::Stream;
pub use listen::{ListenAddr, Listener};
pub use server::{Ahead, Ending, Keeper, Server, Setup, Verdict};

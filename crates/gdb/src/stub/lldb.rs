//! What lldb asks beyond gdb: which machine this is.

use std::convert::Infallible;

use gdbstub::common::{Endianness, Pid};
use gdbstub::target::ext::host_info::{HostInfo, HostInfoResponse};
use gdbstub::target::ext::process_info::{ProcessInfo, ProcessInfoResponse};

use super::Stub;

/// The machine in LLVM's words, in every mode of the CPU.
const TRIPLE: &str = "i386-unknown-linux-gnu";

impl HostInfo for Stub<'_> {
    fn host_info(&self, write: &mut dyn FnMut(&HostInfoResponse<'_>)) -> Result<(), Infallible> {
        write(&HostInfoResponse::Triple(TRIPLE));
        write(&HostInfoResponse::Endianness(Endianness::Little));
        write(&HostInfoResponse::PointerSize(4));
        Ok(())
    }
}

impl ProcessInfo for Stub<'_> {
    /// Of the one process that there is for the protocol; whose it is, is chosen by `monitor proc`.
    fn process_info(&self, write: &mut dyn FnMut(&ProcessInfoResponse<'_>)) -> Result<(), Infallible> {
        write(&ProcessInfoResponse::Pid(Pid::MIN));
        write(&ProcessInfoResponse::Triple(TRIPLE));
        write(&ProcessInfoResponse::Endianness(Endianness::Little));
        write(&ProcessInfoResponse::PointerSize(4));
        Ok(())
    }
}

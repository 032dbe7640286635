//! A board for tests: time is set by hand, effects are kept.
use crate::{Board, Outlet, ResetCause};

#[derive(Default)]
pub struct TestBoard {
    pub now_ns: u64,
    pub resets: Vec<ResetCause>,
    pub status: Option<u32>,
    pub emitted: Vec<(Outlet, u8)>,
}

impl Board for TestBoard {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn reset(&mut self, cause: ResetCause) {
        self.resets.push(cause);
    }

    fn power_off(&mut self, status: u32) {
        self.status = Some(status);
    }

    fn emit(&mut self, outlet: Outlet, byte: u8) {
        self.emitted.push((outlet, byte));
    }
}

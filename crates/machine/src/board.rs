use devices::{Board, Outlet, ResetCause};

/// What chips asked for since the run loop looked last. It is acted on before the machine
/// rests, so it is no state.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub reset: Option<ResetCause>,
    pub power_off: Option<u32>,
    /// Bytes on their way out, in order.
    pub output: Vec<(Outlet, u8)>,
}

impl Signals {
    /// Whether the run loop must look before the next instruction.
    pub fn pressing(&self) -> bool {
        self.reset.is_some() || self.power_off.is_some() || self.output.len() >= OUTPUT_HIGH_WATER
    }
}

/// Output is handed to the host at the latest when so much has gathered.
const OUTPUT_HIGH_WATER: usize = 4096;

/// The board as a chip sees it during one access.
pub(crate) struct BoardView<'a> {
    pub now_ns: u64,
    pub signals: &'a mut Signals,
}

impl Board for BoardView<'_> {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn reset(&mut self, cause: ResetCause) {
        self.signals.reset = Some(cause);
    }

    fn power_off(&mut self, status: u32) {
        self.signals.power_off = Some(status);
    }

    fn emit(&mut self, outlet: Outlet, byte: u8) {
        self.signals.output.push((outlet, byte));
    }
}

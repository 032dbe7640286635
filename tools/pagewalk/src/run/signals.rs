//! Ctrl-C and friends: the run ends between two instructions; if it can't (a blocking read of
//! standard input), the process ends.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::prepare::Stream;
use crate::error::{Error, status};

/// How long a run may take to end by itself.
const GRACE: Duration = Duration::from_millis(500);

/// Files to take away if the process must end at once: control sockets.
static LEFTOVERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has `path` removed when a signal ends the process.
pub fn remove_at_end(path: PathBuf) {
    LEFTOVERS.lock().unwrap_or_else(|e| e.into_inner()).push(path);
}

/// A flag that SIGINT, SIGTERM and SIGHUP set. Where the keyboard is gdb's, its Ctrl-C is none
/// of our concern.
pub fn watch(stdin: Stream) -> Result<Arc<AtomicBool>, Error> {
    let cannot = |e| Error::CannotStart(format!("cannot handle signals: {e}"));
    let flag = Arc::new(AtomicBool::new(false));
    let ours: &[i32] = match stdin {
        Stream::Absent => {
            signal_hook::flag::register(SIGINT, Arc::default()).map_err(cannot)?;
            &[SIGTERM, SIGHUP]
        }
        Stream::Terminal | Stream::Raw => &[SIGINT, SIGTERM, SIGHUP],
    };
    let mut signals = signal_hook::iterator::Signals::new(ours).map_err(cannot)?;
    let set = Arc::clone(&flag);
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            set.store(true, Ordering::Relaxed);
            thread::sleep(GRACE);
            super::terminal::restore();
            for path in LEFTOVERS.lock().unwrap_or_else(|e| e.into_inner()).drain(..) {
                let _ = std::fs::remove_file(path);
            }
            let code = if signal == SIGINT { i32::from(status::INTERRUPTED) } else { 128 + signal };
            std::process::exit(code);
        }
    });
    Ok(flag)
}

//! The order to stop: Ctrl-C, or SIGTERM, which is how everything else asks a process to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Hears the order from the moment it is made; before that, a signal ends the process at once.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn listen() -> Result<Stop, Failure> {
        let hear = |kind| signal(kind).map_err(|error| Failure::io("signals cannot be heard", &error));
        Ok(Stop { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// Waits for the order. May be dropped and called again without missing one.
    pub(crate) async fn ordered(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

//! SIGTERM and SIGINT: the first asks for a shutdown, the second ends the process at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::lifecycle::Lifecycle;

/// Listens for signals on the runtime that the caller runs on; returns at once.
pub(crate) fn watch(lifecycle: Arc<Lifecycle>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if !lifecycle.begin_shutdown(name) {
                tracing::error!(signal = name, "second signal: exit without waiting");
                std::process::exit(1);
            }
        }
    });
    Ok(())
}

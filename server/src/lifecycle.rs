//! Where the process stands: recovering, serving, draining. Knows nothing of what is drained.

use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam::channel::{Receiver, Sender, bounded};
use tokio::sync::watch;

/// What the process does for its clients now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading its data; no client is served.
    Recovering,
    /// Serving.
    Serving,
    /// Finishing what was begun; new clients are refused.
    Draining,
}

/// The stage, told to those who ask and to those who wait.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    stage: AtomicU8,
    draining: watch::Sender<bool>,
    wake: Sender<&'static str>,
    waiting: Receiver<&'static str>,
}

impl Lifecycle {
    /// Starts in [`Stage::Recovering`].
    pub(crate) fn new() -> Self {
        let (wake, waiting) = bounded(1);
        let draining = watch::Sender::new(false);
        Self { stage: AtomicU8::new(RECOVERING), draining, wake, waiting }
    }

    /// The stage now.
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            RECOVERING => Stage::Recovering,
            SERVING => Stage::Serving,
            _ => Stage::Draining,
        }
    }

    /// Recovery has ended; has no effect once a shutdown was asked for.
    pub(crate) fn begin_serving(&self) {
        let _ =
            self.stage.compare_exchange(RECOVERING, SERVING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Asks for a shutdown; `reason` goes to the log. False if one was asked for before.
    pub(crate) fn begin_shutdown(&self, reason: &'static str) -> bool {
        let before = self.stage.swap(DRAINING, Ordering::AcqRel);
        self.draining.send_replace(true);
        before != DRAINING && self.wake.try_send(reason).is_ok()
    }

    /// Blocks until a shutdown is asked for and returns the reason.
    pub(crate) fn wait_for_shutdown(&self) -> &'static str {
        self.waiting.recv().unwrap_or("closed")
    }

    /// Becomes true when draining begins.
    pub(crate) fn draining(&self) -> watch::Receiver<bool> {
        self.draining.subscribe()
    }
}

const RECOVERING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_only_go_forward() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.stage(), Stage::Recovering);
        lifecycle.begin_serving();
        assert_eq!(lifecycle.stage(), Stage::Serving);
        assert!(lifecycle.begin_shutdown("test"));
        assert!(!lifecycle.begin_shutdown("again"));
        lifecycle.begin_serving();
        assert_eq!(lifecycle.stage(), Stage::Draining);
        assert_eq!(lifecycle.wait_for_shutdown(), "test");
        assert!(*lifecycle.draining().borrow());
    }
}

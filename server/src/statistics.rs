//! The counts of INFO since the last CONFIG RESETSTAT. The counters themselves only grow, as
//! Prometheus wants them. Knows nothing of how they are shown.

use std::time::Duration;

use tilekv_protocol::{CommandId, commands};

use crate::family::Family;
use crate::metrics::{Ending, Metrics};

/// Counts at one moment, or between two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statistics {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Connections refused because of the limit.
    pub(crate) rejected: u64,
    /// Bytes read from sockets.
    pub(crate) bytes_read: u64,
    /// Bytes written to sockets.
    pub(crate) bytes_written: u64,
    /// Commands that were answered or refused.
    pub(crate) commands: u64,
    /// Commands that were refused.
    pub(crate) refused: u64,
    /// Writes answered -BUSY.
    pub(crate) busy: u64,
    /// In the order of the table of commands.
    pub(crate) by_command: Vec<CommandStatistics>,
}

/// Counts of one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandStatistics {
    /// How often it ended.
    pub(crate) calls: u64,
    /// How often it was refused.
    pub(crate) refused: u64,
    /// How long it took in sum.
    pub(crate) time: Duration,
}

impl Statistics {
    /// The counts now.
    pub(crate) fn read(metrics: &Metrics) -> Self {
        let ended = |ending: Ending| -> u64 {
            Family::ALL.iter().map(|family| metrics.commands(*family, ending)).sum()
        };
        let refused = ended(Ending::Refused);
        let ids = (0..commands().len()).filter_map(CommandId::at);
        Self {
            accepted: metrics.sum(|thread| &thread.accepted),
            rejected: metrics.sum(|thread| &thread.rejected),
            bytes_read: metrics.sum(|thread| &thread.bytes_read),
            bytes_written: metrics.sum(|thread| &thread.bytes_written),
            commands: ended(Ending::Answered) + refused,
            refused,
            busy: metrics.sum(|thread| &thread.busy),
            by_command: ids.map(|id| metrics.command(id)).collect(),
        }
    }

    /// What was counted since then.
    pub(crate) fn since(&self, then: &Self) -> Self {
        let by_command = self.by_command.iter().enumerate().map(|(index, now)| {
            let then = then.by_command.get(index).copied().unwrap_or_default();
            now.since(then)
        });
        Self {
            accepted: self.accepted.saturating_sub(then.accepted),
            rejected: self.rejected.saturating_sub(then.rejected),
            bytes_read: self.bytes_read.saturating_sub(then.bytes_read),
            bytes_written: self.bytes_written.saturating_sub(then.bytes_written),
            commands: self.commands.saturating_sub(then.commands),
            refused: self.refused.saturating_sub(then.refused),
            busy: self.busy.saturating_sub(then.busy),
            by_command: by_command.collect(),
        }
    }
}

impl CommandStatistics {
    fn since(self, then: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(then.calls),
            refused: self.refused.saturating_sub(then.refused),
            time: self.time.saturating_sub(then.time),
        }
    }
}

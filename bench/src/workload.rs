//! Workloads: what is asked of each peer, and what the data says the answers are. Knows nothing of
//! sockets' pace or of how peers are started.

pub mod fill;
pub mod redis_reads;
pub mod redis_writes;
pub mod tilekv_native;
pub mod tilekv_resp;

use std::io::Read;
use std::net::TcpStream;

use bytes::BytesMut;

use crate::dataset::{BATCH_WINDOWS, Dataset, Totals, VIEW_COUNT, WINDOW_COUNT};
use crate::error::{BenchError, Doing};
use crate::load::Ticket;
use crate::random::Random;
use crate::resp::{Item, Items};

/// The views, by number.
pub const VIEW_NAMES: [&str; 2] = ["daily0", "daily1"];

/// The view that events are written to: nothing reads it.
pub const EVENT_VIEW_NAME: &str = "events";

/// Entities of one batch read.
pub const BATCH_ENTITIES: usize = 200;

/// Rows of one batch of events.
pub const BATCH_ROWS: usize = 100;

/// The data set with every answer worked out beforehand.
#[derive(Debug)]
pub struct Model {
    /// The data.
    pub dataset: Dataset,
    /// When windows are asked for: none is the server's clock.
    pub read_at: Option<i64>,
    totals: Vec<Totals>,
}

impl Model {
    /// Works out all answers.
    #[must_use]
    pub fn new(dataset: Dataset, read_at: Option<i64>) -> Self {
        let views = 0..VIEW_COUNT;
        let all = views.flat_map(|view| (0..dataset.entities).map(move |entity| (view, entity)));
        let totals = all.map(|(view, entity)| dataset.totals(view, entity)).collect();
        Self { dataset, read_at, totals }
    }

    /// What an entity's windows add up to.
    #[must_use]
    pub fn totals(&self, view: u32, entity: u32) -> &Totals {
        let index = u64::from(view) * u64::from(self.dataset.entities) + u64::from(entity);
        &self.totals[position(index)]
    }

    /// The entity that a ticket stands for.
    #[must_use]
    pub fn entity(&self, ticket: Ticket) -> u32 {
        Random::new(ticket).below(self.dataset.entities)
    }

    /// Draws the entities of a batch.
    pub fn draw_batch(&self, ticket: Ticket, entities: &mut Vec<u32>) {
        let mut random = Random::new(ticket);
        entities.clear();
        entities.extend((0..BATCH_ENTITIES).map(|_| random.below(self.dataset.entities)));
    }

    /// Checks what a peer's tiles of one entity add up to.
    pub fn check(
        &self,
        peer: &'static str,
        (view, entity): (u32, u32),
        found: &Totals,
    ) -> Result<(), BenchError> {
        let expected = self.totals(view, entity);
        if expected == found {
            return Ok(());
        }
        Err(wrong_answer(peer, &format!("{expected:?} of u:{entity} in view {view}"), found))
    }
}

/// The sums over the windows that a batch asks for.
#[must_use]
pub fn batch_sums(totals: &Totals) -> [f64; 3] {
    BATCH_WINDOWS.map(|window| totals.sums[window])
}

/// The selectors of one view for a single entity: sum and count of every window.
#[must_use]
pub fn single_selectors() -> Vec<String> {
    let windows = crate::dataset::WINDOWS.iter();
    windows.flat_map(|days| [format!("total@{days}d"), format!("payments@{days}d")]).collect()
}

/// The selectors of one view for a batch: the sum of three windows.
#[must_use]
pub fn batch_selectors() -> Vec<String> {
    let windows = BATCH_WINDOWS.iter().map(|&window| crate::dataset::WINDOWS[window]);
    windows.map(|days| format!("total@{days}d")).collect()
}

/// A key, such as `h0:u:17`, without an allocation.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    bytes: [u8; 24],
    start: usize,
}

impl Key {
    /// The key of an entity.
    #[must_use]
    pub fn new(prefix: &str, entity: u32) -> Self {
        let mut bytes = [0; 24];
        let mut start = bytes.len();
        let mut rest = entity;
        loop {
            start -= 1;
            bytes[start] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let end = start;
        start -= prefix.len();
        bytes[start..end].copy_from_slice(prefix.as_bytes());
        Self { bytes, start }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

/// An error that names what was expected and found.
pub(crate) fn wrong_answer(
    peer: &'static str,
    expected: &str,
    found: &dyn std::fmt::Debug,
) -> BenchError {
    BenchError::WrongAnswer { peer, expected: expected.to_owned(), found: format!("{found:?}") }
}

/// An error that shows an item of RESP as text.
pub(crate) fn wrong_item(peer: &'static str, expected: &str, found: Item<'_>) -> BenchError {
    let found = match found {
        Item::Error(text) | Item::Status(text) | Item::Bulk(text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        other => format!("{other:?}"),
    };
    BenchError::WrongAnswer { peer, expected: expected.to_owned(), found }
}

/// Sends what `out` holds and waits for one item of a reply, on a connection that blocks.
pub(crate) fn ask_item<T>(
    stream: &mut TcpStream,
    out: &BytesMut,
    check: impl FnOnce(Item<'_>) -> T,
) -> Result<T, BenchError> {
    std::io::Write::write_all(stream, out).doing("send a command")?;
    let mut input = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let count = stream.read(&mut buffer).doing("receive an answer")?;
        if count == 0 {
            let closed = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(closed).doing("receive an answer");
        }
        input.extend_from_slice(&buffer[..count]);
        if let Some(item) = Items::new(&input).next_item() {
            return Ok(check(item));
        }
    }
}

/// An index from a number that is below a length.
pub(crate) fn position(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// Sums and counts of no window.
pub(crate) const NO_TOTALS: Totals =
    Totals { sums: [0.0; WINDOW_COUNT], counts: [0; WINDOW_COUNT] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_prefix_and_digits() {
        assert_eq!(Key::new("h0:u:", 0).bytes(), b"h0:u:0");
        assert_eq!(Key::new("u:", u32::MAX).bytes(), b"u:4294967295");
    }

    #[test]
    fn selectors_name_every_window() {
        assert_eq!(single_selectors()[..3], ["total@7d", "payments@7d", "total@14d"]);
        assert_eq!(batch_selectors(), ["total@7d", "total@30d", "total@90d"]);
    }

    #[test]
    fn a_wrong_total_is_found() {
        let model = Model::new(Dataset::new(3, 0, 1), None);
        let right = model.dataset.totals(1, 2);
        model.check("peer", (1, 2), &right).unwrap();
        let mut wrong = right;
        wrong.counts[3] += 1;
        assert!(model.check("peer", (1, 2), &wrong).is_err());
    }
}

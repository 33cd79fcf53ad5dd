//! TileKV over RESP: windows, events, tiles. Knows nothing of the native protocol.

use std::net::TcpStream;
use std::sync::Arc;

use bytes::BytesMut;

use super::{BATCH_ROWS, EVENT_VIEW_NAME, Key, Model, VIEW_NAMES, single_selectors, wrong_item};
use crate::dataset::{DAY_COUNT, DAY_MS, DayTile, Totals, WINDOW_COUNT};
use crate::error::BenchError;
use crate::load::{Step, Ticket, Workload};
use crate::random::Random;
use crate::resp::{Item, Items, drop_front, put, put_argument, put_command};

/// WINDOW.GET of one entity: all windows, sum and count.
#[derive(Debug)]
pub struct Single {
    model: Arc<Model>,
    selectors: Vec<String>,
}

impl Single {
    /// Reads the first view.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, selectors: single_selectors() }
    }
}

impl Workload for Single {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let key = Key::new("u:", self.model.entity(ticket));
        let time = self.model.read_at.map(|at| at.to_string());
        put_command(out, 3 + self.selectors.len() + 2 * usize::from(time.is_some()));
        put_argument(out, b"WINDOW.GET");
        put_argument(out, VIEW_NAMES[0].as_bytes());
        put_argument(out, key.bytes());
        self.selectors.iter().for_each(|selector| put_argument(out, selector.as_bytes()));
        if let Some(time) = time {
            put_argument(out, b"AT");
            put_argument(out, time.as_bytes());
        }
        Ok(())
    }

    fn read(&mut self, ticket: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        match items.next_item() {
            None => return Ok(Step::Wait),
            Some(Item::Array(length)) if length == self.selectors.len() => {}
            Some(other) => return Err(wrong_item(PEER, "8 values", other)),
        }
        let mut found = Totals::default();
        for window in 0..WINDOW_COUNT {
            let (Some(sum), Some(count)) = (items.next_item(), items.next_item()) else {
                return Ok(Step::Wait);
            };
            found.sums[window] = parse_sum(sum)?;
            found.counts[window] = parse_count(count)?;
        }
        let taken = items.taken();
        self.model.check(PEER, (0, self.model.entity(ticket)), &found)?;
        drop_front(input, taken);
        Ok(Step::Done)
    }
}

/// The sum over an empty window is nil.
fn parse_sum(item: Item<'_>) -> Result<f64, BenchError> {
    let parsed = match item {
        Item::Nil => Some(0.0),
        Item::Bulk(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    parsed.ok_or_else(|| wrong_item(PEER, "a double or nil", item))
}

fn parse_count(item: Item<'_>) -> Result<u64, BenchError> {
    let parsed = match item {
        Item::Integer(count) => u64::try_from(count).ok(),
        _ => None,
    };
    parsed.ok_or_else(|| wrong_item(PEER, "a count", item))
}

/// TILE.ADD of one event, or TILE.MADD of 100.
#[derive(Debug)]
pub struct Events {
    model: Arc<Model>,
    rows: usize,
    days: Vec<String>,
}

impl Events {
    /// TILE.ADD.
    #[must_use]
    pub fn single(model: Arc<Model>) -> Self {
        Self::of(model, 1)
    }

    /// TILE.MADD of 100 rows.
    #[must_use]
    pub fn batch(model: Arc<Model>) -> Self {
        Self::of(model, BATCH_ROWS)
    }

    fn of(model: Arc<Model>, rows: usize) -> Self {
        let days = (0..DAY_COUNT).map(|day| (model.dataset.day_ms(day) + NOON_MS).to_string());
        let days = days.collect();
        Self { model, rows, days }
    }

    /// The entity, time and amount of a row: amounts are whole, and so are their texts.
    fn draw(&self, random: &mut Random) -> (Key, &str, Key) {
        let entity = Key::new("u:", random.below(self.model.dataset.entities));
        let day = usize::try_from(random.below(DAY_COUNT)).unwrap_or_default();
        (entity, &self.days[day], Key::new("", random.below(1_000)))
    }
}

impl Workload for Events {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let mut random = Random::new(ticket);
        let view = EVENT_VIEW_NAME.as_bytes();
        if self.rows == 1 {
            let (entity, time, amount) = self.draw(&mut random);
            let time = time.as_bytes();
            put(out, &[b"TILE.ADD", view, entity.bytes(), time, b"amount", amount.bytes()]);
            return Ok(());
        }
        put_command(out, 7 + 3 * self.rows);
        for head in [&b"TILE.MADD"[..], view, b"COLUMNS", b"1", b"amount", b"ROWS", b"100"] {
            put_argument(out, head);
        }
        for _ in 0..self.rows {
            let (entity, time, amount) = self.draw(&mut random);
            put_argument(out, entity.bytes());
            put_argument(out, time.as_bytes());
            put_argument(out, amount.bytes());
        }
        Ok(())
    }

    fn read(&mut self, _: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        let step = match items.next_item() {
            None => return Ok(Step::Wait),
            Some(Item::Integer(rows)) if usize::try_from(rows) == Ok(self.rows) => Step::Done,
            Some(Item::Error(text)) if text.starts_with(b"BUSY ") => Step::Busy,
            Some(other) => return Err(wrong_item(PEER, "the rows applied", other)),
        };
        let taken = items.taken();
        drop_front(input, taken);
        Ok(step)
    }
}

/// TILE.SET of an entity's newest tile, with the value that it has.
#[derive(Debug)]
pub struct Rewrites {
    model: Arc<Model>,
}

impl Rewrites {
    /// Writes to the first view.
    #[must_use]
    pub fn new(model: Arc<Model>) -> Self {
        Self { model }
    }
}

impl Workload for Rewrites {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let entity = self.model.entity(ticket);
        if let Some(tile) = self.model.dataset.tiles(0, entity).last() {
            put_tile(&self.model, (0, entity), tile, out);
        }
        Ok(())
    }

    fn read(&mut self, _: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        match items.next_item() {
            None => return Ok(Step::Wait),
            Some(Item::Status(b"OK")) => {}
            Some(Item::Error(text)) if text.starts_with(b"BUSY ") => {}
            Some(other) => return Err(wrong_item(PEER, "OK", other)),
        }
        let taken = items.taken();
        drop_front(input, taken);
        Ok(Step::Done)
    }
}

/// Writes TILE.SET of a tile.
pub(super) fn put_tile(
    model: &Model,
    (view, entity): (u32, u32),
    tile: &DayTile,
    out: &mut BytesMut,
) {
    let start = model.dataset.day_ms(tile.day).to_string();
    let view = VIEW_NAMES[usize::from(view != 0)].as_bytes();
    let (sum, max) = (tile.sum.to_string(), tile.max.to_string());
    put_command(out, 10);
    for argument in [&b"TILE.SET"[..], view, Key::new("u:", entity).bytes(), start.as_bytes()] {
        put_argument(out, argument);
    }
    let count = Key::new("", tile.count);
    for (feature, partial) in
        [("total", sum.as_bytes()), ("payments", count.bytes()), ("peak", max.as_bytes())]
    {
        put_argument(out, feature.as_bytes());
        put_argument(out, partial);
    }
}

/// Events lie in the middle of their day.
pub(super) const NOON_MS: i64 = DAY_MS / 2;

const PEER: &str = "tilekv over RESP";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;

    #[test]
    fn windows_are_checked_number_by_number() {
        let model = Arc::new(Model::new(Dataset::new(5, 0, 1), None));
        let mut single = Single::new(Arc::clone(&model));
        let totals = *model.totals(0, model.entity(3));
        let mut reply = BytesMut::new();
        put_command(&mut reply, 8);
        for window in 0..WINDOW_COUNT {
            put_argument(&mut reply, totals.sums[window].to_string().as_bytes());
            reply.extend_from_slice(format!(":{}\r\n", totals.counts[window]).as_bytes());
        }
        let mut wrong = reply.clone();
        assert_eq!(single.read(3, 0, &mut reply).unwrap(), Step::Done);
        assert!(reply.is_empty());
        let last = wrong.len() - 3;
        wrong[last] ^= 1;
        assert!(single.read(3, 0, &mut wrong).is_err(), "a count that is off by one");
    }
}

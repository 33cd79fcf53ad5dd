//! Writes to a store that keeps tiles as opaque values. Knows nothing of TileKV.

use std::net::TcpStream;
use std::sync::Arc;

use bytes::BytesMut;

use super::redis_reads::{Form, rolled};
use super::{BATCH_ROWS, Key, Model, batch_sums, wrong_item};
use crate::dataset::{DAY_COUNT, DayTile};
use crate::error::BenchError;
use crate::load::{Step, Ticket, Workload};
use crate::random::Random;
use crate::resp::{Item, Items, drop_front, put, put_argument, put_command};

/// HSET of one day's value, or of 100 as one logical request.
#[derive(Debug)]
pub struct HashWrites {
    model: Arc<Model>,
    rows: usize,
}

impl HashWrites {
    /// One row per request.
    #[must_use]
    pub fn single(model: Arc<Model>) -> Self {
        Self { model, rows: 1 }
    }

    /// 100 rows per request.
    #[must_use]
    pub fn batch(model: Arc<Model>) -> Self {
        Self { model, rows: BATCH_ROWS }
    }
}

impl Workload for HashWrites {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let mut random = Random::new(ticket);
        for _ in 0..self.rows {
            let key = Key::new("e:u:", random.below(self.model.dataset.entities));
            let day = Key::new("", random.below(DAY_COUNT));
            let sum = f64::from(random.below(1_000)) * 0.5;
            let value = DayTile { day: 0, sum, count: 1, max: sum }.packed();
            put(out, &[b"HSET", key.bytes(), day.bytes(), &value]);
        }
        Ok(())
    }

    fn read(&mut self, _: Ticket, step: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        match items.next_item() {
            None => return Ok(Step::Wait),
            Some(Item::Integer(0 | 1)) => {}
            Some(other) => return Err(wrong_item("redis", "0 or 1", other)),
        }
        let taken = items.taken();
        drop_front(input, taken);
        Ok(if step + 1 == self.rows { Step::Done } else { Step::Part })
    }
}

/// Writes an entity's newest tile anew, with the value that it has.
#[derive(Debug)]
pub struct Rewrites {
    model: Arc<Model>,
    form: Form,
}

impl Rewrites {
    /// Writes what a reader of this form reads.
    #[must_use]
    pub fn new(model: Arc<Model>, form: Form) -> Self {
        Self { model, form }
    }
}

impl Workload for Rewrites {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let entity = self.model.entity(ticket);
        put_entity(&self.model, self.form, (0, entity), 1, out);
        Ok(())
    }

    fn read(&mut self, _: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        match items.next_item() {
            None => return Ok(Step::Wait),
            Some(Item::Integer(_) | Item::Status(_)) => {}
            Some(other) => return Err(wrong_item("redis", "OK", other)),
        }
        let taken = items.taken();
        drop_front(input, taken);
        Ok(Step::Done)
    }
}

/// Writes what is kept of an entity in a view; of a hash, the newest `days` fields.
pub(super) fn put_entity(
    model: &Model,
    form: Form,
    (view, entity): (u32, u32),
    days: usize,
    out: &mut BytesMut,
) {
    let number = usize::from(view != 0);
    let key = form.key(number, entity);
    match form {
        Form::Hash => {
            let tiles = model.dataset.tiles(view, entity);
            let newest = &tiles[tiles.len().saturating_sub(days)..];
            put_command(out, 2 + 2 * newest.len());
            put_argument(out, b"HSET");
            put_argument(out, key.bytes());
            for tile in newest {
                put_argument(out, Key::new("", tile.day).bytes());
                put_argument(out, &tile.packed());
            }
        }
        Form::Blob => {
            let mut blob = Vec::with_capacity(28 * 27);
            for tile in model.dataset.tiles(view, entity) {
                blob.extend_from_slice(&tile.day.to_le_bytes());
                blob.extend_from_slice(&tile.packed());
            }
            put(out, &[b"SET", key.bytes(), &blob]);
        }
        Form::Rolled => {
            let sums = batch_sums(model.totals(view, entity));
            put(out, &[b"SET", key.bytes(), &rolled(sums)]);
        }
    }
}

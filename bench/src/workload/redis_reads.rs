//! Reads of a store that keeps tiles as opaque values: what a feature server does with it, the
//! merge of the tiles included. Knows nothing of TileKV.

use std::net::TcpStream;
use std::sync::Arc;

use bytes::BytesMut;

use super::{BATCH_ENTITIES, Key, Model, NO_TOTALS, batch_sums, wrong_answer, wrong_item};
use crate::dataset::{Totals, VIEW_COUNT};
use crate::error::BenchError;
use crate::load::{Step, Ticket, Workload};
use crate::resp::{Item, Items, drop_front, put, put_argument, put_command};

/// How the tiles are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A hash per entity and view: a field per day, a value of 24 bytes. Read by HGETALL.
    Hash,
    /// A string per entity and view: 28 bytes per tile, the day and its value.
    Blob,
    /// A string per entity and view: the answers themselves, 3 sums, worked out beforehand.
    Rolled,
}

/// Prefixes of the keys, by view.
pub(super) const HASH_PREFIXES: [&str; 2] = ["h0:u:", "h1:u:"];
/// Prefixes of the keys, by view.
pub(super) const BLOB_PREFIXES: [&str; 2] = ["b0:u:", "b1:u:"];
/// Prefixes of the keys, by view.
pub(super) const ROLLED_PREFIXES: [&str; 2] = ["r0:u:", "r1:u:"];

impl Form {
    /// The key of an entity's tiles in a view.
    pub(super) fn key(self, view: usize, entity: u32) -> Key {
        let prefixes = match self {
            Self::Hash => HASH_PREFIXES,
            Self::Blob => BLOB_PREFIXES,
            Self::Rolled => ROLLED_PREFIXES,
        };
        Key::new(prefixes[view], entity)
    }
}

/// PING.
#[derive(Debug)]
pub struct Ping;

impl Workload for Ping {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, _: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        put(out, &[b"PING"]);
        Ok(())
    }

    fn read(&mut self, _: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        match items.next_item() {
            None => return Ok(Step::Wait),
            Some(Item::Status(b"PONG")) => {}
            Some(other) => return Err(wrong_item(PEER, "PONG", other)),
        }
        let taken = items.taken();
        drop_front(input, taken);
        Ok(Step::Done)
    }
}

/// One entity of the first view: all windows, sum and count.
#[derive(Debug)]
pub struct Single {
    model: Arc<Model>,
    form: Form,
}

impl Single {
    /// Reads tiles kept in this form.
    #[must_use]
    pub fn new(model: Arc<Model>, form: Form) -> Self {
        assert!(form != Form::Rolled, "values rolled up beforehand hold no counts");
        Self { model, form }
    }
}

impl Workload for Single {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        let key = self.form.key(0, self.model.entity(ticket));
        let verb: &[u8] = if self.form == Form::Hash { b"HGETALL" } else { b"GET" };
        put(out, &[verb, key.bytes()]);
        Ok(())
    }

    fn read(&mut self, ticket: Ticket, _: usize, input: &mut BytesMut) -> Result<Step, BenchError> {
        let mut items = Items::new(input);
        let Some(totals) = take_tiles(&mut items, self.form)? else {
            return Ok(Step::Wait);
        };
        let taken = items.taken();
        self.model.check(PEER, (0, self.model.entity(ticket)), &totals)?;
        drop_front(input, taken);
        Ok(Step::Done)
    }
}

/// 200 entities of two views, three windows each, as one logical request.
#[derive(Debug)]
pub struct Batch {
    model: Arc<Model>,
    form: Form,
    drawn: Vec<u32>,
    drawn_for: Option<Ticket>,
}

impl Batch {
    /// Reads what is kept in this form.
    #[must_use]
    pub fn new(model: Arc<Model>, form: Form) -> Self {
        Self { model, form, drawn: Vec::new(), drawn_for: None }
    }

    fn draw(&mut self, ticket: Ticket) {
        if self.drawn_for != Some(ticket) {
            self.model.draw_batch(ticket, &mut self.drawn);
            self.drawn_for = Some(ticket);
        }
    }

    fn check(&self, item: usize, found: &Totals) -> Result<(), BenchError> {
        let (view, entity) = self.place(item);
        self.model.check(PEER, (view, entity), found)
    }

    fn check_rolled(&self, item: usize, found: &[u8]) -> Result<(), BenchError> {
        let (view, entity) = self.place(item);
        let sums = batch_sums(self.model.totals(view, entity));
        let is_right = rolled(sums)[..] == *found;
        if is_right { Ok(()) } else { Err(wrong_answer(PEER, &format!("{sums:?}"), &found)) }
    }

    /// Items come view by view.
    fn place(&self, item: usize) -> (u32, u32) {
        let view = u32::from(BATCH_ENTITIES <= item);
        (view, self.drawn[item % BATCH_ENTITIES])
    }
}

impl Workload for Batch {
    fn open(&mut self, _: &mut TcpStream) -> Result<(), BenchError> {
        Ok(())
    }

    fn write(&mut self, ticket: Ticket, out: &mut BytesMut) -> Result<(), BenchError> {
        self.draw(ticket);
        let form = self.form;
        if form != Form::Hash {
            put_command(out, 1 + ITEMS);
            put_argument(out, b"MGET");
        }
        for view in 0..VIEW_NUMBERS.len() {
            for entity in &self.drawn {
                let key = form.key(view, *entity);
                match form {
                    Form::Hash => put(out, &[b"HGETALL", key.bytes()]),
                    Form::Blob | Form::Rolled => put_argument(out, key.bytes()),
                }
            }
        }
        Ok(())
    }

    fn read(
        &mut self,
        ticket: Ticket,
        step: usize,
        input: &mut BytesMut,
    ) -> Result<Step, BenchError> {
        self.draw(ticket);
        let mut items = Items::new(input);
        let item = match self.form {
            Form::Hash => step,
            Form::Blob | Form::Rolled if step == 0 => {
                return take_head(input);
            }
            Form::Blob | Form::Rolled => step - 1,
        };
        if self.form == Form::Rolled {
            match items.next_item() {
                None => return Ok(Step::Wait),
                Some(Item::Bulk(bytes)) => self.check_rolled(item, bytes)?,
                Some(other) => return Err(wrong_item(PEER, "3 sums", other)),
            }
        } else {
            match take_tiles(&mut items, self.form)? {
                None => return Ok(Step::Wait),
                Some(totals) => self.check(item, &totals)?,
            }
        }
        let taken = items.taken();
        drop_front(input, taken);
        Ok(if item + 1 == ITEMS { Step::Done } else { Step::Part })
    }
}

/// The head of MGET's answer.
fn take_head(input: &mut BytesMut) -> Result<Step, BenchError> {
    let mut items = Items::new(input);
    match items.next_item() {
        None => Ok(Step::Wait),
        Some(Item::Array(ITEMS)) => {
            let taken = items.taken();
            drop_front(input, taken);
            Ok(Step::Part)
        }
        Some(other) => Err(wrong_item(PEER, "400 items", other)),
    }
}

/// Takes one entity's tiles and merges them into its windows; none until they are there in whole.
fn take_tiles(items: &mut Items<'_>, form: Form) -> Result<Option<Totals>, BenchError> {
    let mut totals = NO_TOTALS;
    match (items.next_item(), form) {
        (None, _) => return Ok(None),
        (Some(Item::Array(length)), Form::Hash) => {
            for _ in 0..length / 2 {
                let (Some(day), Some(value)) = (items.next_bulk(), items.next_bulk()) else {
                    return Ok(None);
                };
                add_packed(&mut totals, parse_day(day), value);
            }
        }
        (Some(Item::Bulk(blob)), Form::Blob) => {
            let (tiles, _) = blob.as_chunks::<28>();
            for tile in tiles {
                let [a, b, c, d, value @ ..] = tile;
                add_packed(&mut totals, u32::from_le_bytes([*a, *b, *c, *d]), value);
            }
        }
        (Some(other), _) => return Err(wrong_item(PEER, "tiles", other)),
    }
    Ok(Some(totals))
}

/// Adds a value of 24 bytes: sum, count, max.
fn add_packed(totals: &mut Totals, day: u32, value: &[u8]) {
    let (words, _) = value.as_chunks::<8>();
    if let [sum, count, _] = words {
        totals.add(day, f64::from_le_bytes(*sum), u64::from_le_bytes(*count));
    }
}

fn parse_day(text: &[u8]) -> u32 {
    text.iter().fold(0, |day, digit| day * 10 + u32::from(digit.wrapping_sub(b'0')))
}

/// The bytes of values rolled up beforehand.
pub(super) fn rolled(sums: [f64; 3]) -> [u8; 24] {
    let mut bytes = [0; 24];
    for (place, sum) in bytes.chunks_exact_mut(8).zip(sums) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

const PEER: &str = "redis";
const VIEW_NUMBERS: std::ops::Range<u32> = 0..VIEW_COUNT;
const ITEMS: usize = 2 * BATCH_ENTITIES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Dataset;

    #[test]
    fn tiles_of_a_hash_are_merged_and_checked() {
        let model = Arc::new(Model::new(Dataset::new(5, 0, 1), None));
        let mut single = Single::new(Arc::clone(&model), Form::Hash);
        let ticket = 9;
        let tiles = model.dataset.tiles(0, model.entity(ticket));
        let mut reply = BytesMut::new();
        put_command(&mut reply, 2 * tiles.len());
        for tile in &tiles {
            put_argument(&mut reply, tile.day.to_string().as_bytes());
            put_argument(&mut reply, &tile.packed());
        }
        let mut part = BytesMut::from(&reply[..reply.len() - 1]);
        assert_eq!(single.read(ticket, 0, &mut part).unwrap(), Step::Wait);
        let mut other = reply.clone();
        assert_eq!(single.read(ticket, 0, &mut reply).unwrap(), Step::Done);
        assert!(reply.is_empty());
        let last = other.len() - 20;
        other[last] ^= 1;
        assert!(single.read(ticket, 0, &mut other).is_err(), "a count that is off by one");
    }
}

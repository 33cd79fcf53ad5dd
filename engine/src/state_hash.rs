//! Owns the hashes of a whole state: how two stores are told to hold the same. Knows nothing of
//! where the state lies.

use std::fmt;
use std::sync::Arc;

use tilekv_tile::{Layout, encode_accumulator, encode_exact};
use xxhash_rust::xxh3::Xxh3Default;

use crate::catalog::View;
use crate::codec::{PutFields, count_u32};
use crate::content::StoredTile;
use crate::definition::encode_definition;
use crate::error::EngineError;
use crate::records::Record;
use crate::version::Version;

/// Two hashes of what reads can see at one time: definitions, seals, gaps and readable tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateHash {
    /// Equal for equal content, whatever was flushed, compacted or merged in which order. Sums of
    /// doubles, moments, and sketches of quantiles and of frequent values are left out, since they
    /// are rounded as they are merged.
    pub content: u64,
    /// Of every bit of every state: equal where the same files are opened, and after a restart
    /// that finds everything flushed.
    pub bits: u64,
}

impl fmt::Display for StateHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "content {:016x}, bits {:016x}", self.content, self.bits)
    }
}

impl Version {
    /// The hashes of everything that reads can see at `now_ms`. Reads all data.
    ///
    /// # Errors
    /// A page on disk is damaged, or cannot be read.
    pub fn state_hash(&self, now_ms: i64) -> Result<StateHash, EngineError> {
        let mut hashes = Hashes { content: Xxh3Default::new(), bits: Xxh3Default::new() };
        let mut bytes = Vec::new();
        for view in self.catalog.views() {
            bytes.clear();
            put_view(view, &mut bytes);
            hashes.content.update(&bytes);
            hashes.bits.update(&bytes);
        }
        for service in self.catalog.services() {
            bytes.clear();
            service.encode(&mut bytes);
            hashes.content.update(&bytes);
            hashes.bits.update(&bytes);
        }
        let mut scan = self.scan()?;
        while let Some(mut scanned) = scan.next_entity()? {
            let Some(view) = self.catalog.view(scanned.view) else {
                continue;
            };
            scanned.content.settle();
            scanned.content.expire(view.horizon(now_ms).unwrap_or(i64::MIN));
            let content = scanned.content.relaid(&scanned.layout, view.layout());
            if !content.tiles.is_empty() {
                bytes.clear();
                bytes.put_u32(scanned.view.0);
                bytes.put_short(&scanned.entity);
                hashes.update(&mut bytes, view.layout(), &content.tiles);
            }
        }
        self.hash_records(now_ms, &mut hashes);
        Ok(StateHash { content: hashes.content.digest(), bits: hashes.bits.digest() })
    }
}

impl Version {
    /// Adds the records, by ascending key; their fields by ascending name.
    fn hash_records(&self, now_ms: i64, hashes: &mut Hashes) {
        let mut after: Option<Arc<[u8]>> = None;
        let mut bytes = Vec::new();
        loop {
            let from = (&[][..], after.as_deref());
            let step = self.records.walk(from, RECORD_STEP_COUNT, now_ms, |key, record| {
                bytes.clear();
                put_record(key, record, &mut bytes);
                hashes.content.update(&bytes);
                hashes.bits.update(&bytes);
            });
            match step.last {
                Some(last) => after = Some(last),
                None => return,
            }
        }
    }
}

fn put_record(key: &[u8], record: &Record, out: &mut Vec<u8>) {
    out.put_short(key);
    out.put_option(record.expires_ms());
    out.put_u8(u8::from(record.text().is_some()));
    match record.text() {
        Some(text) => out.put_long(text),
        None => {
            let packed = record.packed();
            let mut fields: Vec<_> = packed.iter().collect();
            fields.sort_unstable();
            out.put_u32(count_u32(fields.len()));
            for (name, value) in fields {
                out.put_long(name);
                out.put_long(value);
            }
        }
    }
}

const RECORD_STEP_COUNT: usize = 1_000;

struct Hashes {
    content: Xxh3Default,
    bits: Xxh3Default,
}

impl Hashes {
    /// Adds an entity, whose name `bytes` holds.
    fn update(&mut self, bytes: &mut Vec<u8>, layout: &Layout, tiles: &[StoredTile]) {
        let named = bytes.len();
        for tile in tiles {
            bytes.put_i64(tile.start);
            encode_exact(layout, &tile.accumulator, bytes);
        }
        self.content.update(bytes);
        bytes.truncate(named);
        for tile in tiles {
            bytes.put_i64(tile.start);
            encode_accumulator(layout, &tile.accumulator, bytes);
        }
        self.bits.update(bytes);
    }
}

fn put_view(view: &View, out: &mut Vec<u8>) {
    out.put_u32(view.id.0);
    encode_definition(&view.definition, out);
    for feature in &view.features {
        for &(from, to) in &feature.incomplete {
            out.put_i64(from);
            out.put_i64(to);
        }
    }
    view.seals.encode(out);
}

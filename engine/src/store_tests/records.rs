//! Records through flushes, merges, restarts and power cuts.

use std::collections::BTreeMap;

use tilekv_tile::{ExpiryConditions, ExpiryTime, FieldsAnswer, Increment, RecordWrite};

use super::*;
use crate::limits::{RECORD_GRACE_MS, RECORD_KEY_BYTES_MAX};
use crate::{RecordKind, back_up, restore, verify};

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn set_fields(key: &str, fields: &[(&str, &str)]) -> Write {
    let fields = fields.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    let key = bytes(key);
    Write::Record(RecordWrite::SetFields { key, fields, answer: FieldsAnswer::Count })
}

fn set_texts(pairs: &[(&str, &str)]) -> Write {
    let pairs = pairs.iter().map(|(key, text)| (bytes(key), bytes(text))).collect();
    Write::Record(RecordWrite::SetTexts { pairs, only_absent: false })
}

fn remove(keys: &[&str]) -> Write {
    Write::Record(RecordWrite::Remove(keys.iter().map(|key| bytes(key)).collect()))
}

fn remove_fields(key: &str, fields: &[&str]) -> Write {
    let fields = fields.iter().map(|field| bytes(field)).collect();
    Write::Record(RecordWrite::RemoveFields { key: bytes(key), fields })
}

fn increment(key: &str, field: &str, by: i64) -> Write {
    let (key, field, by) = (bytes(key), bytes(field), Increment::Integer(by));
    Write::Record(RecordWrite::IncrementField { key, field, by })
}

fn expire(key: &str, millis: i64, is_relative: bool) -> Write {
    let time = ExpiryTime { millis, is_relative, command: "pexpire" };
    let conditions = ExpiryConditions::default();
    Write::Record(RecordWrite::Expire { key: bytes(key), time, conditions })
}

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a key holds: its fields, or its text under no name, and when it expires.
type Held = (RecordKind, Fields, Option<i64>);

impl Store {
    fn records(&mut self) -> BTreeMap<Vec<u8>, Held> {
        let version = self.engine().reader().snapshot();
        let mut all = BTreeMap::new();
        version.records().walk((b"", None), usize::MAX, self.now, |key, record| {
            let fields = match record.text() {
                Some(text) => Fields::from([(Vec::new(), text.to_vec())]),
                None => {
                    let packed = record.packed();
                    packed.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
                }
            };
            all.insert(key.to_vec(), (record.kind(), fields, record.expires_ms()));
        });
        let count = version.records().figures(self.now).count;
        assert_eq!(count, u64::try_from(all.len()).unwrap(), "DBSIZE counts what a walk meets");
        all
    }

    fn field(&mut self, key: &str, field: &str) -> Option<String> {
        let version = self.engine().reader().snapshot();
        let record = version.records().get(key.as_bytes(), self.now)?;
        record.field(field.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    /// Stages writes one behind the other and commits them in one batch.
    fn write_batch(&mut self, writes: Vec<Write>) -> Vec<Outcome> {
        let now = self.now;
        let stage = |write| match self.engine().prepare(now, write).unwrap() {
            Prepared::Staged(outcome) => outcome,
            other => panic!("{other:?}"),
        };
        let outcomes = writes.into_iter().map(stage).collect();
        self.engine().commit().unwrap();
        outcomes
    }

    fn record_files(&self) -> usize {
        use tilekv_wal::Disk;
        let names = self.disk.list().unwrap();
        names.iter().filter(|name| name.starts_with("records-")).count()
    }
}

#[test]
fn a_batch_sees_what_it_has_done_itself() {
    let mut store = Store::new();
    let outcomes = store.write_batch(vec![
        set_fields("k", &[("a", "1"), ("b", "x")]),
        increment("k", "a", 4),
        increment("k", "a", -2),
        set_fields("k", &[("b", "y"), ("c", "z"), ("c", "w")]),
        remove_fields("k", &["a", "b", "b", "nothing"]),
        remove(&["k", "k", "nothing"]),
        increment("k", "a", 7),
        expire("k", 1_000, true),
        Write::Record(RecordWrite::Clear),
        increment("k", "a", 1),
    ]);
    let count = Outcome::Count;
    let expected = [
        count(2),
        Outcome::Integer(5),
        Outcome::Integer(3),
        count(1),
        count(2),
        count(1),
        Outcome::Integer(7),
        count(1),
        Outcome::Ok,
        Outcome::Integer(1),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(store.records()[&b"k"[..]].2, None, "what was removed took its expiry along");
    store.crash();
    assert_eq!(store.field("k", "a").as_deref(), Some("1"));
}

#[test]
fn nothing_pending_is_read_and_a_refusal_leaves_no_trace() {
    let mut store = Store::new();
    let now = store.now;
    store.write(set_texts(&[("text", "abc")])).unwrap();
    assert!(store.engine().prepare(now, set_fields("k", &[("a", "1")])).is_ok());
    assert_eq!(store.field("k", "a"), None);
    let wrong = store.engine().prepare(now, increment("text", "a", 1)).unwrap_err();
    assert_eq!(wrong.code(), "WRONGTYPE");
    let refused = store.engine().prepare(now, increment("k", "a", i64::MAX)).unwrap_err();
    let words = "increment or decrement would overflow";
    assert_eq!((refused.code(), refused.to_string().as_str()), ("ERR", words));
    store.engine().commit().unwrap();
    assert_eq!(store.field("k", "a").as_deref(), Some("1"));
}

#[test]
fn a_key_at_the_limit_passes_and_one_above_does_not() {
    let mut store = Store::new();
    let longest = "k".repeat(RECORD_KEY_BYTES_MAX);
    assert!(store.write(set_texts(&[(&longest, "1")])).is_ok());
    let error = store.write(set_texts(&[(&format!("{longest}k"), "1")])).unwrap_err();
    assert_eq!(error.code(), "LIMIT");
}

#[test]
fn an_expired_record_is_hidden_at_once_and_reclaimed_after_a_grace() {
    let mut store = Store::new();
    store.write(set_fields("k", &[("a", "1"), ("b", "2")])).unwrap();
    store.write(set_texts(&[("stays", "1")])).unwrap();
    store.write(expire("k", 500, true)).unwrap();
    store.now += 499;
    assert_eq!(store.records().len(), 2);
    store.now += 1;
    assert_eq!(store.records().len(), 1);
    let now = store.now;
    assert_eq!(store.engine().reclaim_records(now).unwrap(), 0);
    // A write finds nothing under the key, and nothing of what was there comes back.
    assert_eq!(store.write(set_fields("k", &[("a", "3")])).unwrap(), Outcome::Count(1));
    assert_eq!((store.field("k", "b"), store.records()[&b"k"[..]].2), (None, None));
    store.write(expire("k", 500, true)).unwrap();
    store.now += 500 + RECORD_GRACE_MS;
    let (now, before) = (store.now, store.used(MemoryUse::Records));
    assert_eq!(store.engine().reclaim_records(now).unwrap(), 1);
    assert!(store.used(MemoryUse::Records) < before);
    assert_eq!(store.engine().reclaim_records(now).unwrap(), 0);
    store.crash();
    assert_eq!(store.records().len(), 1);
}

#[test]
fn records_take_of_the_budget_and_are_refused_beyond_it() {
    let mut store = Store::new();
    store.options.memory_bytes_max = 1 << 20;
    store.options.overlay_bytes_max = 64 << 10;
    store.reopen();
    let value = "v".repeat(1_000);
    let refused = (0..10_000).find_map(|number| {
        if number % 40 == 0 {
            store.flush();
        }
        store.write(set_fields(&format!("k{number}"), &[("a", &value)])).err()
    });
    assert_eq!(refused.map(|error| error.code()), Some("LIMIT"));
    let used = store.used(MemoryUse::Records);
    assert!((500_000..1 << 20).contains(&used), "{used} bytes");
    store.write(remove(&["k0", "k1", "k2"])).unwrap();
    assert!(store.write(set_fields("k0", &[("a", "1")])).is_ok());
    store.write(Write::Record(RecordWrite::Clear)).unwrap();
    assert!(store.used(MemoryUse::Records) < 100_000);
}

#[test]
fn a_backup_holds_the_records_and_a_damaged_file_is_named() {
    use tilekv_wal::Disk;
    let mut store = Store::new();
    for number in 0..50 {
        store.write(set_fields(&format!("k{number}"), &[("a", "1")])).unwrap();
        if number % 10 == 0 {
            store.flush();
        }
    }
    store.write(remove(&["k7"])).unwrap();
    let (target, copy) = (sim_disk(), sim_disk());
    let options = crate::BackupOptions { made_at_ms: 0, link: &|_| Ok(false), previous: None };
    let backup = back_up(&store.disk, &target, &options, &mut |_, _| ()).unwrap();
    restore(&backup, &target, &copy, None, &mut |_, _| ()).unwrap();
    let (all, hash) = (store.records(), hash_of(&store.disk));
    assert_eq!((hash_of(&copy), all.len()), (hash, 49));
    let copy: Arc<dyn Disk> = Arc::new(copy);
    assert_eq!(verify(&copy, &mut |_, _| ()).unwrap().findings, []);
    let name = copy.list().unwrap().into_iter().find(|name| name.starts_with("records-")).unwrap();
    copy.open(&name).unwrap().write_at(45, &[0xEE]).unwrap();
    let findings = verify(&copy, &mut |_, _| ()).unwrap().findings;
    assert!(findings.iter().any(|finding| finding.file == name), "{findings:?}");
    let error = Engine::open(copy, store.options, store.now).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
}

fn sim_disk() -> SimDisk {
    SimDisk::new(2, SimFaults::default())
}

fn hash_of(disk: &SimDisk) -> crate::StateHash {
    let disk: Arc<dyn tilekv_wal::Disk> = Arc::new(disk.clone());
    crate::Inspection::open(&disk).unwrap().state_hash().unwrap()
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// The model: plain maps, changed as Redis would.
#[derive(Default, Clone)]
struct Model(BTreeMap<Vec<u8>, Held>);

impl Model {
    fn expire(&mut self, now: i64) {
        self.0.retain(|_, (_, _, expires)| expires.is_none_or(|at| now < at));
    }

    fn hash(&mut self, key: &str) -> Option<&mut Fields> {
        let new = || (RecordKind::Hash, Fields::new(), None);
        let (kind, fields, _) = self.0.entry(key.as_bytes().to_vec()).or_insert_with(new);
        (*kind == RecordKind::Hash).then_some(fields)
    }

    /// Draws a write, and does it here.
    fn draw(&mut self, dice: &mut Dice, now: i64) -> Write {
        // Hashes of few fields lose their last one now and then, those of many grow large.
        let number = dice.roll(12);
        let has_few = number.is_multiple_of(2);
        let key = format!("key-{number}");
        let field = format!("field-{}", dice.roll(if has_few { 2 } else { 300 }));
        let value = "v".repeat(usize::try_from(dice.roll(40)).unwrap());
        let stored = key.as_bytes().to_vec();
        match dice.roll(12) {
            0 if dice.roll(6) == 0 => {
                self.0.clear();
                Write::Record(RecordWrite::Clear)
            }
            0 | 1 => {
                self.0.remove(&stored);
                remove(&[&key, "nothing"])
            }
            2 => {
                let text = BTreeMap::from([(Vec::new(), value.clone().into_bytes())]);
                self.0.insert(stored, (RecordKind::Text, text, None));
                set_texts(&[(&key, &value)])
            }
            3 => {
                let at = now + i64::try_from(dice.roll(2_000)).unwrap() - 200;
                if at <= now {
                    self.0.remove(&stored);
                } else if let Some((_, _, expires)) = self.0.get_mut(&stored) {
                    *expires = Some(at);
                }
                expire(&key, at, false)
            }
            4 | 5 => {
                if let Some((RecordKind::Hash, fields, _)) = self.0.get_mut(&stored) {
                    fields.remove(field.as_bytes());
                    if fields.is_empty() {
                        self.0.remove(&stored);
                    }
                }
                remove_fields(&key, &[&field])
            }
            6 => {
                let field = format!("number-{}", dice.roll(3));
                if let Some(fields) = self.hash(&key) {
                    let old = fields.get(field.as_bytes()).map_or(0, |text| {
                        std::str::from_utf8(text).unwrap().parse::<i64>().unwrap()
                    });
                    fields.insert(field.clone().into_bytes(), (old + 3).to_string().into_bytes());
                }
                increment(&key, &field, 3)
            }
            _ => {
                let pairs = [(&*field, &*value), ("always", "here")];
                let pairs = &pairs[..if has_few { 1 } else { 2 }];
                if let Some(fields) = self.hash(&key) {
                    for &(name, value) in pairs {
                        fields.insert(name.as_bytes().to_vec(), value.as_bytes().to_vec());
                    }
                }
                set_fields(&key, pairs)
            }
        }
    }
}

/// Random writes in batches, with flushes in mid-air (others write before the file is written, or
/// before it is installed), merges, restarts and power cuts: what is read is what the model holds.
#[test]
fn random_writes_agree_with_a_model_through_everything() {
    for seed in 0..60 {
        let (mut store, mut model, mut dice) = (Store::new(), Model::default(), Dice(seed));
        store.options.overlay_bytes_max = 4 << 10;
        store.options.frozen_count_max = 1_000;
        store.reopen();
        let mut waiting: Vec<crate::TaskResult> = Vec::new();
        for step in 0..150 {
            let now = store.now;
            let mut model_now = model.clone();
            model_now.expire(now);
            for _ in 0..=dice.roll(6) {
                let write = model_now.draw(&mut dice, now);
                let _refused_for_its_kind = store.engine().prepare(now, write);
            }
            store.engine().commit().unwrap();
            model = model_now;
            store.now += i64::try_from(dice.roll(300)).unwrap();
            match dice.roll(10) {
                0 => {
                    waiting.clear();
                    store.crash();
                }
                1 => {
                    waiting.clear();
                    store.reopen();
                }
                2 | 3 => {
                    for result in waiting.drain(..) {
                        store.engine().finish(result).unwrap();
                    }
                }
                4 | 5 => {
                    let (now, disk) = (store.now, store.disk.clone());
                    store.engine().freeze();
                    let tasks = store.engine().tasks(now);
                    waiting.extend(tasks.into_iter().map(|task| task.run(&disk)));
                }
                6 => {
                    let now = store.now + RECORD_GRACE_MS / 60;
                    store.engine().reclaim_records(now).unwrap();
                    store.now = now;
                }
                _ => {}
            }
            model.expire(store.now);
            assert_eq!(store.records(), model.0, "seed {seed}, step {step}");
        }
        assert!(store.record_files() <= 12, "record files are merged");
    }
}

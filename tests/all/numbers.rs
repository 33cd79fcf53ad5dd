//! Numbers at the edges of their types, through the engine and a restart: integer sums past 64
//! bits, counts past 32 bits, sums of a million doubles that cancel, and the variance of values
//! far from zero.

use bytes::Bytes;
use rand::RngExt;
use std::sync::Arc;
use tilekv_engine::disk::{Durability, SimDisk, SimFaults};
use tilekv_engine::{
    Engine, EngineOptions, Lateness, Prepared, ReadRequest, ReadTime, TileWrite, Write,
};
use tilekv_tests::seed;
use tilekv_tile::{
    Cells, ColumnType, Identifier, Name, Rows, Selector, TypedColumn, Value, ViewDefinition,
};

const DAY: i64 = 86_400_000;
/// A day starts here.
const NOW: i64 = 19_675 * DAY;
const DAYS: i64 = 30;

#[test]
fn integer_sums_pass_64_bits_and_counts_pass_32() {
    let mut store =
        Store::new(&[("n", ColumnType::I64)], &[("sum", "sum(n)"), ("events", "count()")]);
    let rows = vec![i64::MAX; 3];
    store.add("u", vec![NOW - DAY; 3], TypedColumn::I64 { values: rows, valid: None });
    store.merge("u", "events", "8589934592");
    store.merge("u", "events", "8589934592");
    let expected = [Value::Big(3 * i128::from(i64::MAX)), Value::Int(3 + (1 << 34))];
    for values in store.readings("u", &["sum@30d", "events@30d"]) {
        assert_eq!(values, expected);
    }
}

#[test]
fn a_million_doubles_that_cancel_sum_within_the_bound() {
    let seed = seed::draw("a million doubles");
    let mut generator = seed::generator(seed);
    let mut store = Store::new(&[("x", ColumnType::F64)], &[("sum", "sum(x)")]);
    let (mut exact, mut size) = (0_i128, 0_i128);
    for _ in 0..100 {
        let mut values = Vec::new();
        let mut times = Vec::new();
        for _ in 0..5_000 {
            // Integers of 53 bits times a power of two are doubles, and add up in 128 bits.
            let mantissa = generator.random_range(-(1_i64 << 53)..1 << 53);
            let shift = generator.random_range(0..40_u32);
            let small = generator.random_range(-1_000_i64..1_000);
            let large = i128::from(mantissa) << shift;
            // Each large value meets its opposite, but for a small rest.
            for value in [large, i128::from(small) - large] {
                let double = double_of(value);
                exact += integer_of(double);
                size += integer_of(double).abs();
                values.push(double);
                times.push(NOW - DAY * generator.random_range(1..=DAYS));
            }
        }
        store.add("u", times, TypedColumn::F64 { values, valid: None });
    }
    let wanted = double_of(exact);
    let bound = (wanted.next_up() - wanted) + double_of(size) * 2_f64.powi(-70);
    for values in store.readings("u", &["sum@30d"]) {
        let [Value::Double(sum)] = values[..] else { panic!("one double") };
        assert!((sum - wanted).abs() <= bound, "{sum} is not {wanted} within {bound}; seed {seed}");
    }
}

#[test]
fn variance_far_from_zero_is_right() {
    let seed = seed::draw("variance");
    let mut generator = seed::generator(seed);
    let mut store = Store::new(&[("x", ColumnType::F64)], &[("var", "var_pop(x)")]);
    let steps: Vec<i64> = (0..30_000).map(|_| generator.random_range(-17_i64..=17)).collect();
    let values = steps.iter().map(|step| 1.7e9 + double_of(i128::from(*step)) / 10.0).collect();
    let times = (0..30_000).map(|row| NOW - DAY * (1 + row % DAYS)).collect();
    let values: Vec<f64> = values;
    // The doubles near 1.7e9 are multiples of 2^-22, so that their distances from it are exact.
    let offsets: Vec<i128> =
        values.iter().map(|value| integer_of((value - 1.7e9) * 2_f64.powi(22))).collect();
    let count = i128::try_from(offsets.len()).unwrap();
    let sum: i128 = offsets.iter().sum();
    let squares: i128 = offsets.iter().map(|offset| offset * offset).sum();
    let exact = double_of(count * squares - sum * sum)
        / (double_of(count) * double_of(count) * 2_f64.powi(44));
    store.add("u", times, TypedColumn::F64 { values, valid: None });
    assert!(0.5 < exact && exact < 2.0, "the true variance is about 1, not {exact}");
    for values in store.readings("u", &["var@30d"]) {
        let [Value::Double(variance)] = values[..] else { panic!("one double") };
        assert!((variance / exact - 1.0).abs() < 1e-9, "{variance} is not {exact}; seed {seed}");
    }
}

struct Store {
    disk: SimDisk,
    options: EngineOptions,
    engine: Option<Engine>,
}

impl Store {
    fn new(columns: &[(&str, ColumnType)], features: &[(&str, &str)]) -> Self {
        let disk = SimDisk::new(1, SimFaults::default());
        let options = EngineOptions::standard(Durability::Always, 1);
        let mut store = Self { disk, options, engine: None };
        store.reopen();
        let definition = ViewDefinition::of("v", "1d", columns, features).unwrap();
        store.write(Write::CreateView(definition));
        store
    }

    fn reopen(&mut self) {
        self.engine = None;
        let opened = Engine::open(Arc::new(self.disk.clone()), self.options, NOW);
        self.engine = Some(opened.unwrap().0);
    }

    fn write(&mut self, write: Write) {
        let engine = self.engine.as_mut().unwrap();
        let prepared = engine.prepare(NOW, write).unwrap();
        assert!(matches!(prepared, Prepared::Staged(_)), "nothing was pending");
        engine.commit().unwrap();
    }

    fn add(&mut self, entity: &'static str, timestamps: Vec<i64>, column: TypedColumn) {
        let name = self.column();
        let rows = Rows {
            columns: vec![name],
            entities: vec![Bytes::from_static(entity.as_bytes()); timestamps.len()],
            timestamps,
            cells: Cells::Typed(vec![column]),
        };
        let (view, lateness) = (name_of("v"), Lateness::Refuse);
        self.write(Write::Events { view, stamp: None, rows, lateness });
    }

    fn column(&self) -> Identifier {
        let reader = self.engine.as_ref().unwrap().reader();
        let view = reader.view(&reader.snapshot(), &name_of("v")).unwrap();
        view.definition().columns[0].name.clone()
    }

    fn merge(&mut self, entity: &'static str, feature: &str, partial: &'static str) {
        let feature = Identifier::parse(feature.as_bytes()).unwrap();
        self.write(Write::MergeTile(TileWrite {
            view: name_of("v"),
            entity: Bytes::from_static(entity.as_bytes()),
            start: NOW - DAY,
            partials: vec![(feature, Bytes::from_static(partial.as_bytes()))],
            stamp: None,
        }));
    }

    /// The values at first, after a power cut with a restart, and after a flush.
    fn readings(&mut self, entity: &str, selectors: &[&str]) -> [Vec<Value>; 3] {
        let first = self.read(entity, selectors);
        self.disk.crash();
        self.reopen();
        let restarted = self.read(entity, selectors);
        self.engine.as_mut().unwrap().checkpoint(NOW).unwrap();
        [first, restarted, self.read(entity, selectors)]
    }

    fn read(&self, entity: &str, selectors: &[&str]) -> Vec<Value> {
        let reader = self.engine.as_ref().unwrap().reader();
        let version = reader.snapshot();
        let parse = |text: &&str| Selector::parse(text.as_bytes()).unwrap();
        let groups = vec![(name_of("v"), selectors.iter().map(parse).collect())];
        let request = ReadRequest { groups, edge: None, known: false };
        let plan = reader.plan(&version, &request).unwrap();
        let entities = [entity.as_bytes()];
        let answers = reader.read(&version, &plan, NOW, &ReadTime::Now, &entities).unwrap();
        (0..selectors.len()).map(|column| answers.get(0, column)).collect()
    }
}

fn name_of(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

#[expect(clippy::as_conversions, reason = "rounding to the nearest double is what is meant")]
fn double_of(integer: i128) -> f64 {
    integer as f64
}

#[expect(clippy::as_conversions, reason = "the doubles here are integers of less than 127 bits")]
fn integer_of(double: f64) -> i128 {
    assert!(double.fract() == 0.0, "{double} is an integer");
    double as i128
}

//! Owns the data that everything here is measured with: which tiles an entity has in a view, and
//! what its windows add up to. docs/benchmarks.md describes it. Knows nothing of stores.

use crate::random::Random;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// The views that the entities have tiles in.
pub const VIEW_COUNT: u32 = 2;

/// Days that the data reaches back.
pub const DAY_COUNT: u32 = 90;

/// Days on which an entity has a tile: 30% of them.
pub const TILE_COUNT: u32 = 27;

/// The windows that are asked for, in days, ascending.
pub const WINDOWS: [u32; 4] = [7, 14, 30, 90];

/// How many windows there are.
pub const WINDOW_COUNT: usize = WINDOWS.len();

/// The numbers of the windows that a batch asks for: 7, 30 and 90 days.
pub const BATCH_WINDOWS: [usize; 3] = [0, 2, 3];

/// One tile: the partials of one entity and day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DayTile {
    /// Days since the first day of the data.
    pub day: u32,
    /// The sum of its inputs: a multiple of 0.5.
    pub sum: f64,
    /// How many inputs it has.
    pub count: u32,
    /// The greatest of them: a multiple of 0.25.
    pub max: f64,
}

impl DayTile {
    /// The 24 bytes that a store of opaque values keeps: sum, count, max, little-endian.
    #[must_use]
    pub fn packed(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.sum.to_le_bytes());
        bytes[8..16].copy_from_slice(&u64::from(self.count).to_le_bytes());
        bytes[16..].copy_from_slice(&self.max.to_le_bytes());
        bytes
    }
}

/// What the windows of one entity in one view add up to. Sums are exact: every input is a multiple
/// of 0.5 and small, so that no addition rounds, in whatever order it is made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Totals {
    /// The sum over each window.
    pub sums: [f64; WINDOW_COUNT],
    /// The count over each window; 0 where it holds no tile.
    pub counts: [u64; WINDOW_COUNT],
}

impl Totals {
    /// Adds a tile to the windows that hold it.
    pub fn add(&mut self, day: u32, sum: f64, count: u64) {
        for (index, window) in WINDOWS.iter().enumerate() {
            if DAY_COUNT <= day + window {
                self.sums[index] += sum;
                self.counts[index] += count;
            }
        }
    }
}

/// The data set: entities `u:0`, `u:1` ... in two views of daily tiles.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// How many entities there are.
    pub entities: u32,
    /// When the first day starts: the last one ends at the right edge of all windows.
    pub first_day_ms: i64,
    seed: u64,
}

impl Dataset {
    /// The data set whose days end where the day of `now_ms` starts.
    #[must_use]
    pub fn new(entities: u32, now_ms: i64, seed: u64) -> Self {
        let edge = now_ms.div_euclid(DAY_MS) * DAY_MS;
        Self { entities, first_day_ms: edge - i64::from(DAY_COUNT) * DAY_MS, seed }
    }

    /// The end of the last day, where all windows end.
    #[must_use]
    pub fn edge_ms(&self) -> i64 {
        self.day_ms(DAY_COUNT)
    }

    /// When a day starts.
    #[must_use]
    pub fn day_ms(&self, day: u32) -> i64 {
        self.first_day_ms + i64::from(day) * DAY_MS
    }

    /// The tiles of an entity in a view, ascending: 27 of the 90 days, every choice as likely
    /// (D. Knuth, "Seminumerical Algorithms", 3.4.2, algorithm S).
    #[must_use]
    pub fn tiles(&self, view: u32, entity: u32) -> Vec<DayTile> {
        let mut random = Random::of(&[self.seed, u64::from(view), u64::from(entity)]);
        let mut tiles = Vec::with_capacity(27);
        let mut wanted = TILE_COUNT;
        for day in 0..DAY_COUNT {
            if random.below(DAY_COUNT - day) < wanted {
                wanted -= 1;
                tiles.push(draw_tile(day, &mut random));
            }
        }
        tiles
    }

    /// What the windows of an entity in a view add up to.
    #[must_use]
    pub fn totals(&self, view: u32, entity: u32) -> Totals {
        let mut totals = Totals::default();
        for tile in self.tiles(view, entity) {
            totals.add(tile.day, tile.sum, u64::from(tile.count));
        }
        totals
    }
}

/// The name of an entity.
#[must_use]
pub fn entity_name(entity: u32) -> String {
    format!("u:{entity}")
}

fn draw_tile(day: u32, random: &mut Random) -> DayTile {
    let k = random.below(1_000);
    DayTile { day, sum: f64::from(k) * 0.5, count: 1 + random.below(16), max: f64::from(k) + 0.25 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_has_27_tiles_in_ascending_order() {
        let dataset = Dataset::new(100, 1_700_000_000_000, 7);
        for entity in 0..100 {
            let tiles = dataset.tiles(1, entity);
            assert_eq!(tiles.len(), 27);
            assert!(tiles.is_sorted_by(|left, right| left.day < right.day));
            assert!(tiles.iter().all(|tile| tile.day < DAY_COUNT));
        }
    }

    #[test]
    fn windows_hold_the_days_before_the_edge() {
        let mut totals = Totals::default();
        for day in 0..DAY_COUNT {
            totals.add(day, 1.0, 2);
        }
        assert_eq!(totals.sums, [7.0, 14.0, 30.0, 90.0]);
        assert_eq!(totals.counts, [14, 28, 60, 180]);
    }

    #[test]
    fn the_data_ends_where_today_begins() {
        let now = 1_700_000_000_000;
        let dataset = Dataset::new(1, now, 7);
        assert_eq!(dataset.edge_ms(), 1_699_920_000_000);
        assert!(now - DAY_MS < dataset.edge_ms() && dataset.edge_ms() <= now);
    }

    #[test]
    fn the_same_seed_gives_the_same_data() {
        let draw = |seed| Dataset::new(1, 0, seed).tiles(0, 0);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn packed_values_are_24_bytes_in_order() {
        let packed = DayTile { day: 0, sum: 1.5, count: 3, max: 0.25 }.packed();
        assert_eq!(packed[..8], 1.5_f64.to_le_bytes());
        assert_eq!(packed[8..16], 3_u64.to_le_bytes());
        assert_eq!(packed[16..], 0.25_f64.to_le_bytes());
    }
}

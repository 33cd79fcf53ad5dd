//! A naive model of a store: the rows of every tile as they came, in plain maps. It holds state
//! and how effects change it, and knows nothing of how the engine stores or merges anything.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use tilekv_engine::JobId;
use tilekv_tile::{ColumnType, Function, Identifier, Name, ViewDefinition, floor_to};

/// One value of a row, in units that add up exactly.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// An i64.
    Integer(i64),
    /// An f64, as a count of halves.
    Halves(i64),
    /// A str.
    Text(Bytes),
}

/// A row as it came. Columns that joined the view later are absent, and so null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The event time in milliseconds.
    pub timestamp: i64,
    /// A cell per column of the view; none is null.
    pub cells: Vec<Option<Cell>>,
}

impl Row {
    /// The value of a column, if it is not null.
    #[must_use]
    pub fn cell(&self, column: usize) -> Option<&Cell> {
        self.cells.get(column)?.as_ref()
    }
}

/// A row in a tile, and which parts of the tile's state it went into.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What the row counts for.
    pub parts: Parts,
    /// The row.
    pub row: Arc<Row>,
}

/// A set of parts of a tile's state: what its features are computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts(u128);

/// A part of a tile's state over one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Values that are not null.
    Count,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// What variances are computed from.
    Moments,
    /// The first in time.
    First,
    /// The last in time.
    Last,
    /// The first entries.
    FirstN,
    /// The last entries.
    LastN,
    /// The first entries of distinct values.
    FirstDistinctN,
    /// The last entries of distinct values.
    LastDistinctN,
    /// Distinct values.
    Distinct,
    /// What percentiles are computed from, where few rows are exact.
    SmallQuantiles,
    /// What percentiles are computed from.
    Quantiles,
    /// Counted values.
    Top,
    /// Not a part of the state: says that a sum was given without a count, so that what counts
    /// its values is unknown to a feature that joined later.
    Uncounted,
}

impl Parts {
    /// The number of rows.
    pub const ROWS: Self = Self(1 << 127);

    /// One part over one column.
    #[must_use]
    pub fn of(part: Part, column: usize) -> Self {
        let kind = match part {
            Part::Count => 0,
            Part::Sum => 1,
            Part::Min => 2,
            Part::Max => 3,
            Part::Moments => 4,
            Part::First => 5,
            Part::Last => 6,
            Part::Uncounted => 7,
            Part::FirstN => 8,
            Part::LastN => 9,
            Part::FirstDistinctN => 10,
            Part::LastDistinctN => 11,
            Part::Distinct => 12,
            Part::SmallQuantiles => 13,
            Part::Quantiles => 14,
            Part::Top => 15,
        };
        assert!(column < COLUMN_COUNT_MAX, "the model has bits for {COLUMN_COUNT_MAX} columns");
        Self(1 << (column * 16 + kind))
    }

    /// What a feature is computed from. Lists and sketches have one set of parameters each.
    #[must_use]
    pub fn needed(function: Function, column: usize) -> Self {
        let count = Self::of(Part::Count, column);
        match function {
            Function::CountRows => Self::ROWS,
            Function::Count => count,
            Function::Sum | Function::Mean => count.and(Self::of(Part::Sum, column)),
            Function::Min => Self::of(Part::Min, column),
            Function::Max => Self::of(Part::Max, column),
            Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
                count.and(Self::of(Part::Moments, column))
            }
            Function::First => Self::of(Part::First, column),
            Function::Last => Self::of(Part::Last, column),
            Function::FirstN(_) => Self::of(Part::FirstN, column),
            Function::LastN(_) => Self::of(Part::LastN, column),
            Function::FirstDistinctN(_) => Self::of(Part::FirstDistinctN, column),
            Function::LastDistinctN(_) => Self::of(Part::LastDistinctN, column),
            Function::ApproxCountDistinct(_) => Self::of(Part::Distinct, column),
            Function::ApproxPercentile(_, SMALL_K) => Self::of(Part::SmallQuantiles, column),
            Function::ApproxPercentile(..) => Self::of(Part::Quantiles, column),
            Function::TopN(_) => Self::of(Part::Top, column),
        }
    }

    /// Both sets together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing of `other` is in this set.
    #[must_use]
    pub fn lacks(self, other: Self) -> bool {
        self.0 & other.0 == 0
    }
}

/// A change of what is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealChange {
    /// The first millisecond.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
    /// The server's time of the change.
    pub at: i64,
    /// Whether it was sealed; else it was withdrawn.
    pub is_made: bool,
}

/// The tiles of an entity by their start.
pub type Tiles = BTreeMap<i64, Vec<Entry>>;

/// One view.
#[derive(Debug, Clone)]
pub struct ModelView {
    /// Which view this is: a name may be given again.
    pub serial: u64,
    /// As created and altered.
    pub definition: ViewDefinition,
    /// The time for which each feature has no complete data: from, to.
    pub gaps: Vec<Vec<(i64, i64)>>,
    /// Every change of seals, in order.
    pub seals: Vec<SealChange>,
    /// The tiles of each entity.
    pub entities: BTreeMap<Bytes, Tiles>,
    /// The greatest timestamp written.
    pub newest_event: Option<i64>,
    /// Rows not applied since their range was sealed.
    pub late_dropped: u64,
    /// Rows not applied since they lay before the horizon.
    pub too_old: u64,
    /// The least tile start ever written.
    pub oldest_tile: Option<i64>,
    /// Tiles that start before this may have been reclaimed for good.
    pub reclaimed_below: i64,
}

impl ModelView {
    fn new(definition: ViewDefinition, serial: u64) -> Self {
        Self {
            serial,
            gaps: vec![Vec::new(); definition.features.len()],
            definition,
            seals: Vec::new(),
            entities: BTreeMap::new(),
            newest_event: None,
            late_dropped: 0,
            too_old: 0,
            oldest_tile: None,
            reclaimed_below: i64::MIN,
        }
    }

    /// The tile size in milliseconds.
    #[must_use]
    pub fn span(&self) -> i64 {
        self.definition.tile.millis()
    }

    /// The first readable instant.
    #[must_use]
    pub fn horizon(&self, now: i64) -> Option<i64> {
        let retention = self.definition.retention?;
        Some(floor_to(now - retention.millis(), self.span()))
    }

    /// The function of a feature, with the place and type of its column; 0 and i64 for `count()`.
    #[must_use]
    pub fn feature(&self, at: usize) -> (Function, usize, ColumnType) {
        let expression = &self.definition.features[at].expression;
        let column = expression.column.as_ref().and_then(|name| self.definition.column(name));
        let (place, kind) = column.map_or((0, ColumnType::I64), |(at, column)| (at, column.kind));
        (expression.function, place, kind)
    }

    /// The parts that all features together need.
    #[must_use]
    pub fn parts(&self) -> Parts {
        (0..self.definition.features.len()).fold(Parts::default(), |parts, feature| {
            let (function, column, _) = self.feature(feature);
            parts.and(Parts::needed(function, column))
        })
    }

    /// The place of a feature.
    #[must_use]
    pub fn feature_at(&self, name: &Identifier) -> Option<usize> {
        self.definition.feature(name).map(|(at, _)| at)
    }

    fn publish(&mut self, job: &JobEffect) {
        if job.is_replacing {
            for tiles in self.entities.values_mut() {
                tiles.retain(|start, _| *start < job.from || job.to <= *start);
            }
            for gaps in self.gaps.iter_mut().take(job.features) {
                let parts =
                    |(from, to): (i64, i64)| [(from, to.min(job.from)), (from.max(job.to), to)];
                *gaps = gaps.drain(..).flat_map(parts).filter(|(from, to)| from < to).collect();
            }
        }
        self.seals.extend(job.seal);
        for (entity, start) in &job.tiles {
            self.entities.entry(entity.clone()).or_default().entry(*start).or_default();
        }
        for (entity, start, entry) in &job.rows {
            let tiles = self.entities.entry(entity.clone()).or_default();
            tiles.entry(*start).or_default().push(entry.clone());
        }
        job.times.iter().for_each(|time| self.saw(*time));
    }

    fn saw(&mut self, timestamp: i64) {
        let start = floor_to(timestamp, self.span());
        self.newest_event = self.newest_event.max(Some(timestamp));
        self.oldest_tile = Some(self.oldest_tile.map_or(start, |oldest| oldest.min(start)));
    }
}

/// What is known of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last applied sequence.
    pub sequence: u64,
    /// When it was applied.
    pub seen_at: i64,
}

/// A producer and the sequence of one of its writes.
pub type Stamp = (Bytes, u64);

/// A change of the model: what a write amounts to once it was judged.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A view joins.
    Create(ViewDefinition),
    /// A view gets another definition.
    Alter {
        /// The new definition.
        definition: ViewDefinition,
        /// The time for which the features that joined have no complete data.
        gap_of_new: Option<(i64, i64)>,
        /// The same for all features.
        gap_of_all: Option<(i64, i64)>,
        /// What the old retention has exposed to reclaiming.
        reclaimed_below: i64,
    },
    /// A view goes.
    Drop(Name),
    /// Rows join their tiles.
    Rows {
        /// The view.
        view: Name,
        /// What vouches for their order.
        stamp: Option<Stamp>,
        /// What they count for.
        parts: Parts,
        /// The rows that are applied, with their entities.
        rows: Vec<(Bytes, Arc<Row>)>,
        /// Rows that are not, since they lie before the horizon.
        too_old: u64,
        /// Rows that are not, since their range is sealed.
        late_dropped: u64,
    },
    /// A tile is replaced, or gets more.
    Tile {
        /// The view.
        view: Name,
        /// What vouches for the order.
        stamp: Option<Stamp>,
        /// The entity.
        entity: Bytes,
        /// The tile.
        start: i64,
        /// Whether what was there goes.
        is_replaced: bool,
        /// What joins.
        entries: Vec<Entry>,
    },
    /// Tiles go.
    Clear {
        /// The view.
        view: Name,
        /// The entity.
        entity: Bytes,
        /// The first start that goes.
        from: i64,
        /// The first start that stays.
        to: i64,
    },
    /// Seals change.
    Seal(Name, SealChange),
    /// A job is published.
    Job(Arc<JobEffect>),
}

/// What a job's commit changes.
#[derive(Debug)]
pub struct JobEffect {
    /// The job.
    pub id: JobId,
    /// Its view.
    pub view: Name,
    /// Whether what its range held before goes.
    pub is_replacing: bool,
    /// The first millisecond of its range.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
    /// How many of the view's features its rows were given to from its beginning.
    pub features: usize,
    /// The seal that it makes.
    pub seal: Option<SealChange>,
    /// Tiles that come to be, with their entities.
    pub tiles: Vec<(Bytes, i64)>,
    /// What joins them.
    pub rows: Vec<(Bytes, i64, Entry)>,
    /// Rows and tiles taken.
    pub taken: u64,
    /// Their times.
    pub times: Vec<i64>,
}

/// All that a store should hold.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Every view by name.
    pub views: BTreeMap<Name, ModelView>,
    /// Every producer of every view.
    pub producers: BTreeMap<(Name, Bytes), Progress>,
    /// Every job that was committed: the rows that it took, and when.
    pub jobs: BTreeMap<JobId, (u64, i64)>,
    /// How many views were ever created.
    pub views_made: u64,
}

impl Model {
    /// The last sequence that a producer has applied, unless that is forgotten.
    #[must_use]
    pub fn last_sequence(&self, view: &Name, id: &Bytes, now: i64) -> Option<u64> {
        let progress = self.producers.get(&(view.clone(), id.clone()))?;
        (now < progress.seen_at + PRODUCER_EXPIRY_MS).then_some(progress.sequence)
    }

    /// Makes a change that was committed at `now`.
    ///
    /// # Panics
    /// Where the view is not there: the effect was judged against another model.
    pub fn apply(&mut self, effect: &Effect, now: i64) {
        match effect {
            Effect::Create(definition) => {
                let view = ModelView::new(definition.clone(), self.views_made);
                self.views_made += 1;
                self.views.insert(definition.name.clone(), view);
            }
            Effect::Alter { definition, gap_of_new, gap_of_all, reclaimed_below } => {
                let view = self.view(&definition.name);
                let gaps = gap_of_new.iter().copied().collect();
                view.gaps.resize(definition.features.len(), gaps);
                view.gaps.iter_mut().for_each(|gaps| gaps.extend(gap_of_all));
                view.reclaimed_below = view.reclaimed_below.max(*reclaimed_below);
                view.definition = definition.clone();
            }
            Effect::Drop(name) => {
                self.views.remove(name);
                self.producers.retain(|(view, _), _| view != name);
            }
            Effect::Rows { view, stamp, parts, rows, too_old, late_dropped } => {
                self.note(view, stamp.as_ref(), now);
                let view = self.view(view);
                view.too_old += too_old;
                view.late_dropped += late_dropped;
                for (entity, row) in rows {
                    let start = floor_to(row.timestamp, view.span());
                    let tiles = view.entities.entry(entity.clone()).or_default();
                    let entry = Entry { parts: *parts, row: Arc::clone(row) };
                    tiles.entry(start).or_default().push(entry);
                    view.saw(row.timestamp);
                }
            }
            Effect::Tile { view, stamp, entity, start, is_replaced, entries } => {
                self.note(view, stamp.as_ref(), now);
                let view = self.view(view);
                let tiles = view.entities.entry(entity.clone()).or_default();
                let tile = tiles.entry(*start).or_default();
                if *is_replaced {
                    tile.clear();
                }
                tile.extend(entries.iter().cloned());
                view.saw(*start);
            }
            Effect::Clear { view, entity, from, to } => {
                if let Some(tiles) = self.view(view).entities.get_mut(entity) {
                    tiles.retain(|start, _| *start < *from || *to <= *start);
                }
            }
            Effect::Seal(view, change) => self.view(view).seals.push(*change),
            Effect::Job(job) => {
                self.jobs.insert(job.id, (job.taken, now));
                self.view(&job.view).publish(job);
            }
        }
    }

    /// The rows that a committed job took, unless that is forgotten.
    #[must_use]
    pub fn job_rows(&self, id: JobId, now: i64) -> Option<u64> {
        let (rows, committed_at) = self.jobs.get(&id)?;
        (now < committed_at + JOB_EXPIRY_MS).then_some(*rows)
    }

    fn note(&mut self, view: &Name, stamp: Option<&Stamp>, now: i64) {
        if let Some((id, sequence)) = stamp {
            let progress = Progress { sequence: *sequence, seen_at: now };
            self.producers.insert((view.clone(), id.clone()), progress);
        }
    }

    fn view(&mut self, name: &Name) -> &mut ModelView {
        let Some(view) = self.views.get_mut(name) else {
            panic!("view {name} was judged to be there");
        };
        view
    }
}

/// Columns of a view that the model can tell apart.
pub const COLUMN_COUNT_MAX: usize = 7;

/// The k of a percentile that is soon no longer exact.
pub const SMALL_K: u16 = 8;

/// How long a committed job is remembered: the stated 7 days.
const JOB_EXPIRY_MS: i64 = 7 * 24 * 3_600_000;

/// How long a silent producer is remembered: the stated 30 days.
pub const PRODUCER_EXPIRY_MS: i64 = 30 * 24 * 3_600_000;

//! Layouts: which components a state holds and where each lies in it. A layout grows only at its
//! end, so that a state written under an older layout is a prefix of one under a newer layout
//! (docs/format/state.md, [STATE-1] to [STATE-2]).
//! It knows nothing of how components are computed.

use crate::accumulator::Accumulator;
use crate::component::{Component, ComponentId, ComponentKind};
use crate::expression::Function;
use crate::lane::LaneKind;
use crate::name::Identifier;
use crate::number::index;
use crate::scalar::ColumnType;
use crate::side::SideRule;
use smallvec::SmallVec;

/// An ordered list of components, each with its place in the words and sides of an
/// [`Accumulator`]. Numbers lie in words of 64 bits; what has no fixed size lies in sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    components: Box<[(ComponentId, Component)]>,
    slots: Box<[Slot]>,
    /// The slots in the order in which they are merged: moments need the counts of both parts,
    /// and so come before counts.
    order: Box<[u16]>,
    /// The words of an empty state.
    identity: Box<[u64]>,
    side_count: usize,
    is_chainable: bool,
    /// The lanes of a block, in the order of the slots.
    lanes: Box<[LaneShape]>,
}

/// A feature with its input column resolved to the column's index within the view and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureBinding {
    /// The function.
    pub function: Function,
    /// The column; `count()` alone has none.
    pub column: Option<(u16, ColumnType)>,
    /// The feature's name, for errors.
    pub name: Identifier,
}

/// A lane of a block: one word of a component, or the lengths of its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneShape {
    pub(crate) kind: LaneKind,
    /// Whether the texts themselves follow the lane.
    pub(crate) is_text: bool,
    /// What the texts are, where they are lists or sketches.
    pub(crate) rule: Option<SideRule>,
}

/// Where a component lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) kind: ComponentKind,
    pub(crate) column: Option<u16>,
    /// The first of its words.
    pub(crate) word: u32,
    /// Its side, if it has one.
    pub(crate) side: u32,
    /// The first of its lanes in a block.
    pub(crate) lane: u32,
    /// The word of the count of the same column, for moments; else 0.
    pub(crate) count_word: u32,
    /// The lane of that count.
    pub(crate) count_lane: u32,
    /// The slot of the same component in the layout that this one was projected from.
    pub(crate) source: u16,
}

impl Layout {
    /// The layout of these components, in ascending order of their ids. Panics where the order is
    /// broken, or where moments lack the count of their column: both are the caller's bugs.
    pub fn new(components: Vec<(ComponentId, Component)>) -> Self {
        let sources = 0..number_of(components.len());
        Self::with_sources(components, sources.collect())
    }

    /// The layout of those components that are needed, and of the counts that they need. Merging
    /// a block of this layout into a state of the projection takes no searching.
    pub fn project(&self, needed: &[ComponentId]) -> Self {
        let mut kept: Vec<bool> =
            self.components.iter().map(|(id, _)| needed.contains(id)).collect();
        for at in 0..kept.len() {
            if kept[at] && self.slots[at].kind == ComponentKind::Moments {
                kept[self.count_slot(self.slots[at].column)] = true;
            }
        }
        let (components, sources) = self
            .components
            .iter()
            .zip(0_u16..)
            .zip(kept)
            .filter(|(_, kept)| *kept)
            .map(|((component, source), _)| (*component, source))
            .unzip();
        Self::with_sources(components, sources)
    }

    /// The components, in ascending order of their ids.
    pub fn components(&self) -> &[(ComponentId, Component)] {
        &self.components
    }

    /// The id of a component, if the layout has it.
    pub fn find(&self, component: Component) -> Option<ComponentId> {
        self.position(component).map(|at| self.components[at].0)
    }

    /// Whether each component of a state can go on from that of another state by itself: all do
    /// but moments, which need the counts of both parts, and what lies in sides.
    #[inline]
    pub fn is_chainable(&self) -> bool {
        self.is_chainable
    }

    /// Words of 64 bits in a state.
    pub fn words(&self) -> usize {
        self.identity.len()
    }

    /// Sides in a state.
    pub fn sides(&self) -> usize {
        self.side_count
    }

    /// The state of no rows: the identity of merging.
    pub fn empty(&self) -> Accumulator {
        Accumulator {
            words: SmallVec::from_slice(&self.identity),
            sides: vec![None; self.side_count].into_boxed_slice(),
        }
    }

    /// Makes a state of this layout empty again, keeping its memory.
    pub fn reset(&self, accumulator: &mut Accumulator) {
        accumulator.words.copy_from_slice(&self.identity);
        accumulator.sides.fill(None);
    }

    /// Whether the state is that of no rows.
    pub fn is_empty(&self, accumulator: &Accumulator) -> bool {
        *accumulator.words == *self.identity && accumulator.sides.iter().all(Option::is_none)
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn lanes(&self) -> &[LaneShape] {
        &self.lanes
    }

    /// How many lanes the first components of the layout have.
    pub(crate) fn lane_count(&self, component_count: usize) -> usize {
        match self.slots.get(component_count) {
            Some(next) => index(next.lane),
            None => self.lanes.len(),
        }
    }

    pub(crate) fn identity(&self) -> &[u64] {
        &self.identity
    }

    /// The slots in the order of merging, each with its position.
    pub(crate) fn in_merge_order(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.order.iter().map(|&at| (usize::from(at), &self.slots[usize::from(at)]))
    }

    /// The position of a component.
    pub(crate) fn position(&self, component: Component) -> Option<usize> {
        self.components.iter().position(|(_, known)| *known == component)
    }

    /// The position of the component with this id, looked for at `guess` first.
    #[inline]
    pub(crate) fn position_of(&self, id: ComponentId, guess: u16) -> Option<usize> {
        let guess = usize::from(guess);
        if self.components.get(guess).is_some_and(|(known, _)| *known == id) {
            return Some(guess);
        }
        self.components.binary_search_by_key(&id, |(known, _)| *known).ok()
    }

    /// The position of the count of a column that has moments.
    fn count_slot(&self, column: Option<u16>) -> usize {
        let count = Component { column, kind: ComponentKind::Count };
        let Some(at) = self.position(count) else {
            unreachable!("a layout with moments has the count of their column");
        };
        at
    }

    fn with_sources(components: Vec<(ComponentId, Component)>, sources: Vec<u16>) -> Self {
        assert!(
            components.is_sorted_by(|(one, _), (next, _)| one < next),
            "components come in ascending order of their ids"
        );
        let mut layout = Self {
            components: components.into_boxed_slice(),
            slots: Box::default(),
            order: Box::default(),
            identity: Box::default(),
            side_count: 0,
            is_chainable: false,
            lanes: Box::default(),
        };
        layout.place(&sources);
        layout.order_slots();
        layout
    }

    /// Gives each component its place.
    fn place(&mut self, sources: &[u16]) {
        let mut slots = Vec::with_capacity(self.components.len());
        let mut identity = Vec::new();
        let mut lanes = Vec::new();
        for ((_, component), &source) in self.components.iter().zip(sources) {
            slots.push(Slot {
                kind: component.kind,
                column: component.column,
                word: place_of(identity.len()),
                side: place_of(self.side_count),
                lane: place_of(lanes.len()),
                count_word: 0,
                count_lane: 0,
                source,
            });
            identity.extend_from_slice(identity_words(component.kind));
            lanes.extend(lane_shapes(component.kind));
            self.side_count += usize::from(has_side(component.kind));
        }
        let has_moments = slots.iter().any(|slot| slot.kind == ComponentKind::Moments);
        self.is_chainable = !has_moments && self.side_count == 0;
        self.slots = slots.into_boxed_slice();
        self.identity = identity.into_boxed_slice();
        self.lanes = lanes.into_boxed_slice();
        for at in 0..self.slots.len() {
            if self.slots[at].kind == ComponentKind::Moments {
                let count = self.slots[self.count_slot(self.slots[at].column)];
                self.slots[at].count_word = count.word;
                self.slots[at].count_lane = count.lane;
            }
        }
    }

    fn order_slots(&mut self) {
        let mut order: Vec<u16> = (0..number_of(self.slots.len())).collect();
        order.sort_by_key(|&at| self.slots[usize::from(at)].kind != ComponentKind::Moments);
        self.order = order.into_boxed_slice();
    }
}

impl Slot {
    /// Its words within a state.
    #[inline]
    pub(crate) fn get<const COUNT: usize>(&self, words: &[u64]) -> [u64; COUNT] {
        let at = index(self.word);
        let Some(own) = words.get(at..).and_then(|rest| rest.first_chunk()) else {
            unreachable!("a state has the words of its layout");
        };
        *own
    }

    /// Its words within a state, to be changed.
    #[inline]
    pub(crate) fn get_mut<'a, const COUNT: usize>(
        &self,
        words: &'a mut [u64],
    ) -> &'a mut [u64; COUNT] {
        let at = index(self.word);
        let Some(own) = words.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) else {
            unreachable!("a state has the words of its layout");
        };
        own
    }

    /// How many words it has.
    pub(crate) fn word_count(&self) -> usize {
        identity_words(self.kind).len()
    }

    /// Whether it has a side.
    pub(crate) fn has_side(&self) -> bool {
        has_side(self.kind)
    }

    /// What its side keeps, where that is a list or sketch.
    pub(crate) fn rule(&self) -> SideRule {
        let Some(rule) = SideRule::of(self.kind) else {
            unreachable!("lists and sketches alone are kept by rules");
        };
        rule
    }

    /// The index of its side.
    pub(crate) fn side_index(&self) -> usize {
        index(self.side)
    }
}

/// The words of a component that has seen no value. The infinities are no inputs, and no
/// timestamp is as far out as the ends of an i64, so that both can stand for absence.
pub(crate) fn identity_words(kind: ComponentKind) -> &'static [u64] {
    const GREATEST_INTEGER: u64 = i64::MAX.cast_unsigned();
    const LEAST_INTEGER: u64 = i64::MIN.cast_unsigned();
    const LEAST_DOUBLE: u64 = f64::NEG_INFINITY.to_bits();
    const GREATEST_DOUBLE: u64 = f64::INFINITY.to_bits();
    match kind {
        ComponentKind::Rows | ComponentKind::Count => &[0],
        ComponentKind::SumI64 => &[0; 2],
        ComponentKind::SumF64 => &[0; 3],
        ComponentKind::Moments => &[0; 5],
        ComponentKind::Min(ColumnType::I64) => &[GREATEST_INTEGER, 0],
        ComponentKind::Max(ColumnType::I64) => &[LEAST_INTEGER, 0],
        ComponentKind::Min(ColumnType::F64) => &[GREATEST_DOUBLE],
        ComponentKind::Max(ColumnType::F64) => &[LEAST_DOUBLE],
        ComponentKind::Min(ColumnType::Str) | ComponentKind::Max(ColumnType::Str) => &[],
        ComponentKind::First(ColumnType::Str) => &[GREATEST_INTEGER],
        ComponentKind::Last(ColumnType::Str) => &[LEAST_INTEGER],
        ComponentKind::First(_) => &[GREATEST_INTEGER, 0],
        ComponentKind::Last(_) => &[LEAST_INTEGER, 0],
        ComponentKind::FirstN(..)
        | ComponentKind::LastN(..)
        | ComponentKind::FirstDistinctN(..)
        | ComponentKind::LastDistinctN(..)
        | ComponentKind::Distinct(_)
        | ComponentKind::Quantiles(..)
        | ComponentKind::Top(..) => &[],
    }
}

/// The lanes of a component: one per word, and one for the lengths of its texts.
fn lane_shapes(kind: ComponentKind) -> impl Iterator<Item = LaneShape> {
    let words = identity_words(kind).iter().enumerate();
    let of_word = move |(at, &empty)| LaneShape {
        kind: LaneKind {
            is_double: at < leading_doubles(kind) || Some(at) == trailing_double(kind),
            empty,
        },
        is_text: false,
        rule: None,
    };
    let lengths = LaneShape {
        kind: LaneKind { is_double: false, empty: 0 },
        is_text: true,
        rule: SideRule::of(kind),
    };
    words.map(of_word).chain(has_side(kind).then_some(lengths))
}

/// How many of a component's first words are doubles.
fn leading_doubles(kind: ComponentKind) -> usize {
    match kind {
        ComponentKind::SumF64 => 2,
        ComponentKind::Moments => 4,
        ComponentKind::Min(ColumnType::F64) | ComponentKind::Max(ColumnType::F64) => 1,
        _ => 0,
    }
}

/// The word after others that is a double.
fn trailing_double(kind: ComponentKind) -> Option<usize> {
    match kind {
        ComponentKind::First(ColumnType::F64) | ComponentKind::Last(ColumnType::F64) => Some(1),
        _ => None,
    }
}

fn has_side(kind: ComponentKind) -> bool {
    match kind {
        ComponentKind::Rows
        | ComponentKind::Count
        | ComponentKind::SumI64
        | ComponentKind::SumF64
        | ComponentKind::Moments => false,
        ComponentKind::Min(kind)
        | ComponentKind::Max(kind)
        | ComponentKind::First(kind)
        | ComponentKind::Last(kind) => kind == ColumnType::Str,
        ComponentKind::FirstN(..)
        | ComponentKind::LastN(..)
        | ComponentKind::FirstDistinctN(..)
        | ComponentKind::LastDistinctN(..)
        | ComponentKind::Distinct(_)
        | ComponentKind::Quantiles(..)
        | ComponentKind::Top(..) => true,
    }
}

fn place_of(length: usize) -> u32 {
    let Ok(place) = u32::try_from(length) else {
        unreachable!("65,535 components of at most 5 words fit 32 bits");
    };
    place
}

fn number_of(length: usize) -> u16 {
    let Ok(number) = u16::try_from(length) else {
        panic!("a layout has at most 65,535 components, not {length}");
    };
    number
}

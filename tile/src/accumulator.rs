//! The state of a tile or window under a layout, and its form as bytes for log records
//! (docs/format/state.md, [STATE-5] to [STATE-7]).
//! It knows nothing of how states are computed or merged.

use crate::component::ComponentKind;
use crate::error::TileError;
use crate::layout::{Layout, Slot};
use crate::number::index;
use crate::side::{Reader, Side};
use smallvec::SmallVec;

/// Words that a state holds without memory of its own: as many as a sum of doubles, or moments,
/// have with what goes along.
const INLINE_WORD_COUNT: usize = 6;

/// The state of one tile or one window: the values of the components of a [`Layout`], without
/// which it means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accumulator {
    pub(crate) words: SmallVec<[u64; INLINE_WORD_COUNT]>,
    pub(crate) sides: Box<[Option<Side>]>,
}

impl Accumulator {
    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let sides = self.sides.iter().flatten().map(Side::heap_bytes);
        let words = if self.words.spilled() { size_of_val(&*self.words) } else { 0 };
        words + size_of_val(&*self.sides) + sides.sum::<usize>()
    }

    /// The text of a component's side.
    pub(crate) fn text(&self, slot: &Slot) -> Option<&[u8]> {
        match self.sides.get(slot.side_index())? {
            Some(Side::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A component's side.
    pub(crate) fn side_mut(&mut self, slot: &Slot) -> &mut Option<Side> {
        &mut self.sides[slot.side_index()]
    }

    /// Replaces the text of a component's side.
    pub(crate) fn set_text(&mut self, slot: &Slot, text: &[u8]) {
        self.sides[slot.side_index()] = Some(Side::Text(text.into()));
    }
}

/// Appends the state of `accumulator` under `layout`: the number of components (u16); a bit per
/// word, set where the word is not that of an empty state, least significant bit first; the words
/// so marked; and for each side its length plus one (u32, 0 for none) and its bytes. All integers
/// are little-endian.
pub fn encode_accumulator(layout: &Layout, accumulator: &Accumulator, out: &mut Vec<u8>) {
    assert!(
        accumulator.words.len() == layout.words() && accumulator.sides.len() == layout.sides(),
        "the state belongs to the layout"
    );
    let Ok(component_count) = u16::try_from(layout.components().len()) else {
        unreachable!("a layout bounds its components");
    };
    out.extend_from_slice(&component_count.to_le_bytes());
    let marks_at = out.len();
    out.resize(marks_at + layout.words().div_ceil(8), 0);
    for (at, (word, empty)) in accumulator.words.iter().zip(layout.identity()).enumerate() {
        if word != empty {
            out[marks_at + at / 8] |= 1 << (at % 8);
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    for slot in layout.slots().iter().filter(|slot| slot.has_side()) {
        encode_side(slot.kind, accumulator.sides[slot.side_index()].as_ref(), out);
    }
}

/// Reads a state that [`encode_accumulator`] wrote under this layout or an older one, of which
/// this is an extension. Gives the state and the number of bytes read; more may follow.
pub fn decode_accumulator(
    layout: &Layout,
    bytes: &[u8],
) -> Result<(Accumulator, usize), TileError> {
    let mut reader = Reader::new(bytes);
    let component_count = usize::from(reader.u16()?);
    let components = layout.components().len();
    if components < component_count {
        let expected = format!("at most {components} components");
        return Err(reader.corrupt(0, expected, component_count.to_string()));
    }
    let mut accumulator = layout.empty();
    let (word_count, _) = extent(layout, component_count);
    read_words(&mut reader, &mut accumulator.words[..word_count])?;
    for slot in layout.slots()[..component_count].iter().filter(|slot| slot.has_side()) {
        accumulator.sides[slot.side_index()] = read_side(&mut reader, slot.kind)?;
    }
    Ok((accumulator, reader.offset))
}

/// The words and sides of the first components of a layout.
pub(crate) fn extent(layout: &Layout, component_count: usize) -> (usize, usize) {
    layout
        .slots()
        .get(component_count)
        .map_or((layout.words(), layout.sides()), |next| (index(next.word), next.side_index()))
}

fn encode_side(kind: ComponentKind, side: Option<&Side>, out: &mut Vec<u8>) {
    let Some(side) = side else {
        out.extend_from_slice(&0_u32.to_le_bytes());
        return;
    };
    let bytes = side.bytes(kind);
    let Ok(length) = u32::try_from(bytes.len() + 1) else {
        panic!("a stored text is shorter than 4 GiB");
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn read_words(reader: &mut Reader<'_>, words: &mut [u64]) -> Result<(), TileError> {
    let marks_at = reader.offset;
    let marks = reader.take(words.len().div_ceil(8))?;
    for (at, word) in words.iter_mut().enumerate() {
        if marks[at / 8] >> (at % 8) & 1 == 1 {
            *word = reader.u64()?;
        }
    }
    let used = words.len() % 8;
    match marks.last() {
        Some(last) if used != 0 && last >> used != 0 => {
            let at = marks_at + marks.len() - 1;
            Err(reader.corrupt(at, "marks of words alone".to_owned(), format!("{last:#04x}")))
        }
        _ => Ok(()),
    }
}

fn read_side(reader: &mut Reader<'_>, kind: ComponentKind) -> Result<Option<Side>, TileError> {
    match reader.u32()?.checked_sub(1) {
        None => Ok(None),
        Some(length) => Side::decode(kind, reader.take(index(length))?).map(Some),
    }
}

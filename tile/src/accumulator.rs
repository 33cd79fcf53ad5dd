//! The state of a tile or window under a layout, and its form as bytes for log records
//! (docs/format/state.md, [STATE-5] to [STATE-7]).
//! It knows nothing of how states are computed or merged.

use crate::error::TileError;
use crate::layout::{Layout, Slot};
use crate::number::{count, index};

/// The state of one tile or one window: the values of the components of a [`Layout`], without
/// which it means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accumulator {
    pub(crate) words: Box<[u64]>,
    pub(crate) sides: Box<[Option<Side>]>,
}

/// A value without a fixed size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// A string.
    Text(Box<[u8]>),
}

impl Accumulator {
    /// Bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let sides = self.sides.iter().flatten().map(Side::byte_count);
        size_of_val(&*self.words) + size_of_val(&*self.sides) + sides.sum::<usize>()
    }

    /// The text of a component's side.
    pub(crate) fn text(&self, slot: &Slot) -> Option<&[u8]> {
        match self.sides.get(slot.side_index())? {
            Some(Side::Text(text)) => Some(text),
            None => None,
        }
    }

    /// Replaces the text of a component's side.
    pub(crate) fn set_text(&mut self, slot: &Slot, text: &[u8]) {
        self.sides[slot.side_index()] = Some(Side::Text(text.into()));
    }
}

impl Side {
    fn byte_count(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
        }
    }

    /// The bytes that stand for it in stored forms.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
        }
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
    for side in &accumulator.sides {
        encode_side(side.as_ref(), out);
    }
}

/// Reads a state that [`encode_accumulator`] wrote under this layout or an older one, of which
/// this is an extension. Gives the state and the number of bytes read; more may follow.
pub fn decode_accumulator(
    layout: &Layout,
    bytes: &[u8],
) -> Result<(Accumulator, usize), TileError> {
    let mut reader = Reader { bytes, offset: 0 };
    let component_count = usize::from(u16::from_le_bytes(reader.array()?));
    let components = layout.components().len();
    if components < component_count {
        let expected = format!("at most {components} components");
        return Err(reader.corrupt(0, expected, component_count.to_string()));
    }
    let mut accumulator = layout.empty();
    let (word_count, side_count) = extent(layout, component_count);
    reader.words(&mut accumulator.words[..word_count])?;
    for (at, side) in accumulator.sides[..side_count].iter_mut().enumerate() {
        *side = reader.side(at)?;
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

fn encode_side(side: Option<&Side>, out: &mut Vec<u8>) {
    let Some(side) = side else {
        out.extend_from_slice(&0_u32.to_le_bytes());
        return;
    };
    let bytes = side.bytes();
    let Ok(length) = u32::try_from(bytes.len() + 1) else {
        panic!("a stored text is shorter than 4 GiB");
    };
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Reads an encoded state from its beginning to its end.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn words(&mut self, words: &mut [u64]) -> Result<(), TileError> {
        let marks_at = self.offset;
        let marks = self.take(words.len().div_ceil(8))?;
        for (at, word) in words.iter_mut().enumerate() {
            if marks[at / 8] >> (at % 8) & 1 == 1 {
                *word = u64::from_le_bytes(self.array()?);
            }
        }
        let used = words.len() % 8;
        match marks.last() {
            Some(last) if used != 0 && last >> used != 0 => {
                let at = marks_at + marks.len() - 1;
                Err(self.corrupt(at, "marks of words alone".to_owned(), format!("{last:#04x}")))
            }
            _ => Ok(()),
        }
    }

    fn side(&mut self, _at: usize) -> Result<Option<Side>, TileError> {
        let length = u32::from_le_bytes(self.array()?);
        match length.checked_sub(1) {
            None => Ok(None),
            Some(length) => Ok(Some(Side::Text(self.take(index(length))?.into()))),
        }
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], TileError> {
        let taken = self.take(COUNT)?;
        let Ok(array) = taken.try_into() else {
            unreachable!("as many bytes were taken as the array has");
        };
        Ok(array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], TileError> {
        let rest = &self.bytes[self.offset..];
        let Some(taken) = rest.get(..length) else {
            let found = format!("{} left", count(rest.len()));
            return Err(self.corrupt(self.offset, format!("{length} bytes"), found));
        };
        self.offset += length;
        Ok(taken)
    }

    fn corrupt(&self, offset: usize, expected: String, found: String) -> TileError {
        TileError::Corrupt { what: "stored tile state", offset, expected, found }
    }
}

//! Sketches as Apache DataSketches serialises them: KLL for quantiles, frequent items for the most
//! frequent values. It knows nothing of JSON.

use super::item::{Item, Number};
use super::quantiles::{LEVEL_CAPACITY_MIN, LEVEL_COUNT_MAX, Quantiles, capacity};
use super::reader::Reader;
use super::top::{Top, counter_count};
use crate::error::TileError;
use crate::number::{count, index, integer_part, nearest_double_signed};
use crate::scalar::{ColumnType, Scalar, finite};

/// What the items of a sketch of numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Doubles, as in `kll_doubles_sketch`.
    Doubles,
    /// Integers of 64 bits, as in `kll_sketch<int64_t>`.
    Integers,
}

/// The form in which a distribution loses nothing: doubles, but where a column of integers has
/// some that are no doubles.
pub(super) fn numbers_of(quantiles: &Quantiles, kind: ColumnType) -> Numbers {
    let is_double = |number: &Number| {
        let integer = number.word(ColumnType::I64).cast_signed();
        integer.unsigned_abs() <= EXACT_MAX
    };
    let (least, greatest) = quantiles.ends();
    // All others lie between the ends.
    match kind {
        ColumnType::I64 if !(is_double(&least) && is_double(&greatest)) => Numbers::Integers,
        _ => Numbers::Doubles,
    }
}

/// A distribution as a KLL sketch.
pub(super) fn print_kll(
    quantiles: &Quantiles,
    k: u16,
    kind: ColumnType,
    numbers: Numbers,
) -> Vec<u8> {
    let levels = quantiles.levels();
    let is_single = quantiles.rows() == 1;
    let Ok(level_count) = u8::try_from(levels.len()) else {
        unreachable!("2^60 numbers make fewer than 80 levels");
    };
    let (preamble, version, single) = if is_single { (2, 2, KLL_SINGLE) } else { (5, 1, 0) };
    let mut image = vec![preamble, version, KLL_FAMILY, KLL_SORTED | single];
    image.extend_from_slice(&k.to_le_bytes());
    image.extend_from_slice(&[KLL_M, 0]);
    let put = |number: &Number, image: &mut Vec<u8>| {
        image.extend_from_slice(&word_of(*number, kind, numbers).to_le_bytes());
    };
    if !is_single {
        image.extend_from_slice(&quantiles.rows().to_le_bytes());
        image.extend_from_slice(&k.to_le_bytes());
        image.extend_from_slice(&[level_count, 0]);
        let retained: usize = levels.iter().map(Vec::len).sum();
        let mut at = capacity(k, levels.len()) - retained;
        for level in levels {
            image.extend_from_slice(&word32(at).to_le_bytes());
            at += level.len();
        }
        let (least, greatest) = quantiles.ends();
        put(&least, &mut image);
        put(&greatest, &mut image);
    }
    levels.iter().flatten().for_each(|number| put(number, &mut image));
    image
}

/// Reads a KLL sketch of at least this k, or of any k while it holds all its numbers; nothing for
/// an empty one.
pub(super) fn read_kll(
    image: &[u8],
    k: u16,
    kind: ColumnType,
    numbers: Numbers,
) -> Result<Option<Quantiles>, TileError> {
    let mut reader = Reader::named("KLL sketch", image);
    let preamble = reader.u8()?;
    reader.u8()?;
    let family = reader.u8()?;
    if family != KLL_FAMILY {
        return Err(reader.wrong("sketch family 15, KLL", family));
    }
    let flags = reader.u8()?;
    let image_k = reader.u16()?;
    let m = reader.u8()?;
    reader.u8()?;
    if m != KLL_M {
        return Err(reader.wrong("an m of 8", m));
    }
    if flags & KLL_EMPTY != 0 {
        return Ok(None);
    }
    let next = |reader: &mut Reader<'_>| number_of(reader.u64()?, kind, numbers, reader);
    if flags & KLL_SINGLE != 0 {
        let number = next(&mut reader)?;
        reader.end()?;
        return Ok(Quantiles::from_levels(k, (number, number), vec![vec![number]]));
    }
    if preamble != 5 {
        return Err(reader.wrong("a preamble of 5 words", preamble));
    }
    let rows = reader.u64()?;
    let least_k = reader.u16()?;
    let level_count = usize::from(reader.u8()?);
    reader.u8()?;
    if !(1..=LEVEL_COUNT_MAX).contains(&level_count) {
        return Err(reader.wrong("1 to 61 levels", level_count));
    }
    if 1 < level_count && least_k < k {
        return Err(reader.wrong(&format!("a sketch of k {k} or more"), least_k));
    }
    let lengths = level_lengths(&mut reader, image_k, level_count)?;
    let ends = (next(&mut reader)?, next(&mut reader)?);
    let mut levels = Vec::with_capacity(level_count);
    for length in lengths {
        let numbers: Result<Vec<Number>, TileError> =
            (0..length).map(|_| next(&mut reader)).collect();
        levels.push(numbers?);
    }
    reader.end()?;
    if flags & KLL_SORTED == 0 {
        levels[0].sort_unstable();
    }
    let quantiles = Quantiles::from_levels(k, ends, levels).filter(|found| found.rows() == rows);
    quantiles.map(Some).ok_or_else(|| {
        reader.wrong("sorted levels between least and greatest, of as many rows as said", rows)
    })
}

/// How many numbers each level has, by where each begins.
fn level_lengths(
    reader: &mut Reader<'_>,
    image_k: u16,
    level_count: usize,
) -> Result<Vec<usize>, TileError> {
    let mut starts = Vec::with_capacity(level_count + 1);
    for _ in 0..level_count {
        starts.push(index(reader.u32()?));
    }
    starts.push(capacity(image_k, level_count));
    let lengths = starts.windows(2).map(|pair| pair[1].checked_sub(pair[0]));
    let lengths: Option<Vec<usize>> = lengths.collect();
    lengths.ok_or_else(|| reader.wrong("ascending starts of levels", starts[0]))
}

fn word_of(number: Number, kind: ColumnType, numbers: Numbers) -> u64 {
    match (kind, numbers) {
        (ColumnType::I64 | ColumnType::Str, Numbers::Doubles) => {
            nearest_double_signed(number.word(kind).cast_signed()).to_bits()
        }
        _ => number.word(kind),
    }
}

fn number_of(
    word: u64,
    kind: ColumnType,
    numbers: Numbers,
    reader: &Reader<'_>,
) -> Result<Number, TileError> {
    if numbers == Numbers::Integers {
        return Ok(Number::of(Scalar::I64(word.cast_signed())));
    }
    let Some(double) = finite(f64::from_bits(word)) else {
        return Err(reader.wrong("a finite double", f64::from_bits(word)));
    };
    if kind == ColumnType::F64 {
        return Ok(Number::of(Scalar::F64(double)));
    }
    let integer = integer_part(double);
    if nearest_double_signed(integer) != double || integer == i64::MAX {
        return Err(reader.wrong("an integer of type i64", double));
    }
    Ok(Number::of(Scalar::I64(integer)))
}

/// The most frequent values as a sketch of frequent items.
pub(super) fn print_frequent<T: Item>(top: &Top<T>, n: u16, kind: ColumnType) -> Vec<u8> {
    // A counter of zero only says that the value was seen, which the form cannot.
    let counters = || top.counters().iter().filter(|(_, counter)| 0 < *counter);
    let length = counters().count();
    let mut image = vec![4, 1, FREQUENT_FAMILY, map_bits(2 * counter_count(n)), map_bits(length)];
    image.extend_from_slice(&[0; 3]);
    image.extend_from_slice(&word32(length).to_le_bytes());
    image.extend_from_slice(&[0; 4]);
    image.extend_from_slice(&top.rows().to_le_bytes());
    image.extend_from_slice(&top.offset().to_le_bytes());
    counters().for_each(|(_, counter)| image.extend_from_slice(&counter.to_le_bytes()));
    counters().for_each(|(item, _)| item.encode_image(kind, &mut image));
    image
}

/// Reads a sketch of frequent items that is as exact as a list of n values has to be; nothing for
/// an empty one.
pub(super) fn read_frequent<T: Item>(
    image: &[u8],
    n: u16,
    kind: ColumnType,
) -> Result<Option<Top<T>>, TileError> {
    let mut reader = Reader::named("frequent items sketch", image);
    let preamble = reader.u8()? & 0x3f;
    reader.u8()?;
    let family = reader.u8()?;
    if family != FREQUENT_FAMILY {
        return Err(reader.wrong("sketch family 10, frequent items", family));
    }
    reader.take(5)?;
    if preamble == 1 {
        return Ok(None);
    }
    let length = index(reader.u32()?);
    reader.u32()?;
    let (rows, offset) = (reader.u64()?, reader.u64()?);
    let (words, _) = reader.take(length.saturating_mul(8))?.as_chunks();
    let counts: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let mut counters = Vec::with_capacity(counts.len());
    for counter in counts {
        counters.push((T::decode_image(kind, &mut reader)?, counter));
    }
    reader.end()?;
    if rows == 0 && counters.is_empty() {
        return Ok(None);
    }
    let least = (offset.max(1)).saturating_mul(count(counter_count(n)) + 1);
    Top::from_counters(n, rows, offset, counters).map(Some).ok_or_else(|| {
        let expected = format!(
            "distinct items whose counts are at least {least} less than the rows in sum, \
             or an exact sketch: a map of at least {} entries",
            1_u64 << map_bits(2 * counter_count(n))
        );
        reader.wrong(&expected, format!("an error of up to {offset} over {rows} rows"))
    })
}

/// The base-2 logarithm of a hash map that holds so many items at three quarters of its size.
fn map_bits(item_count: usize) -> u8 {
    (3..).find(|&bits| item_count * 4 <= 3 << bits).unwrap_or(u8::MAX)
}

fn word32(length: usize) -> u32 {
    let Ok(word) = u32::try_from(length) else {
        unreachable!("a sketch retains fewer than 2^32 items");
    };
    word
}

/// The greatest magnitude up to which every integer is a double: 2^53.
const EXACT_MAX: u64 = 1 << 53;

const KLL_FAMILY: u8 = 15;
const KLL_EMPTY: u8 = 1;
const KLL_SORTED: u8 = 1 << 1;
const KLL_SINGLE: u8 = 1 << 2;
const KLL_M: u8 = 8;
const FREQUENT_FAMILY: u8 = 10;

const _: () = assert!(LEVEL_CAPACITY_MIN == 8, "the least capacity of a level is m");

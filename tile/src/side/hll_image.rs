//! HyperLogLog sketches as Apache DataSketches serialises them. It knows nothing of how values are
//! hashed or estimates made.

use super::distinct::{Distinct, Form, LIST_LEN, REGISTER_MAX};
use super::reader::Reader;
use crate::error::TileError;
use crate::number::{index, power_of_two};

/// The sketch as an image: compact, of type HLL_8, and marked as merged out of order, so that
/// every reader takes the estimator that this store takes.
pub(crate) fn print_hll(distinct: &Distinct, precision: u8) -> Vec<u8> {
    match distinct.form() {
        Form::Sparse(coupons) => sparse_image(precision, coupons),
        Form::Dense(registers) => dense_image(precision, registers),
    }
}

/// Reads an image of any type and form and of this precision or a finer one; one that still has
/// its coupons may be of any.
pub(crate) fn read_hll(image: &[u8], precision: u8) -> Result<Distinct, TileError> {
    let mut reader = Reader::named("HLL sketch", image);
    let preamble = reader.u8()?;
    let version = reader.u8()?;
    let family = reader.u8()?;
    let image_precision = reader.u8()?;
    let table_bits = reader.u8()?;
    let flags = reader.u8()?;
    let state = reader.u8()?;
    let mode = reader.u8()?;
    if (version, family) != (1, FAMILY) {
        return Err(reader.wrong("sketch family 7, HLL, version 1", family));
    }
    if !(PRECISION_MIN..=PRECISION_MAX).contains(&image_precision) {
        return Err(reader.wrong("an lg_k from 4 to 21", image_precision));
    }
    let is_compact = flags & FLAG_COMPACT != 0;
    match (mode & 3, preamble) {
        (MODE_LIST, 2) if flags & FLAG_EMPTY != 0 => Ok(Distinct::default()),
        (MODE_LIST, 2) => {
            let coupon_count = usize::from(state);
            read_coupons(&mut reader, precision, coupon_count, (is_compact, 3))
        }
        (MODE_SET, 3) => {
            let coupon_count = index(reader.u32()?);
            read_coupons(&mut reader, precision, coupon_count, (is_compact, table_bits))
        }
        (MODE_HLL, 10) if image_precision < precision => {
            Err(reader.wrong(&format!("an lg_k of {precision} or more"), image_precision))
        }
        (MODE_HLL, 10) => {
            let slot_count = 1 << image_precision;
            let registers = match mode & TYPE_MASK {
                TYPE_HLL_4 => read_hll_4(&mut reader, slot_count, state, is_compact)?,
                TYPE_HLL_6 => read_hll_6(&mut reader, slot_count)?,
                TYPE_HLL_8 => {
                    reader.take(DENSE_PREAMBLE_BYTES - SHORT_PREAMBLE_BYTES)?;
                    reader.take(slot_count)?.to_vec()
                }
                _ => return Err(reader.wrong("type HLL_4, HLL_6 or HLL_8", mode)),
            };
            match registers.iter().max() {
                Some(&greatest) if REGISTER_MAX < greatest => {
                    Err(reader.wrong("registers of at most 63", greatest))
                }
                _ => Ok(Distinct::from_registers(precision, &registers)),
            }
        }
        _ => Err(reader.wrong("a preamble and mode of an HLL sketch", mode)),
    }
}

/// Reads coupons: back to back, or in a hash table of so many bits whose free places are 0.
fn read_coupons(
    reader: &mut Reader<'_>,
    precision: u8,
    coupon_count: usize,
    (is_compact, table_bits): (bool, u8),
) -> Result<Distinct, TileError> {
    if TABLE_BITS_MAX < table_bits {
        return Err(reader.wrong("a table of at most 2^18 coupons", table_bits));
    }
    let word_count = if is_compact { coupon_count } else { 1 << table_bits };
    let (words, _) = reader.take(word_count.saturating_mul(size_of::<u32>()))?.as_chunks();
    let coupons = words.iter().map(|word| u32::from_le_bytes(*word));
    let coupons: Vec<u32> = coupons.filter(|&coupon| coupon != 0).collect();
    if coupons.len() != coupon_count || coupons.iter().any(|&coupon| coupon >> SLOT_BITS == 0) {
        return Err(reader.wrong("as many coupons as said", coupons.len()));
    }
    Ok(Distinct::from_coupons(precision, coupons))
}

/// Registers as what they are above the least one, in four bits; 15 stands for one that is given
/// apart.
fn read_hll_4(
    reader: &mut Reader<'_>,
    slot_count: usize,
    least: u8,
    is_compact: bool,
) -> Result<Vec<u8>, TileError> {
    let table_bits = reader.byte_at(4);
    reader.take(AUXILIARY_COUNT_AT - SHORT_PREAMBLE_BYTES)?;
    let auxiliary_count = index(reader.u32()?);
    let nibbles = reader.take(slot_count / 2)?.iter().flat_map(|pair| [pair & 0xf, pair >> 4]);
    let value = |nibble: u8| if nibble == APART { 0 } else { least.saturating_add(nibble) };
    let mut registers: Vec<u8> = nibbles.map(value).collect();
    let word_count = match is_compact || auxiliary_count == 0 {
        true => auxiliary_count,
        false if TABLE_BITS_MAX < table_bits => {
            return Err(reader.wrong("a table of at most 2^18 registers", table_bits));
        }
        false => 1 << table_bits,
    };
    let (words, _) = reader.take(word_count.saturating_mul(size_of::<u32>()))?.as_chunks();
    for word in words.iter().map(|word| u32::from_le_bytes(*word)).filter(|&word| word != 0) {
        let at = index(word & ((1 << SLOT_BITS) - 1));
        let [.., high] = word.to_le_bytes();
        match registers.get_mut(at) {
            Some(register) => *register = high >> 2,
            None => return Err(reader.wrong("slots of the sketch", at)),
        }
    }
    Ok(registers)
}

/// Registers of six bits, back to back from the low bits on.
fn read_hll_6(reader: &mut Reader<'_>, slot_count: usize) -> Result<Vec<u8>, TileError> {
    reader.take(DENSE_PREAMBLE_BYTES - SHORT_PREAMBLE_BYTES)?;
    let bytes = reader.take(slot_count * 3 / 4)?;
    let of_three = |[low, middle, high]: &[u8; 3]| {
        let word = u32::from_le_bytes([*low, *middle, *high, 0]);
        [0, 6, 12, 18].map(|shift| (word >> shift).to_le_bytes()[0] & REGISTER_MAX)
    };
    Ok(bytes.as_chunks().0.iter().flat_map(of_three).collect())
}

fn sparse_image(precision: u8, coupons: &[u32]) -> Vec<u8> {
    let is_list = coupons.len() < LIST_LEN;
    let list_len = u8::try_from(coupons.len()).unwrap_or(0);
    let mut image = match is_list {
        true if coupons.is_empty() => {
            vec![2, 1, FAMILY, precision, 3, FLAG_EMPTY | FLAG_COMPACT, 0, TYPE_HLL_8]
        }
        true => vec![2, 1, FAMILY, precision, 3, FLAG_COMPACT, list_len, TYPE_HLL_8],
        false => {
            let table = set_table_bits(coupons.len());
            vec![3, 1, FAMILY, precision, table, FLAG_COMPACT, 0, TYPE_HLL_8 | MODE_SET]
        }
    };
    if !is_list {
        let Ok(coupon_count) = u32::try_from(coupons.len()) else {
            unreachable!("a sparse sketch has few coupons");
        };
        image.extend_from_slice(&coupon_count.to_le_bytes());
    }
    coupons.iter().for_each(|coupon| image.extend_from_slice(&coupon.to_le_bytes()));
    image
}

/// The base-2 logarithm of the hash table in which DataSketches holds so many coupons.
fn set_table_bits(coupon_count: usize) -> u8 {
    (5..).find(|&bits| coupon_count * 4 <= 3 << bits).unwrap_or(u8::MAX)
}

fn dense_image(precision: u8, registers: &[u8]) -> Vec<u8> {
    let power_sum = |range: std::ops::Range<u8>| -> f64 {
        let values = registers.iter().filter(|value| range.contains(value));
        values.map(|&value| power_of_two(-i64::from(value))).sum()
    };
    let zeros = registers.iter().filter(|&&value| value == 0).count();
    let Ok(zeros) = u32::try_from(zeros) else {
        unreachable!("there are at most 65,536 registers");
    };
    let mut image =
        vec![10, 1, FAMILY, precision, 0, FLAG_MERGED | FLAG_COMPACT, 0, TYPE_HLL_8 | MODE_HLL];
    // The accumulator of the estimator that depends on the order of arrival: it is not used.
    image.extend_from_slice(&0_f64.to_le_bytes());
    image.extend_from_slice(&power_sum(0..32).to_le_bytes());
    image.extend_from_slice(&power_sum(32..64).to_le_bytes());
    image.extend_from_slice(&zeros.to_le_bytes());
    image.extend_from_slice(&0_u32.to_le_bytes());
    image.extend_from_slice(registers);
    image
}

/// Precisions that DataSketches has.
const PRECISION_MIN: u8 = 4;
const PRECISION_MAX: u8 = 21;
/// The largest table of coupons that DataSketches makes: for a precision of 21.
const TABLE_BITS_MAX: u8 = 18;
/// The low bits of a coupon, which name its slot.
const SLOT_BITS: u32 = 26;
/// What is above the least register by this or more stands apart.
const APART: u8 = 15;

const FAMILY: u8 = 7;
const FLAG_EMPTY: u8 = 4;
const FLAG_COMPACT: u8 = 8;
const FLAG_MERGED: u8 = 16;
const MODE_LIST: u8 = 0;
const MODE_SET: u8 = 1;
const MODE_HLL: u8 = 2;
const TYPE_MASK: u8 = 3 << 2;
const TYPE_HLL_4: u8 = 0;
const TYPE_HLL_6: u8 = 1 << 2;
const TYPE_HLL_8: u8 = 2 << 2;
const SHORT_PREAMBLE_BYTES: usize = 8;
const AUXILIARY_COUNT_AT: usize = 36;
const DENSE_PREAMBLE_BYTES: usize = 40;

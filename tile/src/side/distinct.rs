//! Distinct counts: a HyperLogLog sketch (P. Flajolet and others, 2007) of the values of a column,
//! in the hashes and modes of Apache DataSketches.
//!
//! The state depends on the set of values alone: it is the set of their coupons while there are
//! few, and after that the registers that those coupons give. So do the answers, whatever the
//! order of arrival and however values were spread over tiles. It knows nothing of tiles.

use super::hll_image::print_hll;
use super::reader::Reader;
use crate::error::TileError;
use crate::number::{index, integer_part};
use crate::scalar::Scalar;
use datasketches::hash::value::{canonical_float, raw_bytes};
use datasketches::hll::{Coupon, HllSketch};
use std::hash::{Hash, Hasher};

/// The values of a column, counted once each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distinct {
    form: Form,
}

/// How values are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// Coupons in ascending order: 26 bits of a slot below 6 bits of a register's value.
    Sparse(Vec<u32>),
    /// One register for each of 2^precision slots.
    Dense(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self { form: Form::Sparse(Vec::new()) }
    }
}

impl Distinct {
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.form {
            Form::Sparse(coupons) => coupons.capacity() * size_of::<u32>(),
            Form::Dense(registers) => registers.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.form, Form::Sparse(coupons) if coupons.is_empty())
    }

    pub(crate) fn add(&mut self, precision: u8, scalar: Scalar<'_>) {
        self.add_coupon(precision, coupon_of(scalar));
    }

    pub(crate) fn merge(&mut self, precision: u8, other: &Self) {
        match (&mut self.form, &other.form) {
            (Form::Sparse(own), Form::Sparse(other)) => {
                // Tiles of one window mostly hold the same values.
                if other.iter().any(|coupon| own.binary_search(coupon).is_err()) {
                    *own = union(own, other);
                    self.densify(precision);
                }
            }
            (Form::Dense(own), Form::Dense(other)) => {
                own.iter_mut().zip(other).for_each(|(own, &other)| *own = (*own).max(other));
            }
            (Form::Dense(own), Form::Sparse(other)) => {
                other.iter().for_each(|&coupon| raise(own, coupon));
            }
            (Form::Sparse(own), Form::Dense(other)) => {
                let mut registers = other.clone();
                own.iter().for_each(|&coupon| raise(&mut registers, coupon));
                self.form = Form::Dense(registers);
            }
        }
    }

    /// How many distinct values there are, by the composite estimator of DataSketches, which
    /// depends on the state alone.
    pub(crate) fn estimate(&self, precision: u8) -> u64 {
        let estimate = match &self.form {
            Form::Sparse(coupons) if coupons.len() < SMALL_COUPON_COUNT => {
                return crate::number::count(coupons.len());
            }
            _ => match HllSketch::deserialize(&print_hll(self, precision)) {
                Ok(sketch) => sketch.composite_estimate(),
                Err(error) => unreachable!("the image of a sketch is sound: {error}"),
            },
        };
        integer_part(estimate.round()).cast_unsigned()
    }

    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    /// The sketch of these coupons, in any order.
    pub(crate) fn from_coupons(precision: u8, mut coupons: Vec<u32>) -> Self {
        coupons.sort_unstable();
        coupons.dedup();
        let mut distinct = Self { form: Form::Sparse(coupons) };
        distinct.densify(precision);
        distinct
    }

    /// The sketch of these registers, a power of two of them and at least as many as the precision
    /// asks for: those whose slots agree in as many low bits become one.
    pub(crate) fn from_registers(precision: u8, found: &[u8]) -> Self {
        let mut registers = vec![0; 1 << precision].into_boxed_slice();
        for (slot, &value) in found.iter().enumerate() {
            let at = slot & (registers.len() - 1);
            registers[at] = registers[at].max(value);
        }
        match registers.iter().all(|&value| value == 0) {
            true => Self::default(),
            false => Self { form: Form::Dense(registers) },
        }
    }

    /// [STATE-12], [STATE-13]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match &self.form {
            Form::Sparse(coupons) => {
                out.push(SPARSE);
                coupons.iter().for_each(|coupon| out.extend_from_slice(&coupon.to_le_bytes()));
            }
            Form::Dense(registers) => encode_registers(registers, out),
        }
    }

    pub(crate) fn decode(precision: u8, reader: &mut Reader<'_>) -> Result<Self, TileError> {
        match reader.u8()? {
            SPARSE => {
                let (words, rest) = reader.take(reader.rest().len())?.as_chunks();
                let coupons: Vec<u32> =
                    words.iter().map(|word| u32::from_le_bytes(*word)).collect();
                let has_values = coupons.first().is_some_and(|&coupon| 0 < register_value(coupon));
                let fits = has_values && coupons.len() <= sparse_count_max(precision);
                if !rest.is_empty() || !fits || !coupons.is_sorted_by(|one, next| one < next) {
                    return Err(reader.wrong("a few coupons in ascending order", coupons.len()));
                }
                Ok(Self { form: Form::Sparse(coupons) })
            }
            DENSE => Ok(Self { form: Form::Dense(decode_registers(precision, reader)?) }),
            form => Err(reader.wrong("form 0 or 1 of a distinct count", form)),
        }
    }

    fn add_coupon(&mut self, precision: u8, coupon: u32) {
        match &mut self.form {
            Form::Sparse(coupons) => {
                if let Err(at) = coupons.binary_search(&coupon) {
                    coupons.insert(at, coupon);
                    self.densify(precision);
                }
            }
            Form::Dense(registers) => raise(registers, coupon),
        }
    }

    /// Turns coupons that are too many into registers.
    fn densify(&mut self, precision: u8) {
        let Form::Sparse(coupons) = &self.form else {
            return;
        };
        if coupons.len() <= sparse_count_max(precision) {
            return;
        }
        let mut registers = vec![0; 1 << precision].into_boxed_slice();
        coupons.iter().for_each(|&coupon| raise(&mut registers, coupon));
        self.form = Form::Dense(registers);
    }
}

/// The coupon by which DataSketches knows a value: integers and doubles are hashed as their eight
/// bytes, texts as their bytes.
fn coupon_of(scalar: Scalar<'_>) -> u32 {
    let coupon = match scalar {
        Scalar::I64(value) => Coupon::from_value(value),
        Scalar::F64(value) => Coupon::from_value(canonical_float::from_f64(value)),
        Scalar::Str(text) => Coupon::from_value(raw_bytes::from_slice(text)),
    };
    let mut bits = CouponBits(0);
    coupon.hash(&mut bits);
    bits.0
}

/// Takes the bits of a coupon, which the library shows to hashers alone.
struct CouponBits(u32);

impl Hasher for CouponBits {
    fn write_u32(&mut self, bits: u32) {
        self.0 = bits;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a coupon is a number of 32 bits");
    }

    fn finish(&self) -> u64 {
        u64::from(self.0)
    }
}

/// Raises the register of a coupon's slot to the coupon's value.
fn raise(registers: &mut [u8], coupon: u32) {
    let at = index(coupon) & (registers.len() - 1);
    let value = register_value(coupon);
    registers[at] = registers[at].max(value);
}

fn register_value(coupon: u32) -> u8 {
    let [.., high] = coupon.to_le_bytes();
    high >> 2
}

/// The most coupons that are kept as such: as many as DataSketches keeps, so that both take the
/// same estimator for the same values.
fn sparse_count_max(precision: u8) -> usize {
    if precision < SET_PRECISION_MIN {
        return LIST_LEN - 1;
    }
    (3 << (precision - 3)) / 4
}

fn union(one: &[u32], other: &[u32]) -> Vec<u32> {
    let mut all = Vec::with_capacity(one.len() + other.len());
    all.extend_from_slice(one);
    all.extend_from_slice(other);
    all.sort_unstable();
    all.dedup();
    all
}

/// The least register, what each is above it in four bits, and those that are further above.
fn encode_registers(registers: &[u8], out: &mut Vec<u8>) {
    let least = registers.iter().copied().min().unwrap_or(0);
    out.extend_from_slice(&[DENSE, least]);
    let nibble = |value: u8| (value - least).min(FAR_ABOVE);
    for pair in registers.as_chunks::<2>().0 {
        out.push(nibble(pair[0]) | nibble(pair[1]) << 4);
    }
    for (slot, &value) in (0_u16..=u16::MAX).zip(registers) {
        if FAR_ABOVE <= value - least {
            out.extend_from_slice(&slot.to_le_bytes());
            out.push(value);
        }
    }
}

fn decode_registers(precision: u8, reader: &mut Reader<'_>) -> Result<Box<[u8]>, TileError> {
    let least = reader.u8()?;
    let pairs = reader.take(1 << (precision - 1))?;
    let mut registers = Vec::with_capacity(1 << precision);
    for pair in pairs {
        registers.push(least.saturating_add(pair & 0xf));
        registers.push(least.saturating_add(pair >> 4));
    }
    let mut after = 0;
    while !reader.rest().is_empty() {
        let slot = usize::from(reader.u16()?);
        let value = reader.u8()?;
        let is_far = registers.get(slot).is_some_and(|&near| near == least + FAR_ABOVE);
        if !is_far || slot < after || value < least + FAR_ABOVE {
            return Err(reader.wrong("a register far above the least", slot));
        }
        registers[slot] = value;
        after = slot + 1;
    }
    match registers.iter().find(|&&value| REGISTER_MAX < value) {
        None => Ok(registers.into()),
        Some(greater) => Err(reader.wrong("registers of at most 63", greater)),
    }
}

/// Below this many coupons the estimate is their number.
const SMALL_COUPON_COUNT: usize = 16;
/// A list of DataSketches becomes a set, or registers, when it has so many coupons.
pub(crate) const LIST_LEN: usize = 8;
/// The least precision at which DataSketches makes sets.
const SET_PRECISION_MIN: u8 = 8;
/// The greatest value of a register.
pub(crate) const REGISTER_MAX: u8 = 63;
/// What is this far above the least register or further stands apart.
const FAR_ABOVE: u8 = 15;

const SPARSE: u8 = 0;
const DENSE: u8 = 1;

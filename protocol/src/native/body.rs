//! Writes one frame into an output buffer. Knows nothing of what frames mean.

use bytes::{BufMut, BytesMut};

use super::frame::{FRAME_HEADER_BYTES, FrameKind};
use crate::error::ProtocolError;

/// The frame that is being written. A length that does not fit its field is remembered and makes
/// [`write_frame`] take the frame back.
pub(super) struct Body<'a> {
    out: &'a mut BytesMut,
    start: usize,
    too_long: Option<&'static str>,
}

/// Appends a frame whose payload `write` fills. On an error the buffer is as it was.
pub(super) fn write_frame(
    out: &mut BytesMut,
    kind: FrameKind,
    flags: u8,
    request_id: u64,
    write: impl FnOnce(&mut Body<'_>),
) -> Result<(), ProtocolError> {
    assert!(flags & !kind.flags_known() == 0, "a frame carries only the flags of its kind");
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind.number());
    out.put_u8(flags);
    out.put_u16_le(0);
    out.put_u64_le(request_id);
    let mut body = Body { out, start, too_long: None };
    write(&mut body);
    let too_long = body.too_long;
    let payload_bytes = out.len() - start - FRAME_HEADER_BYTES;
    match (u32::try_from(payload_bytes), too_long) {
        (Ok(length), None) => {
            out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        (_, place) => {
            out.truncate(start);
            let place = place.unwrap_or("frame");
            Err(ProtocolError::Malformed { place, problem: "too long for its length field" })
        }
    }
}

impl Body<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.out.put_u8(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.out.put_u16_le(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.out.put_u32_le(value);
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.out.put_u64_le(value);
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.out.put_i64_le(value);
    }

    pub(super) fn f64(&mut self, value: f64) {
        self.out.put_f64_le(value);
    }

    pub(super) fn i128(&mut self, value: i128) {
        self.out.put_i128_le(value);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// A length or count in sixteen bits.
    pub(super) fn length16(&mut self, place: &'static str, length: usize) {
        let value = u16::try_from(length).unwrap_or_else(|_| self.too_long(place));
        self.u16(value);
    }

    /// A length or count in thirty-two bits.
    pub(super) fn length32(&mut self, place: &'static str, length: usize) {
        let value = u32::try_from(length).unwrap_or_else(|_| self.too_long(place));
        self.u32(value);
    }

    fn too_long<T: Default>(&mut self, place: &'static str) -> T {
        self.too_long = Some(place);
        T::default()
    }

    /// Bytes of the frame so far.
    pub(super) fn frame_bytes(&self) -> usize {
        self.out.len() - self.start
    }

    /// Zeros up to the next multiple of eight within the frame.
    pub(super) fn pad(&mut self) {
        let padding = self.frame_bytes().next_multiple_of(8) - self.frame_bytes();
        self.out.put_slice(&[0; 7][..padding]);
    }

    /// A place for a length that is known later.
    pub(super) fn reserve32(&mut self) -> usize {
        self.u32(0);
        self.out.len()
    }

    /// Fills that place with the number of bytes written since.
    pub(super) fn fill32(&mut self, place: &'static str, reserved: usize) {
        let length = self.out.len() - reserved;
        let value: u32 = u32::try_from(length).unwrap_or_else(|_| self.too_long(place));
        self.out[reserved - 4..reserved].copy_from_slice(&value.to_le_bytes());
    }

    /// Integers side by side, in one pass.
    pub(super) fn i64s(&mut self, values: &[i64]) {
        self.words(values, |value| value.to_le_bytes());
    }

    /// Doubles side by side, in one pass.
    pub(super) fn f64s(&mut self, values: &[f64]) {
        self.words(values, |value| value.to_le_bytes());
    }

    fn words<T: Copy>(&mut self, values: &[T], to_bytes: impl Fn(T) -> [u8; 8]) {
        if let [value] = values {
            return self.out.put_slice(&to_bytes(*value));
        }
        let start = self.out.len();
        self.out.put_bytes(0, values.len() * 8);
        for (place, value) in self.out[start..].chunks_exact_mut(8).zip(values) {
            place.copy_from_slice(&to_bytes(*value));
        }
    }

    /// A bitmap, least significant bit first, padded.
    pub(super) fn bitmap(&mut self, mut bits: impl ExactSizeIterator<Item = bool>) {
        let mut rest = bits.len();
        while rest > 0 {
            // A word at a time: few bitmaps need more, and words that are whole need no padding.
            let count = rest.min(64);
            let set = |word, (at, bit)| word | u64::from(bit) << at;
            let word: u64 = bits.by_ref().take(count).enumerate().fold(0, set);
            self.out.put_slice(&word.to_le_bytes()[..count.div_ceil(8)]);
            rest -= count;
        }
        self.pad();
    }

    /// Items as the end of each in their joined bytes, padded, then those bytes.
    pub(super) fn items<'b>(
        &mut self,
        place: &'static str,
        items: impl Iterator<Item = &'b [u8]> + Clone,
    ) {
        let mut end: usize = 0;
        for item in items.clone() {
            end += item.len();
            self.length32(place, end);
        }
        self.pad();
        items.for_each(|item| self.bytes(item));
    }
}

impl Body<'_> {
    /// Places for so many words of four bytes, filled later by [`Body::fill_word32`].
    pub(super) fn reserve_words32(&mut self, count: usize) -> usize {
        let start = self.out.len();
        self.out.put_bytes(0, count * 4);
        start
    }

    pub(super) fn fill_word32(
        &mut self,
        place: &'static str,
        words: usize,
        index: usize,
        value: usize,
    ) {
        let value: u32 = u32::try_from(value).unwrap_or_else(|_| self.too_long(place));
        let start = words + index * 4;
        self.out[start..start + 4].copy_from_slice(&value.to_le_bytes());
    }
}

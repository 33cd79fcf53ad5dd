//! Owns keys: short ones lie where they are named, longer ones are shared. Knows nothing of what
//! they name.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

/// The key of a record.
#[derive(Clone)]
pub(crate) enum Key {
    /// So many bytes of these: looking at it loads no other memory.
    Inline(u8, [u8; INLINE_BYTES_MAX]),
    Shared(Arc<[u8]>),
}

/// What fits into the size of a shared key and a tag.
const INLINE_BYTES_MAX: usize = 22;

impl Key {
    /// Bytes of memory that the key takes beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Shared(bytes) => SHARED_BYTES + bytes.len(),
        }
    }
}

/// Counts of references in front of shared bytes, and what their allocation rounds up.
const SHARED_BYTES: usize = 24;

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES_MAX];
        match (u8::try_from(bytes.len()), inline.get_mut(..bytes.len())) {
            (Ok(len), Some(place)) => {
                place.copy_from_slice(bytes);
                Self::Inline(len, inline)
            }
            _ => Self::Shared(bytes.into()),
        }
    }
}

impl From<&Key> for Arc<[u8]> {
    fn from(key: &Key) -> Self {
        match key {
            Key::Inline(..) => Self::from(&**key),
            Key::Shared(bytes) => Self::clone(bytes),
        }
    }
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len)],
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_read_back_and_keep_their_order() {
        assert_eq!(size_of::<Key>(), 24);
        let texts: Vec<Vec<u8>> = (0..60).map(|len| vec![b'k'; len]).collect();
        let keys: Vec<Key> = texts.iter().map(|text| Key::from(&text[..])).collect();
        for (key, text) in keys.iter().zip(&texts) {
            assert_eq!((&**key, &*Arc::<[u8]>::from(key)), (&text[..], &text[..]));
            assert_eq!(key.heap_bytes() == 0, text.len() <= INLINE_BYTES_MAX);
        }
        assert!(keys.is_sorted() && Key::from(&b"l"[..]) > keys[59]);
    }
}

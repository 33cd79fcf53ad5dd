//! The arguments of one request: one shared body and the range of each argument in it. Knows
//! nothing of commands, nor of the encoding that the arguments came in.

use bytes::Bytes;
use smallvec::SmallVec;

/// Arguments without copies: each is a range of the bytes that were received. Reading one costs
/// nothing; keeping one beyond the request ([`Arguments::bytes`]) shares the whole body.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    body: Bytes,
    ranges: Ranges,
}

/// Start and end of each argument. Bodies stay below 4 GiB, see `Limits::frame_bytes_max`.
pub(crate) type Ranges = SmallVec<[(u32, u32); 12]>;

impl Arguments {
    /// Takes ranges that were checked against the body.
    pub(crate) fn new(body: Bytes, ranges: Ranges) -> Self {
        let end_max = ranges.iter().map(|(_, end)| *end).max().unwrap_or(0);
        assert!(position(end_max) <= body.len(), "argument ranges lie inside their body");
        Self { body, ranges }
    }

    /// Copies a list of arguments into one body: for tests, tools and commands built in process.
    /// `None` where they are 4 GiB or more together.
    pub fn from_list<T: AsRef<[u8]>>(list: &[T]) -> Option<Self> {
        let mut body = Vec::with_capacity(list.iter().map(|item| item.as_ref().len()).sum());
        let mut ranges = Ranges::with_capacity(list.len());
        for item in list {
            let start = u32::try_from(body.len()).ok()?;
            body.extend_from_slice(item.as_ref());
            ranges.push((start, u32::try_from(body.len()).ok()?));
        }
        Some(Self::new(Bytes::from(body), ranges))
    }

    /// How many arguments there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at an index.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (start, end) = self.ranges.get(index)?;
        Some(&self.body[position(*start)..position(*end)])
    }

    /// The argument at an index as bytes that share the body.
    pub fn bytes(&self, index: usize) -> Option<Bytes> {
        let (start, end) = self.ranges.get(index)?;
        Some(self.body.slice(position(*start)..position(*end)))
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.ranges.iter().map(|(start, end)| &self.body[position(*start)..position(*end)])
    }

    /// Bytes that the request occupies, for byte budgets.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }
}

impl PartialEq for Arguments {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Arguments {}

/// A u32 offset as an index: `usize` has 64 bits on every machine that we build for.
pub(crate) fn position(offset: u32) -> usize {
    const { assert!(usize::BITS >= 32, "u32 offsets index memory") };
    match usize::try_from(offset) {
        Ok(position) => position,
        Err(_) => unreachable!("usize holds every u32"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back() {
        let arguments = Arguments::from_list(&["HSET", "", "x y"]).unwrap();
        assert_eq!(arguments.len(), 3);
        assert_eq!(arguments.get(1), Some(&b""[..]));
        assert_eq!(arguments.bytes(2), Some(Bytes::from_static(b"x y")));
        assert_eq!(arguments.get(3), None);
        assert_eq!(arguments.iter().map(<[u8]>::len).sum::<usize>(), arguments.body_bytes());
    }
}

//! Conversions between addresses and file offsets, named once. Knows nothing of either.

/// A length or an address as a file offset.
pub(crate) fn u64_of(number: usize) -> u64 {
    let Ok(converted) = u64::try_from(number) else {
        unreachable!("an address has at most 64 bits")
    };
    converted
}

/// A number that is known to be a length of something in memory.
pub(crate) fn usize_of(number: impl TryInto<usize>) -> usize {
    let Ok(converted) = number.try_into() else { unreachable!("what is in memory has an address") };
    converted
}

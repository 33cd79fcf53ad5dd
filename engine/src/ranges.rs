//! Owns sorted lists of disjoint half-open ranges of time: what is hidden, cleared or incomplete.

/// A half-open range `[from, to)` of tile starts, in milliseconds.
pub(crate) type TimeRange = (i64, i64);

/// Adds `[from, to)` to `ranges`, which stay ascending, disjoint and not touching.
pub(crate) fn add_range(ranges: &mut Vec<TimeRange>, from: i64, to: i64) {
    if to <= from {
        return;
    }
    // Tiles come ascending, so that most ranges go to the end.
    match ranges.last_mut() {
        None => return ranges.push((from, to)),
        Some(last) if last.1 < from => return ranges.push((from, to)),
        Some(last) if last.1 == from => {
            last.1 = to;
            return;
        }
        Some(_) => {}
    }
    let first = ranges.partition_point(|range| range.1 < from);
    let last = ranges.partition_point(|range| range.0 <= to);
    let (mut from, mut to) = (from, to);
    if first < last {
        from = from.min(ranges[first].0);
        to = to.max(ranges[last - 1].1);
    }
    ranges.splice(first..last.max(first), [(from, to)]);
}

/// Takes `[from, to)` out of `ranges`, which stay ascending and disjoint.
pub(crate) fn remove_range(ranges: &mut Vec<TimeRange>, from: i64, to: i64) {
    let parts = |&(start, end): &TimeRange| [(start, end.min(from)), (start.max(to), end)];
    if from < to {
        *ranges = ranges.iter().flat_map(parts).filter(|(start, end)| start < end).collect();
    }
}

/// Whether one of `ranges` holds `instant`.
pub(crate) fn holds(ranges: &[TimeRange], instant: i64) -> bool {
    let next = ranges.partition_point(|range| range.1 <= instant);
    ranges.get(next).is_some_and(|range| range.0 <= instant)
}

/// Calls `visit` with the parts of `[from, to)` that no range of `hidden` covers, ascending.
pub(crate) fn for_each_visible(
    hidden: &[TimeRange],
    from: i64,
    to: i64,
    mut visit: impl FnMut(i64, i64),
) {
    let mut next = from;
    for &(hidden_from, hidden_to) in hidden {
        if to <= hidden_from {
            break;
        }
        if next < hidden_from {
            visit(next, hidden_from);
        }
        next = next.max(hidden_to);
    }
    if next < to {
        visit(next, to);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_the_union_of_what_was_added(
            added in proptest::collection::vec((0_i64..60, 0_i64..20), 0..20),
            window in (0_i64..80, 0_i64..80),
        ) {
            let mut ranges = Vec::new();
            for &(from, len) in &added {
                add_range(&mut ranges, from, from + len);
            }
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0);
            }
            let covered =
                |instant| added.iter().any(|&(from, len)| from <= instant && instant < from + len);
            for instant in -1..90 {
                prop_assert_eq!(holds(&ranges, instant), covered(instant));
            }
            let mut visible = Vec::new();
            for_each_visible(&ranges, window.0, window.1, |from, to| visible.extend(from..to));
            let expected: Vec<i64> =
                (window.0..window.1).filter(|&instant| !covered(instant)).collect();
            prop_assert_eq!(visible, expected);
        }
    }
}

//! Stored forms lose nothing, fold as the tiles themselves do, and never panic on garbage.

use super::algebra::check_all;
use super::rows::{Cell, Row, SPAN, any_rows, features, layout_of, state_of, tiles_of};
use crate::accumulator::{Accumulator, decode_accumulator, encode_accumulator};
use crate::block::{Block, TileRow, encode_block};
use crate::component::ComponentId;
use crate::layout::Layout;
use crate::sweep::{Piece, Sweep};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn encoded(
    layout: &Layout,
    tiles: &BTreeMap<i64, Accumulator>,
    bases: u64,
    clears: &[(i64, i64)],
) -> Vec<u8> {
    let rows: Vec<TileRow<'_>> = tiles
        .iter()
        .enumerate()
        .map(|(at, (&start, accumulator))| TileRow {
            start,
            base: bases >> (at % 64) & 1 == 1,
            accumulator,
        })
        .collect();
    let mut bytes = Vec::new();
    encode_block(layout, SPAN, clears, &rows, &mut bytes);
    bytes
}

/// Reads everything that a block offers.
fn read_all(block: &Block<'_>, layout: &Layout) {
    let mut into = layout.empty();
    block.fold(layout, 0..block.len(), &mut into);
    for feature in features() {
        let column = feature.column.map(|(column, _)| column);
        layout.finish(feature.function, column, &into);
        layout.print_partial(&feature, &into);
    }
    for at in 0..block.len() {
        block.accumulator(at);
        block.start(at);
        block.is_base(at);
    }
    for timestamp in [i64::MIN, -1, 0, 55, i64::MAX] {
        assert!(block.lower_bound(timestamp) <= block.len());
    }
    assert!(block.clears().count() < 65_536);
}

#[test]
fn the_ends_of_an_integer_are_values_like_others() {
    let layout = layout_of(&features());
    for end in [i64::MIN, i64::MAX] {
        let row = |at, cell| Row { timestamp: at * SPAN, cells: [cell, None, None] };
        let rows = [row(0, Some(Cell::I64(end))), row(1, None), row(2, Some(Cell::I64(end)))];
        let tiles = tiles_of(&layout, &rows);
        let bytes = encoded(&layout, &tiles, 0, &[]);
        let block = Block::parse(&bytes, &layout, SPAN).unwrap();
        for (at, row) in rows.iter().enumerate() {
            let mut into = layout.empty();
            block.fold(&layout, at..at + 1, &mut into);
            check_all(&layout, &into, std::slice::from_ref(row));
        }
    }
}

#[test]
fn tiles_far_apart_on_both_sides_of_the_epoch_are_found() {
    let layout = layout_of(&features());
    let far = (1 << 40) * SPAN;
    let starts = [-far, -3 * SPAN, 0, 7 * SPAN, far];
    let tiles: BTreeMap<i64, Accumulator> =
        starts.iter().map(|&start| (start, layout.empty())).collect();
    let bytes = encoded(&layout, &tiles, 0, &[]);
    let block = Block::parse(&bytes, &layout, SPAN).unwrap();
    for (at, start) in starts.into_iter().enumerate() {
        assert_eq!(block.start(at), start);
        assert_eq!(block.lower_bound(start), at, "tiles before {start}");
        assert_eq!(block.lower_bound(start + 1), at + 1, "tiles up to {start}");
    }
    assert_eq!((block.lower_bound(i64::MIN), block.lower_bound(i64::MAX)), (0, starts.len()));
}

/// Pieces from each cut up to where the piece before began, or to the end.
fn pieces_of(mut cuts: Vec<(prop::sample::Index, bool)>, tile_count: usize) -> Vec<Piece> {
    let position = |cut: &prop::sample::Index| cut.index(tile_count + 1);
    cuts.sort_by_key(|(cut, _)| std::cmp::Reverse(position(cut)));
    let mut end = tile_count;
    let mut pieces = Vec::new();
    for (state, (cut, continues)) in cuts.into_iter().enumerate() {
        let tiles = position(&cut)..if continues { end } else { tile_count };
        end = tiles.start;
        pieces.push(Piece { tiles, state, continues });
    }
    pieces
}

proptest! {
    #[test]
    fn a_block_gives_back_its_tiles(
        rows in any_rows(),
        bases in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        clears in proptest::collection::vec(any::<(i64, i64)>(), 0..3),
    ) {
        let layout = layout_of(&features());
        let tiles = tiles_of(&layout, &rows);
        let bytes = encoded(&layout, &tiles, bases, &clears);
        let block = Block::parse(&bytes, &layout, SPAN).unwrap();
        prop_assert_eq!(block.len(), tiles.len());
        prop_assert_eq!(block.is_empty(), tiles.is_empty());
        prop_assert_eq!(block.clears().collect::<Vec<_>>(), clears);
        let mut has_base = false;
        for (at, (&start, accumulator)) in tiles.iter().enumerate() {
            prop_assert_eq!(block.start(at), start);
            prop_assert_eq!(block.is_base(at), bases >> (at % 64) & 1 == 1);
            has_base |= block.is_base(at);
            prop_assert_eq!(&block.accumulator(at), accumulator);
        }
        prop_assert_eq!(block.has_base(), has_base);
        for timestamp in -120..120 {
            let expected = tiles.keys().filter(|&&start| start < timestamp).count();
            prop_assert_eq!(block.lower_bound(timestamp), expected);
        }
        for timestamp in [i64::MIN, i64::MIN + 1, -(1 << 53), 1 << 53, i64::MAX] {
            let expected = tiles.keys().filter(|&&start| start < timestamp).count();
            prop_assert_eq!(block.lower_bound(timestamp), expected);
        }
    }

    #[test]
    fn a_sweep_folds_each_piece_as_if_alone(
        rows in any_rows(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..6),
    ) {
        let layout = layout_of(&features());
        let tiles = tiles_of(&layout, &rows);
        let bytes = encoded(&layout, &tiles, 0, &[]);
        let block = Block::parse(&bytes, &layout, SPAN).unwrap();
        let pieces = pieces_of(cuts, tiles.len());
        let mut sweep = Sweep::default();
        let plain: Vec<ComponentId> = layout
            .components()
            .iter()
            .filter(|(id, _)| layout.project(&[*id]).is_chainable())
            .map(|(id, _)| *id)
            .collect();
        let plain = layout.project(&plain);
        // Two pieces to a state, which holds something before.
        for layout in [&layout, &plain] {
            let mut whole = layout.empty();
            block.fold(layout, 0..block.len(), &mut whole);
            let mut expected = vec![whole; pieces.len()];
            let mut merged = expected.clone();
            let halved = |piece: &Piece| Piece { state: piece.state / 2, ..piece.clone() };
            let pieces: Vec<Piece> = pieces.iter().map(halved).collect();
            for piece in &pieces {
                block.fold(layout, piece.tiles.clone(), &mut expected[piece.state]);
            }
            sweep.merge(&block, layout, &pieces, &mut merged);
            prop_assert_eq!(merged, expected);
        }
        let mut chained = vec![plain.empty(); pieces.len()];
        for state in &mut chained {
            block.fold(&plain, 0..block.len(), state);
        }
        let mut expected: Vec<Accumulator> = Vec::new();
        for piece in &pieces {
            let before = expected.last().filter(|_| piece.continues).cloned();
            let mut state = before.unwrap_or_else(|| plain.empty());
            block.fold(&plain, piece.tiles.clone(), &mut state);
            expected.push(state);
        }
        sweep.chain(&block, &plain, &pieces, &mut chained);
        prop_assert_eq!(chained, expected);
    }

    #[test]
    fn folding_a_block_is_merging_its_tiles(
        rows in any_rows(),
        kept in any::<u64>(),
        range in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let layout = layout_of(&features());
        let tiles = tiles_of(&layout, &rows);
        let bytes = encoded(&layout, &tiles, 0, &[]);
        let block = Block::parse(&bytes, &layout, SPAN).unwrap();
        let (from, to) = (range.0.index(tiles.len() + 1), range.1.index(tiles.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        let chosen: Vec<i64> = tiles.keys().copied().skip(from).take(to - from).collect();
        let chosen_rows: Vec<_> = rows
            .iter()
            .filter(|row| chosen.contains(&crate::floor_to(row.timestamp, SPAN)))
            .cloned()
            .collect();
        let mut into = layout.empty();
        block.fold(&layout, from..to, &mut into);
        check_all(&layout, &into, &chosen_rows);
        // A projection folds to the same words as the whole layout.
        let needed: Vec<ComponentId> = layout
            .components()
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| kept >> (id.number() / 2) & 1 == 1)
            .collect();
        let projection = layout.project(&needed);
        let mut projected = projection.empty();
        block.fold(&projection, from..to, &mut projected);
        let mut expected = projection.empty();
        projection.merge_mapped(&mut expected, &layout, &into);
        prop_assert_eq!(projected, expected);
    }

    #[test]
    fn windows_fold_piece_by_piece(rows in any_rows(), at in any::<prop::sample::Index>()) {
        let layout = layout_of(&features());
        let tiles = tiles_of(&layout, &rows);
        let bytes = encoded(&layout, &tiles, 0, &[]);
        let block = Block::parse(&bytes, &layout, SPAN).unwrap();
        let middle = at.index(tiles.len() + 1);
        let mut into = layout.empty();
        block.fold(&layout, middle..tiles.len(), &mut into);
        block.fold(&layout, 0..middle, &mut into);
        check_all(&layout, &into, &rows);
    }

    #[test]
    fn a_block_of_an_older_layout_is_a_prefix(rows in any_rows(), older in 1_usize..24) {
        let all = features();
        let layout = layout_of(&all);
        let older = layout_of(&all[..older.min(all.len())]);
        let tiles = tiles_of(&older, &rows);
        let bytes = encoded(&older, &tiles, 0, &[]);
        let block = Block::parse(&bytes, &layout, SPAN).unwrap();
        let mut into = layout.empty();
        block.fold(&layout, 0..block.len(), &mut into);
        let mut expected = layout.empty();
        layout.merge_mapped(&mut expected, &older, &state_of(&older, &[]));
        let mut from_older = older.empty();
        Block::parse(&bytes, &older, SPAN).unwrap().fold(&older, 0..tiles.len(), &mut from_older);
        layout.merge_mapped(&mut expected, &older, &from_older);
        prop_assert_eq!(into, expected);
        for (at, tile) in tiles.values().enumerate() {
            let mut expected = layout.empty();
            layout.merge_mapped(&mut expected, &older, tile);
            prop_assert_eq!(block.accumulator(at), expected);
        }
    }

    #[test]
    fn a_stored_state_reads_back_under_its_layout_and_newer_ones(
        rows in any_rows(),
        older in 1_usize..24,
        tail in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let all = features();
        let layout = layout_of(&all);
        let older = layout_of(&all[..older.min(all.len())]);
        let state = state_of(&older, &rows);
        let mut bytes = Vec::new();
        encode_accumulator(&older, &state, &mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(decode_accumulator(&older, &bytes).unwrap(), (state.clone(), length));
        let mut expected = layout.empty();
        layout.merge_mapped(&mut expected, &older, &state);
        prop_assert_eq!(decode_accumulator(&layout, &bytes).unwrap(), (expected, length));
        for cut in 0..length {
            prop_assert!(decode_accumulator(&older, &bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(
        rows in any_rows(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let layout = layout_of(&features());
        let tiles = tiles_of(&layout, &rows);
        let mut bytes = encoded(&layout, &tiles, 0b1010, &[(0, 10)]);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(block) = Block::parse(&bytes, &layout, SPAN) {
            read_all(&block, &layout);
        }
        let mut state = Vec::new();
        encode_accumulator(&layout, &state_of(&layout, &rows), &mut state);
        let at = at % state.len();
        state[at] ^= flip;
        if let Ok((_, length)) = decode_accumulator(&layout, &state) {
            prop_assert!(length <= state.len());
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let layout = layout_of(&features());
        if let Ok(block) = Block::parse(&bytes, &layout, SPAN) {
            read_all(&block, &layout);
        }
        if let Ok((_, length)) = decode_accumulator(&layout, &bytes) {
            prop_assert!(length <= bytes.len());
        }
    }

    #[test]
    fn plausible_garbage_never_panics(
        tile_count in 0_u8..9,
        descriptors in proptest::collection::vec(0_u8..37, 0..6),
        rest in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        // Few components, whose descriptors are mostly valid, so that many such blocks parse.
        let layout = layout_of(&features()[..3]);
        let mut bytes = vec![tile_count, 0, 3, 0, 0, 8];
        bytes.extend_from_slice(&descriptors);
        bytes.extend_from_slice(&rest);
        for length in 0..=bytes.len() {
            if let Ok(block) = Block::parse(&bytes[..length], &layout, SPAN) {
                let mut into = layout.empty();
                block.fold(&layout, 0..block.len(), &mut into);
                (0..block.len()).for_each(|at| drop(block.accumulator(at)));
            }
        }
    }

    #[test]
    fn a_cut_block_is_refused(rows in any_rows()) {
        let layout = layout_of(&features());
        let bytes = encoded(&layout, &tiles_of(&layout, &rows), 2, &[(0, 10)]);
        for cut in 0..bytes.len() {
            prop_assert!(Block::parse(&bytes[..cut], &layout, SPAN).is_err());
        }
        let mut longer = bytes;
        longer.push(0);
        prop_assert!(Block::parse(&longer, &layout, SPAN).is_err());
    }
}

//! The worked example of docs/format/block.md: the bytes that every later program must read, and
//! write again.

use crate::accumulator::Accumulator;
use crate::block::{Block, TileRow, encode_block};
use crate::component::{Component, ComponentId, ComponentKind};
use crate::expression::Function;
use crate::layout::Layout;
use crate::scalar::{ColumnType, Scalar};
use crate::value::Value;

const DAY: i64 = 86_400_000;
const CLEARS: [(i64, i64); 1] = [(0, DAY)];

fn layout() -> Layout {
    let kinds = [
        (0, ComponentKind::Count),
        (0, ComponentKind::SumF64),
        (0, ComponentKind::Max(ColumnType::F64)),
        (1, ComponentKind::Last(ColumnType::Str)),
    ];
    let component =
        |(id, (column, kind))| (ComponentId::new(id), Component { column: Some(column), kind });
    Layout::new((0..).zip(kinds).map(component).collect())
}

/// The tiles of the example: start, whether it is a base, state.
fn tiles(layout: &Layout) -> Vec<(i64, bool, Accumulator)> {
    let day = |day: i64, is_base: bool| (day * DAY, is_base, layout.empty());
    let mut tiles = vec![day(19_675, false), day(19_676, true), day(19_678, false)];
    let double = |value| [Some(Scalar::F64(value)), None];
    layout.add_row(&mut tiles[0].2, 19_675 * DAY, &double(0.5));
    layout.add_row(&mut tiles[0].2, 19_675 * DAY, &double(1.5));
    layout.add_row(&mut tiles[1].2, 19_676 * DAY + 7, &[None, Some(Scalar::Str(b"b"))]);
    layout.add_row(&mut tiles[2].2, 19_678 * DAY, &double(12.25));
    layout.add_row(&mut tiles[2].2, 19_678 * DAY, &[None, Some(Scalar::Str(b""))]);
    tiles
}

fn encoded(layout: &Layout, tiles: &[(i64, bool, Accumulator)]) -> Vec<u8> {
    let rows: Vec<_> = tiles
        .iter()
        .map(|(start, base, accumulator)| TileRow { start: *start, base: *base, accumulator })
        .collect();
    let mut bytes = Vec::new();
    encode_block(layout, DAY, &CLEARS, &rows, &mut bytes);
    bytes
}

/// The bytes of the document's example.
fn documented() -> Vec<u8> {
    let document = include_str!("../../docs/format/block.md");
    let example = document.split("## Example").nth(1).unwrap().split("```").nth(1).unwrap();
    let hex = |line: &str| {
        let words = line.split("   ").next().unwrap().split_whitespace();
        words.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect::<Vec<u8>>()
    };
    example.lines().flat_map(hex).collect()
}

#[test]
fn the_documented_block_is_what_is_written_and_read() {
    let layout = layout();
    let tiles = tiles(&layout);
    let bytes = encoded(&layout, &tiles);
    assert_eq!(
        documented(),
        bytes,
        "written: {}",
        bytes.iter().map(|byte| format!("{byte:02X} ")).collect::<String>()
    );
    let block = Block::parse(&bytes, &layout, DAY).unwrap();
    assert_eq!(block.clears().collect::<Vec<_>>(), CLEARS);
    let read: Vec<_> = (0..block.len())
        .map(|at| (block.start(at), block.is_base(at), block.accumulator(at)))
        .collect();
    assert_eq!(read, tiles);
    let mut whole = layout.empty();
    block.fold(&layout, 0..3, &mut whole);
    let sum = layout.finish(Function::Sum, Some(0), &whole);
    let last = layout.finish(Function::Last, Some(1), &whole);
    assert_eq!((sum, last), (Value::Double(14.25), Value::Text("".into())));
}

#[test]
fn any_flipped_bit_is_refused_or_gives_as_many_tiles() {
    let layout = layout();
    let bytes = documented();
    let mut refused = 0;
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match Block::parse(&damaged, &layout, DAY) {
            Ok(block) => {
                assert_eq!(block.len(), 3, "bit {bit} changes the number of tiles unnoticed");
                (0..3).for_each(|at| drop(block.accumulator(at)));
                block.fold(&layout, 0..3, &mut layout.empty());
            }
            Err(error) => {
                assert!(error.to_string().contains("tile block, byte"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(100 < refused, "{refused} of {} bits are structure", bytes.len() * 8);
}

#[test]
fn reserved_bits_are_checked() {
    let layout = layout();
    let bytes = documented();
    // Flags, starts, descriptors, base bits after the third tile, scales, holes after it.
    for (at, mask, expected) in [
        (4, 0x10, "flags"),
        (4, 0x01, "flags"),
        (5, 0x40, "starts"),
        (6, 0x40, "descriptor"),
        (7, 0x07, "descriptor"),
        (31, 0x08, "zero bits"),
        (40, 0x40, "scale"),
        (45, 0x08, "zero bits"),
    ] {
        let mut damaged = bytes.clone();
        damaged[at] |= mask;
        let error = Block::parse(&damaged, &layout, DAY).unwrap_err().to_string();
        assert!(error.contains(expected), "byte {at}: {error}");
    }
}

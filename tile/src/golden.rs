//! The worked examples of docs/format/block.md and docs/format/state.md: the bytes that every later
//! program must read, and write again.

use crate::accumulator::Accumulator;
use crate::block::{Block, TileRow, encode_block};
use crate::component::{Component, ComponentId, ComponentKind};
use crate::expression::Function;
use crate::layout::Layout;
use crate::quantile::Quantile;
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
    example.lines().flat_map(hex_of).collect()
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

/// A component with a side, its function, and values with their times.
type Sided = (ComponentKind, Function, Vec<(i64, Scalar<'static>)>);

/// The sides of the example in docs/format/state.md: component, values, and what they amount to.
fn sides() -> Vec<Sided> {
    let (numbers, texts) = (ColumnType::F64, ColumnType::Str);
    let doubles = [(1_700_006_400_010, Scalar::F64(1.25)), (1_700_006_400_007, Scalar::F64(0.5))];
    let words = [(1, Scalar::Str(b"b")), (2, Scalar::Str(b"a")), (3, Scalar::Str(b"b"))];
    let integers = [3, 1, 2].map(|value| (value, Scalar::I64(value)));
    let median = Quantile::parse(b"0.5").unwrap();
    vec![
        (ComponentKind::LastN(numbers, 3), Function::LastN(3), doubles.to_vec()),
        (ComponentKind::Distinct(12), Function::ApproxCountDistinct(12), words.to_vec()),
        (
            ComponentKind::Quantiles(ColumnType::I64, 8),
            Function::ApproxPercentile(median, 8),
            integers.to_vec(),
        ),
        (ComponentKind::Top(texts, 1), Function::TopN(1), words.to_vec()),
    ]
}

#[test]
fn the_documented_sides_are_what_is_written_and_read() {
    let document = include_str!("../../docs/format/state.md");
    let example = document.split("## Example").nth(1).unwrap().split("```").nth(1).unwrap();
    let expected: Vec<u8> = example.lines().flat_map(hex_of).collect();
    let mut written = Vec::new();
    for (kind, function, values) in sides() {
        let component = Component { column: Some(0), kind };
        let layout = Layout::new(vec![(ComponentId::new(0), component)]);
        let mut state = layout.empty();
        for (timestamp, value) in values {
            layout.add_row(&mut state, timestamp, &[Some(value)]);
        }
        let mut bytes = Vec::new();
        crate::encode_accumulator(&layout, &state, &mut bytes);
        let (read, length) = crate::decode_accumulator(&layout, &bytes).unwrap();
        assert_eq!((&read, length), (&state, bytes.len()), "{function:?}");
        // What is before the side: the number of components, and the length.
        written.extend_from_slice(&bytes[6..]);
        for at in 6..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x80;
            if let Ok((read, _)) = crate::decode_accumulator(&layout, &damaged) {
                layout.finish(function, Some(0), &read);
            }
        }
    }
    let shown: String = written.iter().map(|byte| format!("{byte:02X} ")).collect();
    assert_eq!(expected, written, "written: {shown}");
}

/// The bytes at the head of a line, before three blanks.
fn hex_of(line: &str) -> Vec<u8> {
    let words = line.split("   ").next().unwrap().split_whitespace();
    words.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

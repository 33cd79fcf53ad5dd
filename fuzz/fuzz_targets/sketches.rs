//! Partials of lists and sketches, and stored states of them: the first byte of the input says
//! which feature the rest is for, and in which form it comes.
#![no_main]

use base64::Engine as _;
use libfuzzer_sys::fuzz_target;
use tilekv_tile::{
    Accumulator, Block, ColumnType, Component, ComponentId, Expression, FeatureBinding, Identifier,
    Layout, accumulator_from_partials, components_of, decode_accumulator, encode_accumulator,
};

const EXPRESSIONS: [&str; 9] = [
    "first_n(c,3)",
    "last_n(c,1024)",
    "first_distinct_n(c,2)",
    "last_distinct_n(c,2)",
    "approx_count_distinct(c,4)",
    "approx_count_distinct(c)",
    "approx_percentile(c,0.5,8)",
    "approx_percentile(c,0.99)",
    "top_n(c,1)",
];
const KINDS: [ColumnType; 3] = [ColumnType::I64, ColumnType::F64, ColumnType::Str];
const TILE_MS: i64 = 1_000;

/// A view of one feature: the expression and the type of its column by number.
fn view(choice: u8) -> Option<(FeatureBinding, Layout)> {
    let choice = usize::from(choice);
    let expression = Expression::parse(EXPRESSIONS[choice % 9].as_bytes()).ok()?;
    let column = Some((0, KINDS[choice / 9 % 3]));
    let components = components_of(expression.function, column).ok()?;
    let name = Identifier::parse(b"f").ok()?;
    let feature = FeatureBinding { function: expression.function, column, name };
    let numbered = |(id, component): (u16, Component)| (ComponentId::new(id), component);
    Some((feature, Layout::new((0..).zip(components).map(numbered).collect())))
}

/// Does with a state all that a store does.
fn use_state(feature: &FeatureBinding, layout: &Layout, state: &Accumulator) {
    let mut merged = state.clone();
    layout.merge(&mut merged, state);
    for state in [state, &merged] {
        layout.finish(feature.function, Some(0), state);
        let printed = layout.print_partial(feature, state);
        let features = std::slice::from_ref(feature);
        let given = [(0, printed.as_bytes())];
        let times = (i64::MIN, i64::MAX);
        let read = accumulator_from_partials(layout, features, &given, times);
        read.unwrap_or_else(|error| panic!("{printed} was printed: {error}"));
        let mut bytes = Vec::new();
        encode_accumulator(layout, state, &mut bytes);
        let (read, length) = decode_accumulator(layout, &bytes)
            .unwrap_or_else(|error| panic!("a state reads back: {error}"));
        assert_eq!((&read, length), (state, bytes.len()));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let Some((feature, layout)) = view(first) else { return };
    let features = std::slice::from_ref(&feature);
    let image = base64::engine::general_purpose::STANDARD.encode(rest);
    let partials = [rest.to_vec(), format!("{{\"b64\":\"{image}\"}}").into_bytes()];
    for partial in partials {
        let given = [(0, &partial[..])];
        if let Ok(state) = accumulator_from_partials(&layout, features, &given, (0, TILE_MS)) {
            use_state(&feature, &layout, &state);
        }
    }
    if let Ok((state, _)) = decode_accumulator(&layout, rest) {
        layout.finish(feature.function, Some(0), &state);
    }
    if let Ok(block) = Block::parse(rest, &layout, TILE_MS) {
        block.fold(&layout, 0..block.len(), &mut layout.empty());
    }
});

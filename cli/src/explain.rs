//! `tilekv explain`: how a window came to its value, with its tiles as a timeline. Knows nothing
//! of how a timeline is drawn.

use tilekv_client::{Explanation, Selector};

use crate::arguments::{Explain, Server};
use crate::clock_time::show;
use crate::failure::CliError;
use crate::get::{at_of, edge_of};
use crate::render::{self, entity_bytes};
use crate::session::connect;
use crate::terminal::{drawing_columns, say};
use crate::timeline::{Lane, Mark, Timeline};
use crate::views::name;

pub(crate) fn run(server: &Server, explain: Explain) -> Result<(), CliError> {
    let selector = Selector::parse(explain.selector.as_bytes())?;
    let (view, entity) = (name(&explain.view)?, entity_bytes(&explain.entity));
    let (at, edge) = (at_of(&explain.moment)?, edge_of(&explain.moment));
    let client = connect(server, 0)?;
    let explanation = client.explain(&view, &entity, &selector, at, edge)?;
    let subject = format!("{} of {} in {view}", explanation.selector, render::entity(&entity));
    say(text(&subject, &explanation, drawing_columns()))
}

fn text(subject: &str, explanation: &Explanation, columns: usize) -> String {
    let mut lines = facts(subject, explanation);
    lines.push(String::new());
    lines.extend(timeline(explanation, columns));
    lines.join("\n")
}

fn facts(subject: &str, explanation: &Explanation) -> Vec<String> {
    let fact = |name: &str, value: String| format!("{name:<13}{value}");
    let start = explanation.window_start.map_or_else(|| "the beginning".to_owned(), show);
    let mut lines = vec![
        subject.to_owned(),
        fact("value", render::value(&explanation.value)),
        fact("status", explanation.status.to_string()),
        fact("window", format!("{start} to {} UTC", show(explanation.window_end))),
        fact("edge", explanation.edge.clone()),
        fact("complete to", show(explanation.complete_to)),
    ];
    if let Some(horizon) = explanation.horizon {
        lines.push(fact("horizon", show(horizon)));
    }
    let hidden = explanation.tiles.iter().filter(|tile| tile.is_hidden).count();
    let hidden = if hidden == 0 { String::new() } else { format!(", {hidden} hidden") };
    lines.push(fact("tiles read", format!("{}{hidden}", explanation.tiles_read)));
    for (from, to) in &explanation.holes {
        lines.push(fact("incomplete", format!("{} to {} UTC", show(*from), show(*to))));
    }
    lines
}

/// A lane for each size of tile, one for tiles that are hidden, one for seals and one for holes.
fn timeline(explanation: &Explanation, columns: usize) -> Vec<String> {
    let tile_starts = explanation.tiles.iter().map(|tile| tile.start);
    let end = explanation.window_end;
    let oldest = tile_starts.min().unwrap_or(end - explanation.tile_ms);
    let start = explanation.window_start.unwrap_or(oldest);
    if end <= start {
        return vec!["the window holds no time".to_owned()];
    }
    let mut sizes: Vec<i64> = explanation.tiles.iter().map(|tile| tile.span_ms).collect();
    sizes.push(explanation.tile_ms);
    sizes.sort_unstable();
    sizes.dedup();
    let mut drawing = Timeline::new(start, end, columns);
    for size in sizes {
        let tiles = explanation.tiles.iter().filter(|tile| tile.span_ms == size);
        let shown = tiles.filter(|tile| !tile.is_hidden);
        let ranges = shown.map(|tile| (tile.start, tile.start + tile.span_ms));
        drawing.lane(Lane { name: span_name(size), mark: Mark::Share, ranges: ranges.collect() });
    }
    let hidden = explanation.tiles.iter().filter(|tile| tile.is_hidden);
    let hidden: Vec<_> = hidden.map(|tile| (tile.start, tile.start + tile.span_ms)).collect();
    if !hidden.is_empty() {
        drawing.lane(Lane { name: "hidden".to_owned(), mark: Mark::Touched('~'), ranges: hidden });
    }
    if !explanation.seals.is_empty() {
        let ranges = explanation.seals.clone();
        drawing.lane(Lane { name: "sealed".to_owned(), mark: Mark::Touched('='), ranges });
    }
    if !explanation.holes.is_empty() {
        let ranges = explanation.holes.clone();
        drawing.lane(Lane { name: "incomplete".to_owned(), mark: Mark::Touched('x'), ranges });
    }
    drawing.render()
}

fn span_name(millis: i64) -> String {
    match tilekv_client::Span::from_millis(millis) {
        Ok(span) => format!("{span} tiles"),
        Err(_) => "tiles".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilekv_client::{ExplainedTile, Status, Value};

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_window_is_told_and_drawn() {
        let tile = |hour: i64, is_hidden| ExplainedTile {
            start: hour * HOUR,
            span_ms: HOUR,
            source: "overlay".to_owned(),
            is_base: false,
            is_hidden,
        };
        let explanation = Explanation {
            selector: "likes@4h".to_owned(),
            edge: "closed".to_owned(),
            tile_ms: HOUR,
            floor: 4 * HOUR,
            complete_to: 3 * HOUR,
            window_start: Some(0),
            window_end: 4 * HOUR,
            closed_end: 4 * HOUR,
            horizon: None,
            tiles_read: 1,
            tiles: vec![tile(0, false), tile(2, true)],
            seals: vec![(0, 3 * HOUR)],
            holes: vec![(3 * HOUR, 4 * HOUR)],
            status: Status::Incomplete,
            value: Value::Int(7),
        };
        let shown = text("likes@4h of u:1 in shop", &explanation, 53);
        let expected = "\
likes@4h of u:1 in shop
value        7
status       incomplete
window       1970-01-01 00:00 to 1970-01-01 04:00 UTC
edge         closed
complete to  1970-01-01 03:00
tiles read   1, 1 hidden
incomplete   1970-01-01 03:00 to 1970-01-01 04:00 UTC

1h tiles    |██████████······························|
hidden      |····················~~~~~~~~~~··········|
sealed      |==============================··········|
incomplete  |······························xxxxxxxxxx|
             1970-01-01 00:00        1970-01-01 04:00";
        assert_eq!(shown, expected, "\n{shown}");
    }
}

//! `tilekv explain`: how a window came to its value, with its tiles as a timeline. Knows nothing
//! of how a timeline is drawn.

use tilekv_client::{Explanation, SealsCounted, Selector};

use crate::arguments::{Explain, Server};
use crate::clock_time::show;
use crate::failure::CliError;
use crate::get::{at_of, edge_of};
use crate::render::{self, entity_bytes};
use crate::session::connect;
use crate::table::{Align, Table};
use crate::terminal::{drawing_columns, say};
use crate::timeline::{Lane, Mark, Timeline};
use crate::views::name;

pub(crate) fn run(server: &Server, explain: Explain) -> Result<(), CliError> {
    let selector = Selector::parse(explain.selector.as_bytes())?;
    let (view, entity) = (name(&explain.view)?, entity_bytes(&explain.entity));
    let (at, edge) = (at_of(&explain.moment)?, edge_of(&explain.moment));
    let client = connect(server, 0)?;
    let seals = if explain.known { SealsCounted::KnownThen } else { SealsCounted::Current };
    let explanation = client.explain(&view, &entity, &selector, (at, seals), edge)?;
    let subject = format!("{} of {} in {view}", explanation.selector, render::entity(&entity));
    say(text(&subject, &explanation, drawing_columns()))?;
    if explain.tiles { say(tile_table(&explanation)) } else { Ok(()) }
}

/// Every stored tile that the window meets.
fn tile_table(explanation: &Explanation) -> String {
    let headings = ["tile (UTC)", "size", "found in", "hides older", "used"];
    let mut table = Table::new(&headings.map(|heading| (heading, Align::Left)));
    let word = |is_so: bool| if is_so { "yes" } else { "no" }.to_owned();
    for tile in &explanation.tiles {
        table.row(vec![
            show(tile.start),
            size_name(tile.span_ms),
            tile.source.clone(),
            word(tile.is_base),
            word(!tile.is_hidden),
        ]);
    }
    format!("\n{}", table.render())
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

/// A lane for the window, one for each size of tile, and where there are such, for tiles that are
/// hidden, for seals, for holes, and for the time up to the question that no seal covers.
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
    let is_behind = explanation.complete_to < explanation.floor;
    let drawn_end = if is_behind { end.max(explanation.floor) } else { end };
    let mut drawing = Timeline::new(start, drawn_end, columns);
    let lane = |name: &str, mark: char, ranges: Vec<(i64, i64)>| Lane {
        name: name.to_owned(),
        mark: Mark::Touched(mark),
        ranges,
    };
    drawing.lane(lane("window", '─', vec![(start, end)]));
    for size in sizes {
        let tiles = explanation.tiles.iter().filter(|tile| tile.span_ms == size);
        let shown = tiles.filter(|tile| !tile.is_hidden);
        let ranges = shown.map(|tile| (tile.start, tile.start + tile.span_ms));
        drawing.lane(Lane { name: span_name(size), mark: Mark::Share, ranges: ranges.collect() });
    }
    let hidden = explanation.tiles.iter().filter(|tile| tile.is_hidden);
    let hidden: Vec<_> = hidden.map(|tile| (tile.start, tile.start + tile.span_ms)).collect();
    if !hidden.is_empty() {
        drawing.lane(lane("hidden", '~', hidden));
    }
    if !explanation.seals.is_empty() {
        drawing.lane(lane("sealed", '=', explanation.seals.clone()));
    }
    if !explanation.holes.is_empty() {
        drawing.lane(lane("incomplete", 'x', explanation.holes.clone()));
    }
    if is_behind {
        let behind = vec![(explanation.complete_to, explanation.floor)];
        drawing.lane(lane("unsealed", '?', behind));
    }
    drawing.render()
}

fn span_name(millis: i64) -> String {
    format!("{} tiles", size_name(millis))
}

fn size_name(millis: i64) -> String {
    let span = tilekv_client::Span::from_millis(millis);
    span.map_or_else(|_| format!("{millis}ms"), |span| span.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilekv_client::{ExplainedTile, Status, Value};

    const HOUR: i64 = 3_600_000;

    fn explanation() -> Explanation {
        let tile = |hour: i64, is_hidden| ExplainedTile {
            start: hour * HOUR,
            span_ms: HOUR,
            source: "overlay".to_owned(),
            is_base: false,
            is_hidden,
        };
        Explanation {
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
        }
    }

    #[test]
    fn a_window_is_told_and_drawn() {
        let explanation = explanation();
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

window      |────────────────────────────────────────|
1h tiles    |██████████······························|
hidden      |····················~~~~~~~~~~··········|
sealed      |==============================··········|
incomplete  |······························xxxxxxxxxx|
unsealed    |······························??????????|
             1970-01-01 00:00        1970-01-01 04:00";
        assert_eq!(shown, expected, "\n{shown}");
    }

    #[test]
    fn a_window_that_waits_for_a_seal_is_drawn_up_to_the_question() {
        let mut waiting = explanation();
        (waiting.window_end, waiting.window_start) = (3 * HOUR, Some(-HOUR));
        (waiting.floor, waiting.holes) = (5 * HOUR, Vec::new());
        waiting.tiles.truncate(1);
        let drawn = timeline(&waiting, 71);
        let expected = [
            "window    |────────────────────────────────────────····················|",
            "1h tiles  |··········██████████········································|",
            "sealed    |··········==============================····················|",
            "unsealed  |········································????????????????????|",
        ];
        assert_eq!(drawn[..4], expected, "\n{}", drawn.join("\n"));
    }

    #[test]
    fn every_tile_is_listed_with_its_level_and_origin() {
        let mut listed = explanation();
        listed.tiles[1].span_ms = 24 * HOUR;
        listed.tiles[1].source = "segment 3".to_owned();
        let expected = "
tile (UTC)        size  found in   hides older  used
----------------  ----  ---------  -----------  ----
1970-01-01 00:00  1h    overlay    no           yes
1970-01-01 02:00  1d    segment 3  no           no";
        assert_eq!(tile_table(&listed), expected, "\n{}", tile_table(&listed));
    }
}

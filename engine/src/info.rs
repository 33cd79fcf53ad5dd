//! Owns the figures of views and stores: what VIEW.INFO and metrics report.

use tilekv_tile::{SealMode, ViewDefinition, floor_to};

use crate::catalog::View;
use crate::codec::bytes_u64;
use crate::error::EngineError;
use crate::scan::{Scan, Scanned};
use crate::version::Version;

/// Figures of one view.
#[derive(Debug, Clone)]
pub struct ViewInfo {
    /// The definition as created and altered.
    pub definition: ViewDefinition,
    /// Entities that have a readable tile.
    pub entities: u64,
    /// Readable tiles.
    pub tiles: u64,
    /// About how many bytes the view takes in overlays and segments.
    pub bytes: u64,
    /// What is sealed: (from, to, made at), in milliseconds.
    pub seals: Vec<(i64, i64, i64)>,
    /// The greatest timestamp written, in milliseconds.
    pub newest_event: Option<i64>,
    /// How far the newest sealed range lies behind the clock, in milliseconds.
    pub seal_lag: Option<i64>,
    /// Rows acknowledged and not applied because their range was sealed.
    pub late_dropped: u64,
    /// Rows skipped because they lay before the retention horizon.
    pub too_old: u64,
    /// The job that was committed last, in the 7 days that jobs are remembered.
    pub last_job: Option<LastJob>,
}

/// What the job that a view's driver committed last has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastJob {
    /// Rows and tiles that it took.
    pub rows: u64,
    /// When it was committed, in milliseconds.
    pub committed_at: i64,
}

/// Figures of a view that cost no scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFreshness {
    /// The view's name.
    pub name: String,
    /// The greatest timestamp written, in milliseconds.
    pub newest_event: Option<i64>,
    /// How far the newest sealed range lies behind the clock, in milliseconds.
    pub seal_lag: Option<i64>,
    /// Whether its values are stale: its windows end more than MAXLAG before the last whole tile.
    /// None where it has no MAXLAG, or ends its windows by the clock.
    pub is_stale: Option<bool>,
    /// Rows acknowledged and not applied because their range was sealed.
    pub late_dropped: u64,
    /// Rows skipped because they lay before the retention horizon.
    pub too_old: u64,
}

/// Figures of a whole store that cost no scan.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreInfo {
    /// Views.
    pub views: usize,
    /// About how many bytes of memory the overlays take.
    pub overlay_bytes: usize,
    /// Tiles in overlays.
    pub overlay_tiles: usize,
    /// Overlays that wait to be flushed.
    pub frozen_overlays: usize,
    /// Segments.
    pub segments: usize,
    /// Bytes of all segment files.
    pub segment_bytes: u64,
    /// Bytes of segment data that stays on disk until it is read.
    pub cold_bytes: u64,
    /// Tiles in segments; a tile in two segments counts twice.
    pub segment_tiles: u64,
}

impl Version {
    /// Figures of the whole store.
    #[must_use]
    pub fn info(&self) -> StoreInfo {
        StoreInfo {
            views: self.catalog.len(),
            overlay_bytes: self.overlay_bytes(),
            overlay_tiles: self.overlays().map(|overlay| overlay.tiles()).sum(),
            frozen_overlays: self.overlays().count() - 1,
            segments: self.segments().count(),
            segment_bytes: self.segments().map(|segment| segment.file_bytes()).sum(),
            cold_bytes: self
                .segments()
                .filter(|segment| !segment.is_resident())
                .map(|segment| segment.data_bytes())
                .sum(),
            segment_tiles: self
                .segments()
                .flat_map(|segment| segment.views())
                .map(|(_, view)| view.tiles)
                .sum(),
        }
    }

    /// About how many bytes of memory the overlays take.
    pub(crate) fn overlay_bytes(&self) -> usize {
        self.overlays().map(|overlay| overlay.bytes()).sum()
    }

    /// How fresh every view is.
    #[must_use]
    pub fn freshness(&self, now_ms: i64) -> Vec<ViewFreshness> {
        self.catalog
            .views()
            .map(|view| ViewFreshness {
                name: view.definition.name.to_string(),
                newest_event: view.counters.newest_event(),
                seal_lag: seal_lag(view, now_ms),
                is_stale: is_stale(view, now_ms),
                late_dropped: view.counters.late_dropped(),
                too_old: view.counters.too_old(),
            })
            .collect()
    }

    /// A walk over everything.
    pub(crate) fn scan(&self) -> Result<Scan<'_>, EngineError> {
        Scan::new(&self.layers)
    }
}

/// Counts what the view holds by reading all of it.
pub(crate) fn view_info(
    version: &Version,
    view: &View,
    now_ms: i64,
    last_job: Option<LastJob>,
) -> Result<ViewInfo, EngineError> {
    let horizon = view.horizon(now_ms).unwrap_or(i64::MIN);
    let (mut entities, mut tiles) = (0, 0);
    let mut scan = version.scan()?;
    while let Some(Scanned { view: id, content, .. }) = scan.next_entity()? {
        if id != view.id {
            continue;
        }
        let readable = content.tiles.iter().filter(|tile| horizon <= tile.start).count();
        tiles += bytes_u64(readable);
        entities += u64::from(0 < readable);
    }
    Ok(ViewInfo {
        definition: view.definition.clone(),
        entities,
        tiles,
        bytes: view_bytes(version, view),
        seals: view.seals.list(),
        newest_event: view.counters.newest_event(),
        seal_lag: seal_lag(view, now_ms),
        late_dropped: view.counters.late_dropped(),
        too_old: view.counters.too_old(),
        last_job,
    })
}

/// The rule of MAXLAG, for a window that ends at the clock.
fn is_stale(view: &View, now_ms: i64) -> Option<bool> {
    let max_lag = view.definition.max_lag?;
    if view.definition.seal == SealMode::Off {
        return None;
    }
    let floor = floor_to(now_ms, view.span());
    let sealed = view.coverage.ranges().iter().rev().find(|(from, _)| *from < floor);
    let end = sealed.map_or(floor, |(_, to)| floor.min(*to));
    Some(max_lag.millis() < floor.saturating_sub(end))
}

fn seal_lag(view: &View, now_ms: i64) -> Option<i64> {
    view.coverage.ranges().last().map(|(_, to)| now_ms.saturating_sub(*to))
}

/// Each source's bytes, shared out by the view's share of its tiles.
fn view_bytes(version: &Version, view: &View) -> u64 {
    let share = |bytes: u64, part: u64, whole: u64| {
        if whole == 0 { 0 } else { u128::from(bytes) * u128::from(part) / u128::from(whole) }
    };
    let in_segments = version.segments().map(|segment| {
        let whole = segment.views().map(|(_, view)| view.tiles).sum();
        let part = segment.view(view.id).map_or(0, |view| view.tiles);
        share(segment.file_bytes(), part, whole)
    });
    let in_overlays = version.overlays().map(|overlay| {
        let mut part = 0;
        overlay.for_each(|entry| {
            if entry.view == view.id {
                part += bytes_u64(entry.tiles.len());
            }
        });
        share(bytes_u64(overlay.bytes()), part, bytes_u64(overlay.tiles()))
    });
    u64::try_from(in_segments.chain(in_overlays).sum::<u128>()).unwrap_or(u64::MAX)
}

//! A comparison: starts the peers, loads the same data into each, checks that all answer the same,
//! and runs every row's contenders in turn. Knows nothing of how results are shown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dataset::{DAY_MS, Dataset};
use crate::error::BenchError;
use crate::load::{Figures, Load, run};
use crate::machine::{Cores, kernel_name, load_average, now_ms, processor_name, resident_bytes};
use crate::peer::{Peer, PeerDurability, Places};
use crate::report::{Comparison, ContenderResult, Machine, PeerResult, RowResult, ratio_results};
use crate::rows::{Contender, PeerKind, Row, all_rows};
use crate::workload::Model;
use crate::workload::fill::{create_views, fill_redis, fill_tilekv, settle_tilekv};

/// How a comparison is made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Programs and folders.
    pub places: Places,
    /// Entities of the data set.
    pub entities: u32,
    /// How often each contender of a row runs, in turn with the others.
    pub runs: usize,
    /// Time before each measurement.
    pub warm_up: Duration,
    /// Time of each measurement.
    pub duration: Duration,
    /// Names of the rows to run; all where there is none.
    pub rows: Vec<String>,
    /// Whether it is too short to judge anything by.
    pub is_quick: bool,
}

/// Makes the comparison. `progress` is told what is being done.
pub fn compare(
    settings: &Settings,
    progress: &mut dyn FnMut(&str),
) -> Result<Comparison, BenchError> {
    settings.places.check()?;
    check_names(&settings.rows)?;
    let cores = Cores::find()?;
    cores.enter_client()?;
    let started = Instant::now();
    let model = Arc::new(model(settings));
    let machine = Machine {
        processor: processor_name(),
        kernel: kernel_name(),
        cores: format!("{cores:?}"),
        load_average: load_average(),
    };
    let (mut peers, mut rows) = (Vec::new(), Vec::new());
    for durability in [PeerDurability::None, PeerDurability::Always] {
        let chosen: Vec<Row> = chosen_rows(settings, durability);
        if chosen.is_empty() {
            continue;
        }
        let stage = Stage::start(settings, cores, &model, durability, progress)?;
        peers.extend(stage.describe());
        for row in chosen {
            progress(&format!("{}: {}", row.id, row.title));
            rows.push(stage.run_row(&row, progress)?);
        }
    }
    if model.read_at.is_none() && now_ms() - model.dataset.edge_ms() >= DAY_MS {
        return Err(BenchError::DayEnded);
    }
    Ok(Comparison {
        machine,
        peers,
        entities: settings.entities,
        runs: settings.runs,
        seconds_per_run: settings.duration.as_secs_f64(),
        is_quick: settings.is_quick,
        took_seconds: started.elapsed().as_secs_f64(),
        rows,
    })
}

/// The data, asked for at the server's clock; close to midnight, when windows would move during
/// the run, at a time of the present day.
#[must_use]
pub fn model(settings: &Settings) -> Model {
    let now = now_ms();
    let dataset = Dataset::new(settings.entities, now, SEED);
    let is_near_midnight = dataset.edge_ms() + DAY_MS - now < RUN_MS_MAX;
    let read_at = is_near_midnight.then_some(now);
    Model::new(dataset, read_at)
}

fn chosen_rows(settings: &Settings, durability: PeerDurability) -> Vec<Row> {
    let is_chosen =
        |id: &str| settings.rows.is_empty() || settings.rows.iter().any(|chosen| chosen == id);
    let rows = all_rows().into_iter();
    rows.filter(|row| row.durability == durability && is_chosen(row.id)).collect()
}

fn check_names(names: &[String]) -> Result<(), BenchError> {
    let all = all_rows();
    let Some(unknown) = names.iter().find(|name| all.iter().all(|row| row.id != **name)) else {
        return Ok(());
    };
    let expected = all.iter().map(|row| row.id).collect::<Vec<_>>().join(", ");
    Err(BenchError::NoRow { found: unknown.clone(), expected })
}

/// Peers of one durability, loaded.
struct Stage<'a> {
    settings: &'a Settings,
    model: &'a Arc<Model>,
    redis: Peer,
    tilekv: Peer,
}

impl<'a> Stage<'a> {
    fn start(
        settings: &'a Settings,
        cores: Cores,
        model: &'a Arc<Model>,
        durability: PeerDurability,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self, BenchError> {
        let redis = Peer::redis(&settings.places, cores, durability)?;
        let mut tilekv = Peer::tilekv(&settings.places, cores, durability)?;
        for peer in [&redis, &tilekv] {
            progress(&format!("started {} ({})", peer.command_line(), peer.version()));
        }
        if durability == PeerDurability::None {
            let started = Instant::now();
            fill_redis(redis.address, model)?;
            progress(&format!("loaded redis in {:.1} s", started.elapsed().as_secs_f64()));
            let started = Instant::now();
            fill_tilekv(tilekv.address, model)?;
            progress(&format!("loaded tilekv in {:.1} s", started.elapsed().as_secs_f64()));
            let started = Instant::now();
            if !settings.is_quick {
                settle_tilekv(tilekv.address)?;
                progress(&format!("settled tilekv in {:.1} s", started.elapsed().as_secs_f64()));
            }
            let started = Instant::now();
            tilekv.restart()?;
            progress(&format!("restarted tilekv in {:.1} s", started.elapsed().as_secs_f64()));
        } else {
            create_views(tilekv.address)?;
        }
        Ok(Self { settings, model, redis, tilekv })
    }

    fn describe(&self) -> Vec<PeerResult> {
        let describe = |peer: &Peer| PeerResult {
            command_line: peer.command_line(),
            version: peer.version(),
            resident_bytes: resident_bytes(peer.process()),
        };
        vec![describe(&self.redis), describe(&self.tilekv)]
    }

    /// Runs A B C A B C ...: what drifts in the machine meets all of them alike.
    fn run_row(&self, row: &Row, progress: &mut dyn FnMut(&str)) -> Result<RowResult, BenchError> {
        let mut runs: Vec<Vec<Figures>> = vec![Vec::new(); row.contenders.len()];
        for number in 0..self.settings.runs {
            for (contender, runs) in row.contenders.iter().zip(&mut runs) {
                let load = load_of(self.settings, row, self.peer(contender.peer), number);
                let figures = run_contender(&load, contender, self.model)?;
                progress(&progress_line(number, contender, &figures));
                runs.push(figures);
            }
        }
        let contenders: Vec<ContenderResult> = row
            .contenders
            .iter()
            .zip(runs)
            .map(|(contender, runs)| ContenderResult::new(contender.name, runs))
            .collect();
        let ratios = ratio_results(&row.targets, &contenders);
        let (id, title) = (row.id.to_owned(), row.title.to_owned());
        Ok(RowResult { id, title, contenders, ratios })
    }

    fn peer(&self, kind: PeerKind) -> &Peer {
        match kind {
            PeerKind::Redis => &self.redis,
            PeerKind::Tilekv => &self.tilekv,
        }
    }
}

fn progress_line(number: usize, contender: &Contender, figures: &Figures) -> String {
    let (run, name) = (number + 1, contender.name);
    let Figures { per_second, latencies, client_share, busy, .. } = figures;
    let (p50, p99, client) = (latencies.p50_us, latencies.p99_us, client_share * 100.0);
    let busy = if 0 < *busy { format!(", {busy} refused as busy") } else { String::new() };
    format!(
        "  run {run} {name}: {per_second:.0}/s, p50 {p50:.1} us, p99 {p99:.1} us, \
         client at {client:.0}%{busy}"
    )
}

fn load_of(settings: &Settings, row: &Row, peer: &Peer, number: usize) -> Load {
    Load {
        address: peer.address,
        connections: row.connections,
        pace: row.pace,
        warm_up: settings.warm_up,
        duration: settings.duration,
        // The same entities for every contender of a run, others in the next one.
        seed: SEED + u64::try_from(number).unwrap_or_default(),
        server: Some(peer.process()),
        beside_per_second: f64::from(settings.entities) * WRITTEN_SHARE,
    }
}

/// Runs a contender once, with its writes beside it.
pub fn run_contender(
    load: &Load,
    contender: &Contender,
    model: &Arc<Model>,
) -> Result<Figures, BenchError> {
    let mut workload = (contender.make)(model)?;
    match contender.beside {
        None => run(load, &mut *workload, None),
        Some(make) => run(load, &mut *workload, Some(&mut *make(model)?)),
    }
}

/// The seed of all data and draws.
pub const SEED: u64 = 20_261_122;

/// The share of the entities that is written per second while reads are measured.
pub const WRITTEN_SHARE: f64 = 0.01;

/// No comparison takes longer.
const RUN_MS_MAX: i64 = 30 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &std::path::Path) -> Settings {
        Settings {
            places: Places {
                redis: "redis-server".into(),
                tilekv: "tilekv-server".into(),
                folder: folder.to_owned(),
            },
            entities: 300,
            runs: 1,
            warm_up: Duration::from_millis(10),
            duration: Duration::from_millis(40),
            rows: Vec::new(),
            is_quick: true,
        }
    }

    #[test]
    fn redis_answers_every_row_right() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let model = Arc::new(model(&settings));
        for durability in [PeerDurability::None, PeerDurability::Always] {
            let peer = Peer::redis(&settings.places, Cores::Shared, durability).unwrap();
            fill_redis(peer.address, &model).unwrap();
            for row in chosen_rows(&settings, durability) {
                for contender in row.contenders.iter().filter(|one| one.peer == PeerKind::Redis) {
                    let load = load_of(&settings, &row, &peer, 0);
                    let figures = run_contender(&load, contender, &model).unwrap();
                    assert!(0 < figures.requests, "{} {}", row.id, contender.name);
                    assert!(0.0 < figures.latencies.p50_us, "{} {}", row.id, contender.name);
                }
            }
        }
    }

    #[test]
    fn an_open_loop_keeps_its_rate() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let model = Arc::new(model(&settings));
        let peer = Peer::redis(&settings.places, Cores::Shared, PeerDurability::None).unwrap();
        let rows = all_rows();
        let row = rows.iter().find(|row| row.id == "single").unwrap();
        let ping = row.contenders.iter().find(|one| one.name == "redis ping").unwrap();
        let load = Load {
            pace: crate::load::Pace::Open { per_second: 500.0 },
            duration: Duration::from_secs(1),
            ..load_of(&settings, row, &peer, 0)
        };
        let figures = run_contender(&load, ping, &model).unwrap();
        assert!((400.0..600.0).contains(&figures.per_second), "{figures:?}");
    }

    #[test]
    fn a_missing_program_and_a_wrong_row_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut wrong = settings(folder.path());
        wrong.places.redis = "no-such-server".into();
        let error = compare(&wrong, &mut |_| {}).unwrap_err().to_string();
        assert!(error.starts_with("no-such-server was not found: install"), "{error}");
        let error = check_names(&["singel".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("row `singel` is not known; expected one of batch,"), "{error}");
    }
}

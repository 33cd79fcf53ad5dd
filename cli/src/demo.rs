//! `tilekv demo`: loads the flights of 2013, asks for windows of them at times of that year, and
//! says how fast both were. Knows nothing of the views' definitions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;
use tilekv_client::blocking::{Client, Plan};
use tilekv_client::{Batch, ClientError, PlanBuilder, ReadOptions, Status, Value};

use crate::arguments::{Demo, Server};
use crate::clock_time;
use crate::demo_views::{CARRIERS, DemoView, PLANES, ROUTES, TIMES, VIEWS, WINDOWS};
use crate::failure::CliError;
use crate::load::load_file;
use crate::render::{self, grouped, joined_keys};
use crate::session::{connect, millis};
use crate::table::{Align, Table};
use crate::terminal::say;

const STATUS_LEGEND: &str = "
Each status is told from the shortest window to the longest: ok, empty (no flight in the window),
unseen (none at all until then).";

/// Entities of one timed read.
const TIMED_ENTITIES: usize = 200;

/// Planes and routes that are shown, of all that there are.
const SAMPLE_ENTITIES: usize = 10;

/// Timed reads.
const TIMED_READS: usize = 300;

pub(crate) fn run(server: &Server, demo: Demo) -> Result<(), CliError> {
    let file = match demo.file {
        Some(file) => file,
        None => find_flights()?,
    };
    let client = connect(server, 0)?;
    say(format_args!("Loading {} into {}:", file.display(), client.server()?))?;
    for view in VIEWS {
        create(&client, &view)?;
        say(load_file(&client, &view.load(&file))?.text(view.name))?;
    }
    let entities = Entities::read(&file)?;
    say(STATUS_LEGEND)?;
    ask(&client, &CARRIERS, &entities.carriers, &TIMES[..2])?;
    ask(&client, &ROUTES, &spread(&entities.routes, SAMPLE_ENTITIES), &TIMES[2..3])?;
    ask(&client, &PLANES, &spread(&entities.planes, SAMPLE_ENTITIES), &TIMES[3..])?;
    say("\nHow fast it reads, one connection, each read waited for:")?;
    for (view, all) in [(CARRIERS, &entities.carriers), (PLANES, &entities.planes)] {
        time_reads(&client, &view, all)?;
    }
    say(format_args!(
        "\nTry:\n  tilekv get {} UA 'delay@7d' 'flights@30d' --at 2013-07-05T12:00\n  \
         tilekv explain {} UA delay@7d --at 2013-07-05T12:00",
        CARRIERS.name, CARRIERS.name
    ))
}

/// Creates a view, or makes sure that the one there is the same.
fn create(client: &Client, view: &DemoView) -> Result<(), CliError> {
    let definition = view.definition()?;
    match client.view_info(&definition.name) {
        Ok(info) if info.definition == definition => Ok(()),
        Ok(_) => Err(CliError::Usage(format!(
            "view {0} is there with another definition: `tilekv view drop {0}` makes room for the \
             demonstration's",
            view.name
        ))),
        Err(ClientError::NoView { .. }) => Ok(client.create_view(&definition)?),
        Err(error) => Err(error.into()),
    }
}

/// The first `data/flights*.csv.gz` here or in a folder above.
fn find_flights() -> Result<PathBuf, CliError> {
    let here = std::env::current_dir().unwrap_or_default();
    let found = here.ancestors().find_map(|folder| flights_in(&folder.join("data")));
    found.ok_or_else(|| {
        CliError::Usage(
            "no data/flights*.csv.gz here or above: run this in the repository, or name the file \
             with `tilekv demo FILE`"
                .to_owned(),
        )
    })
}

fn flights_in(folder: &Path) -> Option<PathBuf> {
    let is_flights = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("flights") && name.ends_with(".csv.gz")
    };
    let entries = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_flights).collect();
    files.sort();
    files.into_iter().next()
}

/// Who flew: the entities of each view, as the file has them.
struct Entities {
    carriers: Vec<Vec<u8>>,
    planes: Vec<Vec<u8>>,
    routes: Vec<Vec<u8>>,
}

impl Entities {
    fn read(file: &Path) -> Result<Self, CliError> {
        let path = file.display().to_string();
        let opened = std::fs::File::open(file);
        let source = opened.map_err(|source| {
            let path = path.clone();
            CliError::File { verb: "open", path, source }
        })?;
        let content = |error: csv::Error| {
            let (path, problem) = (path.clone(), error.to_string());
            CliError::Content { path, problem }
        };
        let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(source));
        let header = reader.byte_headers().map_err(content)?.clone();
        let places = VIEWS.map(|view| {
            let place = |(_, csv): &(&str, &str)| {
                header.iter().position(|heading| heading == csv.as_bytes())
            };
            view.keys.iter().filter_map(place).collect::<Vec<usize>>()
        });
        let mut found = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        for record in reader.byte_records() {
            let record = record.map_err(content)?;
            for (places, found) in places.iter().zip(&mut found) {
                let keys = places.iter().map(|place| &record[*place]);
                if keys.clone().all(|key| !key.is_empty()) {
                    found.insert(joined_keys(keys));
                }
            }
        }
        let [carriers, planes, routes] = found.map(|set| set.into_iter().collect());
        Ok(Self { carriers, planes, routes })
    }
}

/// So many entities, evenly spread over all.
fn spread(all: &[Vec<u8>], count: usize) -> Vec<Vec<u8>> {
    let step = (all.len() / count.max(1)).max(1);
    all.iter().step_by(step).take(count).cloned().collect()
}

/// Asks for the mean delay of every window at each time, and prints the answers.
fn ask(
    client: &Client,
    view: &DemoView,
    entities: &[Vec<u8>],
    times: &[&str],
) -> Result<(), CliError> {
    let selectors = WINDOWS.map(|window| format!("delay@{window}"));
    let mut wanted: Vec<String> = vec!["flights@7d".to_owned()];
    wanted.extend(selectors);
    let plan = client.prepare(PlanBuilder::new().view(view.name, &wanted)?)?;
    for time in times {
        let options = ReadOptions::at(clock_time::parse(time)?).with_status();
        let batch = plan.read(entities, &options)?;
        say(format_args!(
            "\nMean delay at departure, in minutes, by {} at {time} UTC:",
            view.entity
        ))?;
        say(answers(view, entities, &wanted, &batch))?;
    }
    Ok(())
}

fn answers(view: &DemoView, entities: &[Vec<u8>], selectors: &[String], batch: &Batch) -> String {
    let mut headings = vec![(view.entity, Align::Left)];
    headings.extend(selectors.iter().map(|selector| (selector.as_str(), Align::Right)));
    headings.push(("status", Align::Left));
    let mut table = Table::new(&headings);
    for (row, entity) in entities.iter().enumerate() {
        let mut cells = vec![render::entity(entity)];
        cells.extend(batch.columns().map(|column| match column.value(row) {
            Value::Double(value) => format!("{value:.1}"),
            Value::Nil => "-".to_owned(),
            value => render::value(&value),
        }));
        cells.push(statuses(batch, row));
        table.row(cells);
    }
    table.render()
}

/// The status of the windows, from the shortest on; once where they agree.
fn statuses(batch: &Batch, row: usize) -> String {
    let statuses = batch.columns().skip(1).filter_map(|column| column.status(row));
    let mut words: Vec<&str> = statuses.map(Status::as_str).collect();
    words.dedup();
    words.join(", then ")
}

fn time_reads(client: &Client, view: &DemoView, all: &[Vec<u8>]) -> Result<(), CliError> {
    let selectors = ["flights", "delay", "worst"]
        .iter()
        .flat_map(|feature| WINDOWS.map(|window| format!("{feature}@{window}")));
    let selectors: Vec<String> = selectors.collect();
    let plan = client.prepare(PlanBuilder::new().view(view.name, &selectors)?)?;
    let (mut times, mut values) = (Vec::new(), 0);
    let started = Instant::now();
    for number in 0..TIMED_READS {
        let (time, count) = timed_read(&plan, all, number)?;
        times.push(time);
        values += count;
    }
    let total = started.elapsed();
    times.sort_unstable();
    let (middle, tail) = (times.len() / 2, times.len() * 99 / 100);
    let place = |place: usize| times.get(place).copied().unwrap_or_default();
    let rate = u128::from(values) * 1_000_000 / total.as_micros().max(1);
    say(format_args!(
        "  {}: {} entities x {} windows in one read: median {:.2} ms, p99 {:.2} ms, {} windows/s",
        view.name,
        TIMED_ENTITIES.min(all.len()),
        selectors.len(),
        millis(place(middle)),
        millis(place(tail)),
        grouped(u64::try_from(rate).unwrap_or(u64::MAX))
    ))
}

/// Reads a stretch of the entities, another each time, at one of the times.
fn timed_read(plan: &Plan, all: &[Vec<u8>], number: usize) -> Result<(Duration, u64), CliError> {
    let first = number * TIMED_ENTITIES % all.len().max(1);
    let entities: Vec<&Vec<u8>> =
        all.iter().cycle().skip(first).take(TIMED_ENTITIES.min(all.len())).collect();
    let time = TIMES[number % TIMES.len()];
    let options = ReadOptions::at(clock_time::parse(time)?).with_status();
    let started = Instant::now();
    let batch = plan.read(&entities, &options)?;
    let time = started.elapsed();
    let values = batch.rows() * batch.columns().count();
    Ok((time, u64::try_from(values).unwrap_or(u64::MAX)))
}

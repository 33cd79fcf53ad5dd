//! Results of a comparison: medians, ratios within one run, and their form as JSON and as
//! Markdown. Knows nothing of how they were measured.

use std::fmt::Write;

use serde::Serialize;

use crate::load::Figures;
use crate::rows::{Figure, Target};

/// A whole comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// What it ran on.
    pub machine: Machine,
    /// Who took part.
    pub peers: Vec<PeerResult>,
    /// Entities of the data set.
    pub entities: u32,
    /// Runs of each contender.
    pub runs: usize,
    /// Length of each run.
    pub seconds_per_run: f64,
    /// Whether it is too short to judge anything by.
    pub is_quick: bool,
    /// How long all of it took.
    pub took_seconds: f64,
    /// What was measured.
    pub rows: Vec<RowResult>,
}

/// What a comparison ran on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// The kernel's release.
    pub kernel: String,
    /// Which cores were used by whom.
    pub cores: String,
    /// Processes that wanted to run in the minute before: near 0 on a quiet machine.
    pub load_average: Option<f64>,
}

/// A peer that took part.
#[derive(Debug, Clone, Serialize)]
pub struct PeerResult {
    /// The program and its arguments.
    pub command_line: String,
    /// What it says its version is.
    pub version: String,
    /// Its resident memory once the data was loaded.
    pub resident_bytes: Option<u64>,
}

/// A row of results.
#[derive(Debug, Clone, Serialize)]
pub struct RowResult {
    /// The row's short name.
    pub id: String,
    /// What was done.
    pub title: String,
    /// Who did it.
    pub contenders: Vec<ContenderResult>,
    /// How they compare.
    pub ratios: Vec<RatioResult>,
}

/// A contender's results.
#[derive(Debug, Clone, Serialize)]
pub struct ContenderResult {
    /// Its name.
    pub name: String,
    /// Every run.
    pub runs: Vec<Figures>,
    /// Requests per second.
    pub per_second: Spread,
    /// Median latency in microseconds.
    pub p50_us: Spread,
    /// 99th percentile in microseconds.
    pub p99_us: Spread,
    /// 99.9th percentile in microseconds.
    pub p999_us: Spread,
    /// Processor time of the server per request in microseconds.
    pub server_cpu_us: Option<Spread>,
    /// The share of the time for which the measuring thread was on its core.
    pub client_share: Spread,
}

impl ContenderResult {
    /// Sums up the runs.
    #[must_use]
    pub fn new(name: &str, runs: Vec<Figures>) -> Self {
        let spread = |figure: fn(&Figures) -> f64| Spread::of(runs.iter().map(figure));
        let server: Vec<f64> = runs.iter().filter_map(|run| run.server_cpu_us).collect();
        Self {
            name: name.to_owned(),
            per_second: spread(|run| run.per_second),
            p50_us: spread(|run| run.latencies.p50_us),
            p99_us: spread(|run| run.latencies.p99_us),
            p999_us: spread(|run| run.latencies.p999_us),
            server_cpu_us: (!server.is_empty()).then(|| Spread::of(server)),
            client_share: spread(|run| run.client_share),
            runs,
        }
    }

    fn figure(&self, figure: Figure, run: usize) -> f64 {
        let figures = &self.runs[run];
        match figure {
            Figure::PerSecond => figures.per_second,
            Figure::P50 => figures.latencies.p50_us,
            Figure::P99 => figures.latencies.p99_us,
        }
    }
}

/// One contender over another: run by run, since only ratios within a run hold on a machine whose
/// speed drifts.
#[derive(Debug, Clone, Serialize)]
pub struct RatioResult {
    /// Whose figure.
    pub of: String,
    /// By whose it is divided.
    pub against: String,
    /// Which figure.
    pub figure: &'static str,
    /// The ratios of the runs.
    pub ratio: Spread,
    /// The bound that must hold.
    pub must: f64,
    /// The bound that is aimed at.
    pub aim: f64,
    /// How the median stands to the bounds.
    pub verdict: &'static str,
}

/// The median of some runs, and the least and greatest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number, the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of some numbers; zeros where there is none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self { median: 0.0, min: 0.0, max: 0.0 };
        };
        let (lower, upper) = ((values.len() - 1) / 2, values.len() / 2);
        Self { median: f64::midpoint(values[lower], values[upper]), min, max }
    }
}

/// The ratios that the targets of a row name.
#[must_use]
pub fn ratio_results(targets: &[Target], contenders: &[ContenderResult]) -> Vec<RatioResult> {
    let named = |name: &str| contenders.iter().find(|contender| contender.name == name);
    let result = |target: &Target| {
        let (of, against) = (named(target.of)?, named(target.against)?);
        let runs = 0..of.runs.len().min(against.runs.len());
        let ratio = Spread::of(
            runs.map(|run| of.figure(target.figure, run) / against.figure(target.figure, run)),
        );
        let verdict = if target.figure.meets(ratio.median, target.aim) {
            "aim met"
        } else if target.figure.meets(ratio.median, target.must) {
            "must met"
        } else {
            "missed"
        };
        Some(RatioResult {
            of: target.of.to_owned(),
            against: target.against.to_owned(),
            figure: target.figure.name(),
            ratio,
            must: target.must,
            aim: target.aim,
            verdict,
        })
    };
    targets.iter().filter_map(result).collect()
}

impl Comparison {
    /// The comparison as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The comparison as Markdown: what it ran on, a table of figures, a table of ratios.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _written = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, out: &mut String) -> std::fmt::Result {
        self.write_conditions(out)?;
        writeln!(out, "{FIGURES_HEAD}")?;
        for row in &self.rows {
            for contender in &row.contenders {
                write_contender(out, &row.id, contender)?;
            }
        }
        writeln!(out)?;
        writeln!(out, "| row | figure | ratio | must | aim | |")?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        for row in &self.rows {
            for ratio in &row.ratios {
                self.write_ratio(out, &row.id, ratio)?;
            }
        }
        Ok(())
    }

    fn write_conditions(&self, out: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        writeln!(out, "{}, Linux {}, {}.", machine.processor, machine.kernel, machine.cores)?;
        if let Some(load) = machine.load_average {
            writeln!(out, "Load average before: {load:.2}.")?;
        }
        writeln!(
            out,
            "{} entities; median [least, greatest] of {} runs of {} s; {:.0} s in all.",
            self.entities, self.runs, self.seconds_per_run, self.took_seconds
        )?;
        if self.is_quick {
            writeln!(out, "A quick run: it shows that everything works, and judges nothing.")?;
        }
        writeln!(out)?;
        for peer in &self.peers {
            let memory = peer.resident_bytes.unwrap_or_default() >> 20;
            writeln!(out, "- `{}`: {}, {memory} MiB resident", peer.command_line, peer.version)?;
        }
        writeln!(out)
    }

    fn write_ratio(&self, out: &mut String, row: &str, ratio: &RatioResult) -> std::fmt::Result {
        let RatioResult { of, against, figure, ratio: spread, must, aim, verdict } = ratio;
        let verdict = if self.is_quick { "not judged" } else { verdict };
        let shown = format!("{:.2} [{:.2}, {:.2}]", spread.median, spread.min, spread.max);
        writeln!(
            out,
            "| {row} | {figure}: {of} / {against} | {shown} | {must} | {aim} | {verdict} |"
        )
    }
}

fn write_contender(out: &mut String, row: &str, contender: &ContenderResult) -> std::fmt::Result {
    let cpu = contender.server_cpu_us.map_or_else(String::new, |cpu| format!("{:.2}", cpu.median));
    writeln!(
        out,
        "| {row} | {} | {} | {} | {} | {} | {cpu} | {:.0}% |",
        contender.name,
        shown(contender.per_second, 0),
        shown(contender.p50_us, 0),
        shown(contender.p99_us, 0),
        shown(contender.p999_us, 0),
        contender.client_share.median * 100.0,
    )
}

fn shown(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    format!("{median:.digits$} [{min:.digits$}, {max:.digits$}]")
}

/// Puts `text` between the two lines of a document that mark the place of figures.
#[must_use]
pub fn place_figures(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(FIGURES_BEGIN)?;
    let (_, after) = rest.split_once(FIGURES_END)?;
    Some(format!("{before}{FIGURES_BEGIN}\n\n{}\n\n{FIGURES_END}{after}", text.trim()))
}

const FIGURES_HEAD: &str = "| row | contender | requests/s | p50 us | p99 us | p99.9 us | \
    server CPU us | client |\n|---|---|---|---|---|---|---|---|";

/// Begins the figures of a document.
pub const FIGURES_BEGIN: &str = "<!-- figures begin -->";
/// Ends the figures of a document.
pub const FIGURES_END: &str = "<!-- figures end -->";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Latencies;

    #[test]
    fn the_median_stands_in_the_middle() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(spread(&[]).median, 0.0);
    }

    #[test]
    fn ratios_are_taken_run_by_run() {
        let contender = |name: &str, rates: [f64; 3]| {
            let run = |per_second| Figures {
                requests: 1,
                busy: 0,
                per_second,
                latencies: Latencies { p50_us: 1e6 / per_second, ..Latencies::default() },
                server_cpu_us: None,
                client_share: 0.5,
            };
            ContenderResult::new(name, rates.map(run).to_vec())
        };
        let contenders = [contender("a", [10.0, 40.0, 20.0]), contender("b", [5.0, 10.0, 20.0])];
        let figure = Figure::PerSecond;
        let target = Target { of: "a", against: "b", figure, must: 1.5, aim: 3.0 };
        let latency = Target { figure: Figure::P50, must: 0.4, aim: 0.3, ..target };
        let results = ratio_results(&[target, latency], &contenders);
        assert_eq!(results[0].ratio, Spread { median: 2.0, min: 1.0, max: 4.0 });
        assert_eq!(results[0].verdict, "must met");
        assert_eq!(results[1].ratio.median, 0.5);
        assert_eq!(results[1].verdict, "missed");
    }

    #[test]
    fn figures_replace_what_stood_between_the_marks() {
        let document = format!("a\n{FIGURES_BEGIN}\nold\n{FIGURES_END}\nb\n");
        let placed = place_figures(&document, "new\n").unwrap();
        assert_eq!(placed, format!("a\n{FIGURES_BEGIN}\n\nnew\n\n{FIGURES_END}\nb\n"));
        assert_eq!(place_figures("a\n", "new"), None);
    }
}

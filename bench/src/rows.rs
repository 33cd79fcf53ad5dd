//! The rows of a comparison: which workloads stand side by side, how each is driven, and what the
//! project aims at. A new row or peer is added here and nowhere else. Knows nothing of processes.

use std::sync::Arc;

use crate::error::BenchError;
use crate::load::{Pace, Workload};
use crate::peer::PeerDurability;
use crate::workload::redis_reads::Form;
use crate::workload::{Model, redis_reads, redis_writes, tilekv_native, tilekv_resp};

/// A peer of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerKind {
    /// Redis.
    Redis,
    /// TileKV.
    Tilekv,
}

/// Makes a workload anew for each run.
pub type Make = fn(&Arc<Model>) -> Result<Box<dyn Workload>, BenchError>;

/// One way to do the work of a row.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    /// What it is called in the table.
    pub name: &'static str,
    /// Who does it.
    pub peer: PeerKind,
    /// What is asked.
    pub make: Make,
    /// What is written meanwhile to 1% of the entities per second; none for rows of writes.
    pub beside: Option<Make>,
}

/// Which figure a target is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Requests per second: more is better.
    PerSecond,
    /// Median latency: less is better.
    P50,
    /// 99th percentile of the latency: less is better.
    P99,
}

impl Figure {
    /// What it is called in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "per second",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    /// Whether a ratio meets a bound.
    #[must_use]
    pub fn meets(self, ratio: f64, bound: f64) -> bool {
        match self {
            Self::PerSecond => bound <= ratio,
            Self::P50 | Self::P99 => ratio <= bound,
        }
    }
}

/// What the project aims at: the figure of one contender over that of another, in the same run.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Whose figure.
    pub of: &'static str,
    /// By whose it is divided.
    pub against: &'static str,
    /// Which figure.
    pub figure: Figure,
    /// The bound that must hold.
    pub must: f64,
    /// The bound that is aimed at.
    pub aim: f64,
}

/// A row of a comparison.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its short name, for `--rows`.
    pub id: &'static str,
    /// What is done, in words.
    pub title: &'static str,
    /// How many connections it is asked on.
    pub connections: usize,
    /// How it is driven.
    pub pace: Pace,
    /// How durable the peers are.
    pub durability: PeerDurability,
    /// Who does it, in the order of the runs.
    pub contenders: Vec<Contender>,
    /// What is aimed at.
    pub targets: Vec<Target>,
}

/// All rows, those without durability first.
#[must_use]
pub fn all_rows() -> Vec<Row> {
    let mut rows = read_rows();
    rows.extend(write_rows());
    rows
}

fn read_rows() -> Vec<Row> {
    vec![
        Row {
            id: "batch",
            title: "200 entities x 2 views x 3 windows, 4 connections",
            connections: 4,
            pace: Pace::Closed { depth: 1 },
            durability: PeerDurability::None,
            contenders: batch_contenders(),
            targets: vec![
                target("tilekv", "hgetall", 15.0, 20.0),
                target("tilekv", "blobs", 3.5, 4.5),
                target("tilekv", "pre-rolled", 0.8, 1.0),
            ],
        },
        Row {
            id: "batch-one",
            title: "200 entities x 2 views x 3 windows, one connection",
            connections: 1,
            pace: Pace::Closed { depth: 1 },
            durability: PeerDurability::None,
            contenders: batch_contenders(),
            targets: vec![
                Target { figure: Figure::P50, ..target("tilekv", "hgetall", 0.13, 0.1) },
                Target { figure: Figure::P99, ..target("tilekv", "hgetall", 0.13, 0.1) },
            ],
        },
        Row {
            id: "single",
            title: "one entity, 4 windows x (sum, count), 16 connections",
            connections: 16,
            pace: Pace::Closed { depth: 1 },
            durability: PeerDurability::None,
            contenders: single_contenders(),
            targets: vec![target("tilekv", "hgetall", 1.4, 1.6)],
        },
        Row {
            id: "single-pipelined",
            title: "one entity, 4 windows x (sum, count), 50 connections x pipeline of 16",
            connections: 50,
            pace: Pace::Closed { depth: 16 },
            durability: PeerDurability::None,
            contenders: single_contenders(),
            targets: vec![
                target("tilekv", "hgetall", 3.0, 4.0),
                target("tilekv", "blob", 1.2, 1.5),
            ],
        },
    ]
}

fn write_rows() -> Vec<Row> {
    vec![
        Row {
            id: "events",
            title: "events, not durable, 50 connections x pipeline of 16",
            connections: 50,
            pace: Pace::Closed { depth: 16 },
            durability: PeerDurability::None,
            contenders: event_contenders(),
            targets: vec![
                target("tilekv", "hset", 1.3, 1.6),
                target("tilekv RESP", "hset", 0.8, 1.0),
            ],
        },
        Row {
            id: "events-durable",
            title: "events, durable before the answer, 50 connections x pipeline of 16",
            connections: 50,
            pace: Pace::Closed { depth: 16 },
            durability: PeerDurability::Always,
            contenders: event_contenders(),
            targets: vec![target("tilekv", "hset", 1.5, 2.0)],
        },
        Row {
            id: "batches-durable",
            title: "100 events per request, durable before the answer, 16 connections x pipeline 4",
            connections: 16,
            pace: Pace::Closed { depth: 4 },
            durability: PeerDurability::Always,
            contenders: vec![
                tilekv("tilekv", |model| boxed(tilekv_native::Events::batch(Arc::clone(model))?)),
                tilekv("tilekv RESP", |model| boxed(tilekv_resp::Events::batch(Arc::clone(model)))),
                redis("100 hset", |model| {
                    boxed(redis_writes::HashWrites::batch(Arc::clone(model)))
                }),
            ],
            targets: Vec::new(),
        },
    ]
}

fn batch_contenders() -> Vec<Contender> {
    vec![
        beside(
            tilekv("tilekv", |model| boxed(tilekv_native::Reads::batch(Arc::clone(model))?)),
            rewrite_tiles,
        ),
        beside(redis("hgetall", |model| batch(model, Form::Hash)), rewrite_hashes),
        beside(redis("blobs", |model| batch(model, Form::Blob)), rewrite_blobs),
        beside(redis("pre-rolled", |model| batch(model, Form::Rolled)), rewrite_rolled),
    ]
}

fn single_contenders() -> Vec<Contender> {
    vec![
        beside(
            tilekv("tilekv", |model| boxed(tilekv_native::Reads::single(Arc::clone(model))?)),
            rewrite_tiles,
        ),
        beside(
            tilekv("tilekv RESP", |model| boxed(tilekv_resp::Single::new(Arc::clone(model)))),
            rewrite_tiles,
        ),
        beside(redis("hgetall", |model| single(model, Form::Hash)), rewrite_hashes),
        beside(redis("blob", |model| single(model, Form::Blob)), rewrite_blobs),
        redis("redis ping", |_| boxed(redis_reads::Ping)),
    ]
}

fn event_contenders() -> Vec<Contender> {
    vec![
        tilekv("tilekv", |model| boxed(tilekv_native::Events::single(Arc::clone(model))?)),
        tilekv("tilekv RESP", |model| boxed(tilekv_resp::Events::single(Arc::clone(model)))),
        redis("hset", |model| boxed(redis_writes::HashWrites::single(Arc::clone(model)))),
    ]
}

fn target(of: &'static str, against: &'static str, must: f64, aim: f64) -> Target {
    Target { of, against, figure: Figure::PerSecond, must, aim }
}

fn tilekv(name: &'static str, make: Make) -> Contender {
    Contender { name, peer: PeerKind::Tilekv, make, beside: None }
}

fn redis(name: &'static str, make: Make) -> Contender {
    Contender { name, peer: PeerKind::Redis, make, beside: None }
}

fn beside(contender: Contender, make: Make) -> Contender {
    Contender { beside: Some(make), ..contender }
}

fn boxed(workload: impl Workload + 'static) -> Result<Box<dyn Workload>, BenchError> {
    Ok(Box::new(workload))
}

fn batch(model: &Arc<Model>, form: Form) -> Result<Box<dyn Workload>, BenchError> {
    boxed(redis_reads::Batch::new(Arc::clone(model), form))
}

fn single(model: &Arc<Model>, form: Form) -> Result<Box<dyn Workload>, BenchError> {
    boxed(redis_reads::Single::new(Arc::clone(model), form))
}

fn rewrite_tiles(model: &Arc<Model>) -> Result<Box<dyn Workload>, BenchError> {
    boxed(tilekv_resp::Rewrites::new(Arc::clone(model)))
}

fn rewrite_hashes(model: &Arc<Model>) -> Result<Box<dyn Workload>, BenchError> {
    boxed(redis_writes::Rewrites::new(Arc::clone(model), Form::Hash))
}

fn rewrite_blobs(model: &Arc<Model>) -> Result<Box<dyn Workload>, BenchError> {
    boxed(redis_writes::Rewrites::new(Arc::clone(model), Form::Blob))
}

fn rewrite_rolled(model: &Arc<Model>) -> Result<Box<dyn Workload>, BenchError> {
    boxed(redis_writes::Rewrites::new(Arc::clone(model), Form::Rolled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_names_contenders_of_its_row() {
        for row in all_rows() {
            let is_there =
                |name: &str| row.contenders.iter().any(|contender| contender.name == name);
            for target in &row.targets {
                assert!(is_there(target.of), "{}: {}", row.id, target.of);
                assert!(is_there(target.against), "{}: {}", row.id, target.against);
                assert!(target.figure.meets(target.aim, target.must), "{}: aim and must", row.id);
            }
        }
    }

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<_> = all_rows().iter().map(|row| row.id).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

//! Stories of jobs, told against a server of the test's own.

use std::collections::BTreeMap;

use bytes::Bytes;
use tilekv_protocol::native::{Applied, Credit, Request, Response, WriteOutcome};
use tilekv_protocol::{ErrorCode, ErrorReply, JobContent, JobPut, Reply};
use tilekv_tile::{Identifier, Name, Rows};

use crate::fake_server::{FakePeer, FakeServer, text, words};
use crate::{Client, ClientError, ColumnsBuilder, CommitOptions, Job, JobMode, TilePartials};

fn view() -> Name {
    Name::parse(b"likes").unwrap()
}

fn rows(count: i64) -> Rows {
    let entities = (0..count).map(|row| format!("u:{}", row / 10));
    ColumnsBuilder::new(entities, (0..count).collect())
        .i64s("pieces", (0..count).collect())
        .unwrap()
        .finish()
        .unwrap()
}

/// A job of a server that keeps the rules of sequences.
#[derive(Debug, Default)]
struct Store {
    /// The timestamps that came under each sequence.
    taken: BTreeMap<u64, Vec<i64>>,
    put_count: usize,
}

impl Store {
    fn put(&mut self, put: &JobPut) -> Response {
        assert_eq!(put.job, "j1");
        self.put_count += 1;
        let JobContent::Rows(rows) = put.read().unwrap() else { panic!("rows") };
        let sequence = put.sequence.unwrap();
        if self.taken.contains_key(&sequence) {
            return applied(WriteOutcome::Duplicate);
        }
        let count = u64::try_from(rows.len()).unwrap();
        self.taken.insert(sequence, rows.timestamps);
        applied(WriteOutcome::Applied(count))
    }

    fn rows(&self) -> usize {
        self.taken.values().map(Vec::len).sum()
    }
}

fn applied(outcome: WriteOutcome) -> Response {
    Response::Applied(Applied { outcome, credit: Credit::UNBOUNDED })
}

async fn begin(client: &Client) -> Job {
    client.job(&view(), 0, 60_000).token("t").begin().await.unwrap()
}

#[tokio::test]
async fn a_job_is_begun_put_and_committed() {
    let server = FakeServer::start().await;
    let client = Client::new(server.options()).unwrap();
    let served = tokio::spawn(async move {
        let mut peer = server.accept().await;
        let (mut store, mut said) = (Store::default(), Vec::new());
        peer.serve(|request| match request {
            Request::Put(put) => Some(store.put(&put)),
            other => {
                let words = words(&other);
                let is_begin = words[0] == "JOB.BEGIN";
                said.push(words.join(" "));
                Some(if is_begin { text("j1") } else { Response::Value(Reply::OK) })
            }
        })
        .await;
        (store, said)
    });
    let job = client.job(&view(), 0, 60_000).mode(JobMode::Merge).token("t");
    let timeout = "5m".as_bytes();
    let mut job = job.timeout(crate::Span::parse(timeout).unwrap()).begin().await.unwrap();
    assert_eq!(job.id(), "j1");
    job.put(&rows(200_000)).await.unwrap();
    let options = CommitOptions::default().with_rows(job.rows()).without_seal();
    job.commit(options.allowing_empty()).await.unwrap();
    assert_eq!((job.tally().rows_applied, job.tally().batches_duplicate), (200_000, 0));
    drop((job, client));
    let (store, said) = served.await.unwrap();
    assert_eq!(said[0], "JOB.BEGIN likes 0 60000 MODE merge TIMEOUT 5m ID t");
    assert_eq!(said[1], "JOB.COMMIT j1 ROWS 200000 EMPTY NOSEAL");
    let sequences: Vec<u64> = store.taken.keys().copied().collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6, 7], "pieces that the server's frames hold");
    let times: Vec<i64> = store.taken.into_values().flatten().collect();
    assert_eq!(times, (0..200_000).collect::<Vec<_>>(), "every row once, in order");
}

/// What the server does with the n-th put: three in four go wrong in some way.
async fn serve_badly(server: FakeServer, mut store: Store) -> Store {
    let mut count: u64 = 0;
    'connections: loop {
        let mut peer: FakePeer = server.accept().await;
        while let Some((id, request)) = peer.next().await {
            let Request::Put(put) = request else {
                let words = words(&request);
                let reply = match words[0].as_str() {
                    "JOB.BEGIN" => text("j1"),
                    _ => Response::Value(Reply::OK),
                };
                peer.answer(id, &reply).await;
                if words[0] == "JOB.ABORT" {
                    break 'connections;
                }
                continue;
            };
            count += 1;
            match count % 7 {
                1 => peer.answer(id, &Response::refusal(ErrorReply::busy(1, "busy"))).await,
                3 => break,
                5 => {
                    store.put(&put);
                    break;
                }
                _ => {
                    let response = store.put(&put);
                    peer.answer(id, &response).await;
                }
            }
        }
    }
    store
}

#[tokio::test]
async fn puts_are_sent_again_until_each_is_taken_once() {
    let server = FakeServer::start().await;
    let client = Client::new(server.options()).unwrap();
    let served = tokio::spawn(serve_badly(server, Store::default()));
    let mut job = begin(&client).await;
    for _ in 0..50 {
        job.put(&rows(7)).await.unwrap();
    }
    job.flush().await.unwrap();
    let tally = job.tally();
    assert_eq!((tally.batches, tally.rows), (50, 350));
    assert!(tally.busy > 0 && tally.resent > 0 && tally.batches_duplicate > 0, "{tally:?}");
    job.abort().await.unwrap();
    let store = served.await.unwrap();
    assert_eq!((store.rows(), store.taken.len()), (350, 50));
    assert!(50 < store.put_count);
}

#[tokio::test]
async fn a_refused_put_is_told_and_forgotten() {
    let server = FakeServer::start().await;
    let client = Client::new(server.options()).unwrap();
    tokio::spawn(async move {
        let mut peer = server.accept().await;
        peer.serve(|request| {
            let Request::Put(put) = request else { return Some(text("j1")) };
            Some(match put.sequence {
                Some(1) => Response::refusal(ErrorReply::bad_value("row 1")),
                Some(2) => applied(WriteOutcome::Applied(3)),
                _ => Response::refusal(ErrorReply::new(ErrorCode::NoJob, "gone")),
            })
        })
        .await;
    });
    let mut job = begin(&client).await;
    job.put(&rows(5)).await.unwrap();
    assert!(matches!(job.flush().await, Err(ClientError::BadValue { .. })));
    assert_eq!(job.rows(), 0);
    job.put(&rows(3)).await.unwrap();
    job.flush().await.unwrap();
    assert_eq!(job.rows(), 3);
    job.put(&rows(1)).await.unwrap();
    let gone = job.commit(CommitOptions::default()).await;
    assert!(matches!(gone, Err(ClientError::NoJob { .. })), "{gone:?}");
}

#[tokio::test]
async fn wide_rows_are_cut_by_their_bytes() {
    let mut server = FakeServer::start().await;
    server.frame_bytes_max = 64 << 20;
    let client = Client::new(server.options()).unwrap();
    let served = tokio::spawn(async move {
        let mut peer = server.accept().await;
        let mut sizes = Vec::new();
        peer.serve(|request| {
            let Request::Put(put) = request else { return Some(text("j1")) };
            let JobContent::Tiles(tiles) = put.read().unwrap() else { panic!("tiles") };
            sizes.push(tiles.len());
            Some(applied(WriteOutcome::Applied(u64::try_from(tiles.len()).unwrap())))
        })
        .await;
        sizes
    });
    let partial = Bytes::from(format!("\"{}\"", "x".repeat(200_000)));
    let feature = Identifier::parse(b"top").unwrap();
    let tile = |number: i64| TilePartials {
        entity: Bytes::from(number.to_string()),
        tile_start: 0,
        partials: vec![(feature.clone(), partial.clone())],
    };
    let tiles: Vec<TilePartials> = (0..40).map(tile).collect();
    let mut job = begin(&client).await;
    job.put_tiles(&tiles).await.unwrap();
    job.flush().await.unwrap();
    drop((job, client));
    assert_eq!(served.await.unwrap(), [20, 20], "4 MiB hold 20 tiles of 200 kB");
}

//! Reads of windows and services over HTTP: WINDOW.MGET and SERVICE.GET for those who speak JSON.
//! A question runs on a thread of its own, which may wait for the disk, so that health and metrics
//! are answered meanwhile. Knows nothing of how windows are read.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use parking_lot::Mutex;
use tilekv_protocol::{Arguments, Command, Credentials, ErrorCode, ErrorReply, Reply};

use super::answer::{self, Refusal};
use super::{Site, question};
use crate::dispatch::{self, Answer, Context};
use crate::exchange;
use crate::lifecycle::Stage;
use crate::limits::{HTTP_BODY_BYTES_MAX, HTTP_READ_THREAD_COUNT_MAX};
use crate::metrics::Ending;
use crate::plans::Plans;
use crate::refuse;
use crate::shared::Shared;

/// Plans of reads that no question uses now, each set for the next.
#[derive(Debug, Default)]
pub(crate) struct PlanPool(
    /// Guards the sets.
    Mutex<Vec<Plans>>,
);

/// Bytes of a body, counted against those of all connections until this is dropped.
struct Lease {
    shared: Arc<Shared>,
    bytes: usize,
}

/// The paths under `/v1/features`.
pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/v1/features/windows", post(windows))
        .route("/v1/features/services/{name}", post(service))
}

async fn windows(State(site): State<Site>, request: Request) -> Response {
    respond(site, request, question::windows).await
}

async fn service(State(site): State<Site>, Path(name): Path<String>, request: Request) -> Response {
    respond(site, request, |body| question::service(name, body)).await
}

async fn respond(
    site: Site,
    request: Request,
    ask: impl FnOnce(&[u8]) -> Result<Arguments, ErrorReply> + Send + 'static,
) -> Response {
    match try_respond(site, request, ask).await {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn try_respond(
    site: Site,
    request: Request,
    ask: impl FnOnce(&[u8]) -> Result<Arguments, ErrorReply> + Send + 'static,
) -> Result<String, Refusal> {
    let started = Instant::now();
    let shared = serving(&site)?;
    authorize(&shared, request.headers())?;
    let (body, lease) = receive(&shared, request).await?;
    let work = tokio::task::spawn_blocking(move || {
        let answered = run(&site, &shared, ask(&body), started);
        drop(lease);
        answered
    });
    work.await.unwrap_or_else(|_| Err(not_serving("the server is shutting down").into()))
}

/// The shared state, while questions are answered.
fn serving(site: &Site) -> Result<Arc<Shared>, ErrorReply> {
    match (site.lifecycle.stage(), site.shared.get()) {
        (Stage::Serving, Some(shared)) => Ok(Arc::clone(shared)),
        (Stage::Draining, _) => Err(not_serving("the server is shutting down")),
        _ => Err(not_serving("the server is reading its data; retry later")),
    }
}

fn not_serving(sentence: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::Loading, sentence)
}

/// As AUTH does, where a password is set.
fn authorize(shared: &Shared, headers: &HeaderMap) -> Result<(), ErrorReply> {
    let Some(password) = &shared.config.password else { return Ok(()) };
    let Some(given) = headers.get(header::AUTHORIZATION) else { return Err(refuse::no_auth()) };
    let is_right = credentials(given.as_bytes())
        .is_some_and(|credentials| dispatch::is_password(&credentials, password));
    if is_right {
        return Ok(());
    }
    tracing::warn!("authentication over HTTP failed");
    Err(refuse::wrong_password())
}

/// `Basic` with user and password, or `Bearer` with the password.
fn credentials(header: &[u8]) -> Option<Credentials> {
    let (scheme, rest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials { user: None, password: Bytes::from(rest.to_owned()) });
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Bytes::from(STANDARD.decode(rest).ok()?);
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let user = (0 < colon).then(|| pair.slice(..colon));
    Some(Credentials { user, password: pair.slice(colon + 1..) })
}

/// Reads the body as far as it is allowed to be: within its size, its time, and what all
/// connections may hold together.
async fn receive(shared: &Arc<Shared>, request: Request) -> Result<(Bytes, Lease), Refusal> {
    let bytes_max = HTTP_BODY_BYTES_MAX.min(shared.config.frame_bytes_max);
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let bytes = announced.unwrap_or(bytes_max);
    let too_long =
        || ErrorReply::limit(format!("the body is too long, expected at most {bytes_max} bytes"));
    if bytes_max < bytes {
        return Err(too_long().into());
    }
    if !shared.buffers.try_take(bytes) {
        let sentence = "too many bytes of questions and answers wait already; retry later";
        return Err(ErrorReply::busy(100, sentence).into());
    }
    let lease = Lease { shared: Arc::clone(shared), bytes };
    let body = to_bytes(request.into_body(), bytes_max);
    match tokio::time::timeout(shared.config.frame_timeout, body).await {
        Ok(Ok(body)) => Ok((body, lease)),
        Ok(Err(_)) => Err(too_long().into()),
        Err(_) => Err(Refusal {
            status: StatusCode::REQUEST_TIMEOUT,
            error: ErrorReply::usage("the body did not arrive in time"),
        }),
    }
}

fn run(
    site: &Site,
    shared: &Shared,
    asked: Result<Arguments, ErrorReply>,
    started: Instant,
) -> Result<String, Refusal> {
    let arguments = asked?;
    let (id, parsed) = Command::read(&arguments);
    let command = parsed.map_err(|error| error.reply)?;
    let family = dispatch::family(&command);
    let plans = site.plans.lend();
    let (version, now_ms) = (shared.reader.snapshot(), shared.clock.now_ms());
    let context = Context { shared, version, now_ms, plans: &plans };
    let answered = dispatch::read_in_place(&context, command);
    let time = started.elapsed();
    let ending = answered.as_ref().map_or(Ending::Refused, exchange::ending);
    shared.metrics.http.record(family, ending, 1, time);
    if let Some(id) = id {
        shared.metrics.http.count_command(id, ending, time);
    }
    let answered = encode(&context, &arguments, answered);
    drop(context);
    site.plans.give_back(plans);
    answered
}

fn encode(
    context: &Context<'_>,
    arguments: &Arguments,
    answered: Answer,
) -> Result<String, Refusal> {
    match answered {
        Ok(Reply::Windows(windows)) => Ok(answer::encode(&windows)),
        Ok(_) => unreachable!("reads of windows and services are answered with windows"),
        Err(error) => {
            let mut refusal = Refusal::from(error);
            if lacks_service(context, arguments) {
                refusal.status = StatusCode::NOT_FOUND;
            }
            Err(refusal)
        }
    }
}

/// Whether the service that is asked for is none: the path leads nowhere.
fn lacks_service(context: &Context<'_>, arguments: &Arguments) -> bool {
    let Some(b"SERVICE.GET") = arguments.get(0) else { return false };
    let name = arguments.get(1).and_then(|name| tilekv_tile::Name::parse(name).ok());
    name.is_some_and(|name| context.shared.reader.service_info(&context.version, &name).is_err())
}

impl PlanPool {
    fn lend(&self) -> Plans {
        self.0.lock().pop().unwrap_or_default()
    }

    fn give_back(&self, plans: Plans) {
        let mut idle = self.0.lock();
        if idle.len() < HTTP_READ_THREAD_COUNT_MAX {
            idle.push(plans);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.buffers.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;
    use axum::body::Body;

    const VIEW: &str = "VIEW.CREATE v TILE 1m KEYS 1 user COLUMNS 1 x:i64 \
        FEATURES 2 n=count() s=sum(x)\r\n";
    const ADD: &str = "TILE.ADD v e 1000 x 5\r\n";
    const ASK: &str = r#"{"view": "v", "entities": ["e", "f"],
        "selectors": ["n@lifetime", "s@lifetime"]}"#;

    /// Where the rig's server answers, as if it had recovered.
    fn site(rig: &Rig) -> Site {
        let site = Site::new(Arc::clone(&rig.shared.lifecycle));
        let _ = site.shared.set(Arc::clone(&rig.shared));
        site.lifecycle.begin_serving();
        site
    }

    /// The status and the body of an answer to WINDOW.MGET's question.
    fn ask(site: &Site, request: axum::http::request::Builder, body: Body) -> (u16, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let request = request.body(body).unwrap();
            let response = windows(State(site.clone()), request).await;
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
    }

    fn post(site: &Site, body: impl Into<Body>) -> (u16, String) {
        ask(site, Request::builder(), body.into())
    }

    #[test]
    fn windows_are_read_and_counted() {
        let mut rig = Rig::new();
        rig.talk(&[VIEW, ADD].concat());
        let site = site(&rig);
        let expected = (200, "{\"values\":[[1,5],[0,null]]}\n".to_owned());
        let before = rig.shared.metrics.commands(crate::family::Family::Window, Ending::Answered);
        assert_eq!(post(&site, ASK), expected);
        assert_eq!(post(&site, ASK), expected, "through the plan of the first");
        let after = rig.shared.metrics.commands(crate::family::Family::Window, Ending::Answered);
        assert_eq!(after - before, 2);
        assert_eq!(rig.shared.buffers.used(), 0, "the bytes of the bodies are given back");
    }

    #[test]
    fn what_is_not_in_memory_is_read_from_disk() {
        let (mut rig, _disk) = Rig::without_memory();
        rig.talk(&[VIEW, ADD].concat());
        while rig.shared.reader.snapshot().info().overlay_tiles != 0 {
            std::thread::yield_now();
        }
        let (status, body) = post(&site(&rig), ASK);
        assert_eq!((status, body.as_str()), (200, "{\"values\":[[1,5],[0,null]]}\n"));
        assert_eq!(rig.shared.metrics.cold.latency.snapshot().count(), 1);
    }

    #[test]
    fn nothing_is_answered_before_recovery_has_ended_nor_during_a_shutdown() {
        let mut rig = Rig::new();
        rig.talk(VIEW);
        let recovering = Site::new(Arc::new(crate::lifecycle::Lifecycle::new()));
        let (status, body) = post(&recovering, ASK);
        assert!(status == 503 && body.contains("\"LOADING\""), "{status} {body}");
        let site = site(&rig);
        assert_eq!(post(&site, ASK).0, 200);
        site.lifecycle.begin_shutdown("a test");
        assert_eq!(post(&site, ASK).0, 503);
    }

    #[test]
    fn a_body_has_a_bound_announced_or_not() {
        let rig = Rig::new();
        let site = site(&rig);
        let most = HTTP_BODY_BYTES_MAX.min(rig.shared.config.frame_bytes_max);
        let announced = |bytes: usize| {
            let request = Request::builder().header(header::CONTENT_LENGTH, bytes);
            ask(&site, request, Body::from(vec![b' '; bytes]))
        };
        assert_eq!(announced(most).0, 400, "read whole, and no JSON");
        let (status, body) = announced(most + 1);
        assert!(status == 413 && body.contains("\"LIMIT\""), "{status} {body}");
        assert_eq!(post(&site, vec![b' '; most]).0, 400);
        assert_eq!(post(&site, vec![b' '; most + 1]).0, 413);
        assert_eq!(rig.shared.buffers.used(), 0);
        rig.shared.buffers.take(rig.shared.buffers.bytes_max());
        let (status, body) = post(&site, ASK);
        assert!(status == 503 && body.contains("\"retry_ms\":100"), "{status} {body}");
    }

    #[test]
    fn the_password_opens_as_it_does_for_resp() {
        let rig = Rig::with_password("se:cret");
        let site = site(&rig);
        let with = |header: &str| {
            let request = Request::builder().header(header::AUTHORIZATION, header);
            let (status, body) = ask(&site, request, Body::from(ASK));
            (status, body.contains("\"WRONGPASS\""))
        };
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let (status, body) = post(&site, ASK);
        assert!(status == 401 && body.contains("\"NOAUTH\""), "{status} {body}");
        for wrong in [
            basic("default:se:cre"),
            basic("nobody:se:cret"),
            basic("se:cret"),
            "Bearer secret".to_owned(),
            "Digest se:cret".to_owned(),
            "se:cret".to_owned(),
        ] {
            assert_eq!(with(&wrong), (401, true), "{wrong}");
        }
        for right in [basic("default:se:cret"), basic(":se:cret"), "bearer se:cret".to_owned()] {
            assert_eq!(with(&right), (404, false), "{right}: let in, and there is no view");
        }
    }

    #[test]
    fn idle_plans_are_bounded() {
        let pool = PlanPool::default();
        for _ in 0..HTTP_READ_THREAD_COUNT_MAX + 1 {
            pool.give_back(Plans::default());
        }
        assert_eq!(pool.0.lock().len(), HTTP_READ_THREAD_COUNT_MAX);
    }
}

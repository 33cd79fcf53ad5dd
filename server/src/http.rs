//! The HTTP port: `/metrics`, `/healthz`, `/readyz`, reads of features, and a page that names them.
//! It runs in a thread of its own from before recovery until the process ends, so that it answers
//! at any time.

mod answer;
mod features;
mod question;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;

use crate::exposition;
use crate::lifecycle::{Lifecycle, Stage};
use crate::limits::HTTP_READ_THREAD_COUNT_MAX;
use crate::shared::Shared;
use crate::signals;

use features::PlanPool;

/// What the pages are made from. The shared state appears once recovery has ended.
#[derive(Clone)]
pub(crate) struct Site {
    /// Where the process stands.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Everything else, once there is something.
    pub(crate) shared: Arc<OnceLock<Arc<Shared>>>,
    /// What reads of features were planned as.
    pub(crate) plans: Arc<PlanPool>,
}

impl Site {
    /// A site of a process that has yet to recover.
    pub(crate) fn new(lifecycle: Arc<Lifecycle>) -> Self {
        Self { lifecycle, shared: Arc::default(), plans: Arc::default() }
    }
}

/// Binds the port. Port 0 picks a free one.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Starts the thread, which also watches for signals.
pub(crate) fn start(listener: TcpListener, site: Site) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("http-read")
        .max_blocking_threads(HTTP_READ_THREAD_COUNT_MAX)
        .build()?;
    std::thread::Builder::new().name("http".to_owned()).spawn(move || {
        let ended = runtime.block_on(serve(listener, site));
        if let Err(error) = ended {
            tracing::error!(%error, "serve HTTP");
        }
    })?;
    Ok(())
}

async fn serve(listener: TcpListener, site: Site) -> std::io::Result<()> {
    signals::watch(Arc::clone(&site.lifecycle))?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router(site)).await
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .merge(features::routes())
        .with_state(site)
}

async fn front() -> Html<&'static str> {
    Html(FRONT)
}

async fn ready(State(site): State<Site>) -> (StatusCode, &'static str) {
    match site.lifecycle.stage() {
        Stage::Recovering => (StatusCode::SERVICE_UNAVAILABLE, "recovering\n"),
        Stage::Serving => (StatusCode::OK, "ready\n"),
        Stage::Draining => (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n"),
    }
}

async fn metrics(State(site): State<Site>) -> axum::response::Response {
    let Some(shared) = site.shared.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "recovering\n").into_response();
    };
    match exposition::render(shared) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const FRONT: &str = "<!doctype html><meta charset=utf-8><title>TileKV</title>\
    <style>body{font:16px/1.5 system-ui;max-width:40em;margin:4em auto}</style>\
    <h1>TileKV</h1><p>This port tells how the server is, and answers reads in JSON; other clients \
    use the other one.\
    <ul><li><a href=/metrics>/metrics</a>: every number, for Prometheus\
    <li><a href=/healthz>/healthz</a>: 200 while the process lives\
    <li><a href=/readyz>/readyz</a>: 200 while it serves, 503 while it recovers or shuts down\
    <li>POST /v1/features/windows and /v1/features/services/name: docs/http.md</ul>\
    <p>The manual is docs/operations.md in the source.";

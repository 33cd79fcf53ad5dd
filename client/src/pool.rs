//! The connections of a client: opened when needed, opened anew after they ended. Knows nothing
//! of requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use crate::connection::Connection;
use crate::driver;
use crate::error::ClientError;
use crate::options::ClientOptions;

/// All connections of one client. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Pool {
    options: Arc<ClientOptions>,
    slots: Vec<Arc<Slot>>,
    next: AtomicUsize,
}

/// The place of one connection.
#[derive(Debug)]
struct Slot {
    /// Guards which connection stands here; never held while one is opened.
    state: Mutex<SlotState>,
}

#[derive(Debug)]
enum SlotState {
    Idle,
    Opening(watch::Receiver<Option<Opened>>),
    Open(Arc<Connection>),
}

/// What the attempts to open a connection came to.
type Opened = Result<Arc<Connection>, ClientError>;

impl Pool {
    /// A pool of validated options; nothing is opened yet.
    pub(crate) fn new(options: ClientOptions) -> Self {
        let slot = || {
            let state = Mutex::new(SlotState::Idle);
            Arc::new(Slot { state })
        };
        Self {
            slots: (0..options.connection_count).map(|_| slot()).collect(),
            options: Arc::new(options),
            next: AtomicUsize::new(0),
        }
    }

    pub(crate) fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// The index of the next connection in turn.
    pub(crate) fn next_index(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()
    }

    /// The connection at an index, opened if it is not open. Whoever asks meanwhile waits for the
    /// same attempts.
    pub(crate) async fn connection(&self, index: usize) -> Opened {
        let slot = &self.slots[index % self.slots.len()];
        let mut opening = match slot.look(&self.options) {
            Look::Open(connection) => return Ok(connection),
            Look::Opening(opening) => opening,
        };
        match opening.wait_for(Option::is_some).await {
            Ok(opened) => opened.clone().unwrap_or_else(|| Err(stopped(&self.options))),
            Err(_) => Err(stopped(&self.options)),
        }
    }

    /// The connections that are open now.
    pub(crate) fn open_connections(&self) -> Vec<Arc<Connection>> {
        let open = |slot: &Arc<Slot>| match &*slot.state() {
            SlotState::Open(connection) => Some(Arc::clone(connection)),
            SlotState::Idle | SlotState::Opening(_) => None,
        };
        self.slots.iter().filter_map(open).collect()
    }
}

enum Look {
    Open(Arc<Connection>),
    Opening(watch::Receiver<Option<Opened>>),
}

impl Slot {
    fn look(self: &Arc<Self>, options: &Arc<ClientOptions>) -> Look {
        let mut state = self.state();
        match &*state {
            SlotState::Open(connection) if !connection.has_ended() => {
                return Look::Open(Arc::clone(connection));
            }
            // A sender that is gone without a word belonged to a runtime that was shut down.
            SlotState::Opening(opening) if opening.has_changed().is_ok() => {
                return Look::Opening(opening.clone());
            }
            SlotState::Open(_) | SlotState::Opening(_) | SlotState::Idle => {}
        }
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(open(Arc::downgrade(self), Arc::clone(options), sender));
        *state = SlotState::Opening(receiver.clone());
        Look::Opening(receiver)
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for connection in self.open_connections() {
            connection.lose(std::io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// Attempts to connect by the schedule until one succeeds, none is left, or nobody can want the
/// connection any more.
async fn open(
    slot: Weak<Slot>,
    options: Arc<ClientOptions>,
    sender: watch::Sender<Option<Opened>>,
) {
    let opened = attempt(&slot, &options).await;
    let Some(slot) = slot.upgrade() else {
        if let Ok(connection) = opened {
            connection.lose(std::io::ErrorKind::ConnectionAborted.into());
        }
        return;
    };
    *slot.state() = match &opened {
        Ok(connection) => SlotState::Open(Arc::clone(connection)),
        Err(_) => SlotState::Idle,
    };
    sender.send_replace(Some(opened));
}

async fn attempt(slot: &Weak<Slot>, options: &ClientOptions) -> Opened {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match driver::open(options).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let delay = options.backoff.delay_after(attempts);
        let is_wanted = slot.strong_count() > 0;
        match delay.filter(|_| is_wanted && error.is_transient()) {
            Some(delay) => tokio::time::sleep(delay).await,
            None => return Err(failed(options, attempts, error)),
        }
    }
}

/// A failure below the protocol gets the address and the number of attempts.
fn failed(options: &ClientOptions, attempts: usize, error: ClientError) -> ClientError {
    match error {
        ClientError::Lost { problem, .. } => {
            ClientError::Connect { address: options.address.clone(), attempts, problem }
        }
        other => other,
    }
}

fn stopped(options: &ClientOptions) -> ClientError {
    ClientError::Connect {
        address: options.address.clone(),
        attempts: 0,
        problem: Arc::new(std::io::Error::other("the runtime was shut down")),
    }
}

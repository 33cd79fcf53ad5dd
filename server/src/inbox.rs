//! What waits for one connection on its network thread: deliveries of other threads, and notes of
//! the thread's own sweep. Knows nothing of sockets.

use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Instant;

use crate::delivery::Delivery;

/// Shared by the connection's task and its thread, which never run at the same time.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    deliveries: RefCell<Vec<Delivery>>,
    waker: RefCell<Option<Waker>>,
    /// When the command that is arriving must be whole.
    pub(crate) frame_deadline: Cell<Option<Instant>>,
    /// Since when the client has not read what waits for it.
    pub(crate) output_blocked: Cell<Option<Instant>>,
    /// Whether the connection closes once its replies are written.
    pub(crate) is_closing: Cell<bool>,
    /// Whether the connection waits for memory that others hold.
    pub(crate) waits_for_memory: Cell<bool>,
    expired: Cell<Option<Expiry>>,
}

/// Why the sweep wants a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// A command did not arrive in time.
    Frame,
    /// The client did not read its replies while memory was short or its connection was to close.
    Output,
}

impl Inbox {
    /// Puts a delivery in and wakes the connection.
    pub(crate) fn deliver(&self, delivery: Delivery) {
        self.deliveries.borrow_mut().push(delivery);
        self.wake();
    }

    /// Takes what was delivered, leaving the emptied list in its place for reuse.
    pub(crate) fn take(&self, into: &mut Vec<Delivery>) {
        into.clear();
        std::mem::swap(&mut *self.deliveries.borrow_mut(), into);
    }

    /// Whether something was delivered.
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.deliveries.borrow().is_empty()
    }

    /// Remembers whom to wake.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }

    /// Wakes the connection.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Orders the connection to close.
    pub(crate) fn expire(&self, expiry: Expiry) {
        self.expired.set(Some(expiry));
        self.wake();
    }

    /// Why the sweep wants the connection closed, if it does.
    pub(crate) fn expired(&self) -> Option<Expiry> {
        self.expired.get()
    }
}

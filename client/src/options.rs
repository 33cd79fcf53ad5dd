//! How a client connects and how long it waits. Knows nothing of what is asked.

use std::time::Duration;

use bytes::Bytes;
use tilekv_protocol::Credentials;

use crate::backoff::Backoff;
use crate::error::ClientError;
use crate::limits::CONNECTION_COUNT_MAX;

/// All settings of a client. [`ClientOptions::new`] gives the values that each field states.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Host and port, such as `127.0.0.1:8453`. Names are resolved at each attempt to connect.
    pub address: String,
    /// User and password; none by default. Without a user name, the default user is meant.
    pub credentials: Option<Credentials>,
    /// The name in the server's list of clients; `tilekv-client` by default, may be empty.
    pub client_name: Bytes,
    /// How many connections are opened, each when it is first needed; 1 by default. Requests are
    /// pipelined, so that more than one pays only where one core of the server is not enough.
    pub connection_count: usize,
    /// How long one attempt to connect may take, the greeting included; 2 seconds by default.
    pub connect_timeout: Duration,
    /// How long one request may wait for its answer; 10 seconds by default.
    pub request_timeout: Duration,
    /// The waits between attempts to connect, and before something lost is sent again; by default
    /// eight, from 50 ms, doubled, to at most 2 s: 9 seconds together.
    pub backoff: Backoff,
}

impl ClientOptions {
    /// The options that the fields state, for a server at this address.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            credentials: None,
            client_name: Bytes::from_static(b"tilekv-client"),
            connection_count: 1,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            backoff: Backoff::exponential(Duration::from_millis(50), Duration::from_secs(2), 8),
        }
    }

    /// The same options with a password for the default user.
    pub fn with_password(mut self, password: impl Into<Bytes>) -> Self {
        let password = password.into();
        let user = None;
        self.credentials = Some(Credentials { user, password });
        self
    }

    /// The same options with so many connections.
    pub fn with_connections(mut self, connection_count: usize) -> Self {
        self.connection_count = connection_count;
        self
    }

    /// The same options with this schedule of waits.
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The same options with this time-out of a request.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Refuses what cannot work, naming it.
    pub(crate) fn validate(&self) -> Result<(), ClientError> {
        let refuse = |problem: String| Err(ClientError::Options { problem });
        if !(1..=CONNECTION_COUNT_MAX).contains(&self.connection_count) {
            let found = self.connection_count;
            return refuse(format!("{found} connections: expected 1 to {CONNECTION_COUNT_MAX}"));
        }
        for (name, timeout) in
            [("connect_timeout", self.connect_timeout), ("request_timeout", self.request_timeout)]
        {
            if timeout.is_zero() {
                return refuse(format!("{name} of zero: expected more"));
            }
        }
        if !self.address.contains(':') {
            let address = &self.address;
            return refuse(format!("address \"{address}\": expected host:port"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_values_are_sound() {
        let options = ClientOptions::new("127.0.0.1:8453");
        options.validate().unwrap();
        assert_eq!(options.backoff.delays().len(), 8);
        assert!(options.backoff.total() < Duration::from_secs(10));
    }

    #[test]
    fn what_cannot_work_is_named() {
        let refused = |options: ClientOptions| options.validate().unwrap_err().to_string();
        let sound = || ClientOptions::new("127.0.0.1:8453");
        assert!(refused(sound().with_connections(0)).contains("0 connections"));
        let most = CONNECTION_COUNT_MAX;
        sound().with_connections(most).validate().unwrap();
        assert!(refused(sound().with_connections(most + 1)).contains("connections"));
        let timeout = sound().with_request_timeout(Duration::ZERO);
        assert!(refused(timeout).contains("request_timeout"));
        assert!(refused(ClientOptions::new("localhost")).contains("\"localhost\""));
    }
}

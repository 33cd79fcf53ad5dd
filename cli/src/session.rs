//! Opens the way to the server, and measures it. Knows nothing of views.

use std::time::Duration;

use tilekv_client::blocking::Client;
use tilekv_client::{Backoff, ClientOptions, Credentials};

use crate::arguments::{Ping, Server};
use crate::failure::CliError;
use crate::limits::{RETRY_DELAY_FIRST, RETRY_DELAY_MAX};
use crate::terminal::say;

/// Connects; tries for as long as `--retry` says, or else for so many seconds.
pub(crate) fn connect(server: &Server, retry_seconds: u64) -> Result<Client, CliError> {
    let mut options = ClientOptions::new(server.server.as_str());
    options.client_name = "tilekv".into();
    options.request_timeout = Duration::from_secs(server.timeout);
    options.backoff = backoff(Duration::from_secs(server.retry.unwrap_or(retry_seconds)));
    options.credentials = server.password.as_ref().map(|password| Credentials {
        user: server.user.clone().map(Into::into),
        password: password.clone().into(),
    });
    Ok(Client::connect(options)?)
}

pub(crate) fn ping(server: &Server, ping: &Ping) -> Result<(), CliError> {
    let client = connect(server, 0)?;
    let mut times = Vec::new();
    for _ in 0..ping.count {
        times.push(client.ping()?);
    }
    times.sort_unstable();
    let name = client.server()?;
    let place = times.len() / 2;
    let middle = times.get(place).copied().unwrap_or_default();
    say(format_args!("{name} at {}: {:.3} ms", server.server, millis(middle)))?;
    if let (Some(least), Some(most), true) = (times.first(), times.last(), ping.count > 1) {
        let (least, most) = (millis(*least), millis(*most));
        say(format_args!("median of {}, from {least:.3} to {most:.3} ms", ping.count))?;
    }
    Ok(())
}

/// A duration as milliseconds with a fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Delays that add up to about a total.
fn backoff(total: Duration) -> Backoff {
    let mut delays = Vec::new();
    let (mut sum, mut next) = (Duration::ZERO, RETRY_DELAY_FIRST);
    while sum < total {
        delays.push(next.min(total - sum));
        sum += next;
        next = (next * 2).min(RETRY_DELAY_MAX);
    }
    Backoff::from_delays(delays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_to_the_time_asked_for() {
        assert!(backoff(Duration::ZERO).delays().is_empty());
        for seconds in [1, 7, 60] {
            let total = Duration::from_secs(seconds);
            assert_eq!(backoff(total).total(), total);
        }
    }
}

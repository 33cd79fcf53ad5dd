//! Listening sockets: one per network thread on one shared port, so that the kernel deals
//! connections out and none crosses a core. Knows nothing of what is spoken on them.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use crate::limits::{KEEPALIVE_COUNT, KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, LISTEN_BACKLOG};

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another with {flag} (0 picks a free one)")]
pub(crate) struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    source: std::io::Error,
}

/// Sockets bound to one port and not yet listening, so that the port is ours before recovery
/// starts and clients are refused until it has ended.
pub(crate) struct BoundSockets {
    sockets: Vec<Socket>,
    address: SocketAddr,
}

impl BoundSockets {
    /// Binds `count` sockets to the address; port 0 picks one free port for all of them. `flag`
    /// names the setting in an error.
    pub(crate) fn bind(
        address: SocketAddr,
        count: usize,
        flag: &'static str,
    ) -> Result<Self, ListenError> {
        let fail = |source| ListenError { address, flag, source };
        assert_port_unused(address).map_err(fail)?;
        let first = bind_shared(address).map_err(fail)?;
        let address = local_address(&first).map_err(fail)?;
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(bind_shared(address).map_err(fail)?);
        }
        Ok(Self { sockets, address })
    }

    /// The address with the port that was picked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen: one listener per socket.
    pub(crate) fn listen(self) -> std::io::Result<Vec<TcpListener>> {
        self.sockets
            .into_iter()
            .map(|socket| socket.listen(LISTEN_BACKLOG).map(|()| TcpListener::from(socket)))
            .collect()
    }
}

/// Sets what every accepted connection needs: no delay of small replies, and probes that find a
/// peer that has gone without a word.
pub(crate) fn prepare_connection(stream: &tokio::net::TcpStream) -> std::io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(KEEPALIVE_IDLE_S))
        .with_interval(Duration::from_secs(KEEPALIVE_INTERVAL_S))
        .with_retries(KEEPALIVE_COUNT);
    stream.set_nodelay(true)?;
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Sockets that share a port would silently share it with another server as well; binding once
/// without sharing finds that out.
fn assert_port_unused(address: SocketAddr) -> std::io::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let probe = new_socket(address)?;
    probe.bind(&address.into())
}

fn bind_shared(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = new_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn new_socket(address: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn local_address(socket: &Socket) -> std::io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| std::io::Error::other("bound socket has no IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_share_a_picked_port_and_nobody_else_may() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound = BoundSockets::bind(any, 3, "--port").unwrap();
        let address = bound.address();
        assert_ne!(address.port(), 0);
        let listeners = bound.listen().unwrap();
        assert_eq!(listeners.len(), 3);
        let error = BoundSockets::bind(address, 1, "--port").map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("--port"), "{error}");
    }
}

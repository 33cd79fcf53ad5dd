//! Much at once: pipelines written whole before a reply is read, thousands of idle connections,
//! clients that announce much or read nothing. Everything is answered and memory stays bounded.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tilekv_tests::native::{PREAMBLE, frame, kind};
use tilekv_tests::patience::{DEADLINE, wait_until};
use tilekv_tests::resp::{RespClient, RespReply, command, push_command};
use tilekv_tests::server_process::{ServerCommand, ServerProcess};

const VIEW: &str = "VIEW.CREATE v TILE 1m EDGE live COLUMNS 1 i:i64 FEATURES 2 n=count() s=sum(i)";
const MEBIBYTE: u64 = 1 << 20;

fn start(folder: &tempfile::TempDir) -> (ServerProcess, RespClient) {
    let server = ServerCommand::new(folder.path()).start();
    let mut client = RespClient::connect(server.address());
    assert_eq!(client.call(VIEW).to_string(), "+OK");
    (server, client)
}

/// How far memory has risen above `before` since the peak was reset.
fn growth(server: &ServerProcess, before: u64) -> u64 {
    server.peak_bytes().saturating_sub(before)
}

#[test]
fn a_pipeline_of_300_000_commands_is_answered_in_order_once_it_is_written() {
    const BLOCKS: u64 = 600;
    const BLOCK: u64 = 250;
    const ENTITIES: u64 = 16;
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    let mut commands = Vec::new();
    let mut expected = Vec::new();
    let mut state = vec![(0, 0); usize::try_from(ENTITIES).unwrap()];
    for number in 0..BLOCKS * BLOCK {
        let entity = format!("e{}", number % ENTITIES);
        let value = number.to_string();
        push_command(&["TILE.ADD", "v", &entity, "60000", "i", &value], &mut commands);
        let (count, sum) = &mut state[usize::try_from(number % ENTITIES).unwrap()];
        (*count, *sum) = (*count + 1, *sum + number);
        expected.push(":1".to_owned());
        if (number + 1) % BLOCK == 0 {
            for read in 0..BLOCK {
                let (count, sum) = state[usize::try_from(read % ENTITIES).unwrap()];
                let entity = format!("e{}", read % ENTITIES);
                let words = ["WINDOW.GET", "v", &entity, "n@lifetime", "s@lifetime"];
                push_command(&words, &mut commands);
                expected.push(format!("[:{count} :{sum}]"));
            }
        }
    }
    assert_eq!(expected.len(), 300_000);
    server.reset_peak();
    let before = server.resident_bytes();
    client.send(&commands);
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(client.receive().to_string(), *expected, "reply {number}");
    }
    let growth = growth(&server, before);
    println!("300,000 writes and reads in one pipeline: +{} MiB at most", growth / MEBIBYTE);
    assert!(growth < 48 * MEBIBYTE, "{growth} bytes");
}

#[test]
fn a_pipeline_of_300_000_pings_is_answered_once_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    server.reset_peak();
    let before = server.resident_bytes();
    for line in ["PING\r\n", "*1\r\n$4\r\nPING\r\n"] {
        client.send(line.repeat(300_000).as_bytes());
        for number in 0..300_000 {
            assert_eq!(client.receive(), RespReply::Simple("PONG".to_owned()), "reply {number}");
        }
    }
    let growth = growth(&server, before);
    println!("300,000 pings in one pipeline: +{} MiB at most", growth / MEBIBYTE);
    assert!(growth < 32 * MEBIBYTE, "{growth} bytes");
}

#[test]
fn ten_thousand_idle_connections_take_16_kib_each_at_most() {
    const CONNECTIONS: u64 = 10_000;
    raise_descriptor_limit(CONNECTIONS + 1_000);
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    let before = server.resident_bytes();
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        idle.push(if number % 2 == 0 {
            spoken_resp(server.address())
        } else {
            spoken_native(server.address())
        });
        if number % 500 == 0 {
            assert_eq!(client.call("TILE.ADD v e 60000 i 1").to_string(), ":1");
        }
    }
    let each = server.resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!("{CONNECTIONS} idle connections: {each} bytes each");
    assert!(each <= 16 * 1024, "{each} bytes each");
    assert_eq!(client.call("WINDOW.GET v e n@lifetime").to_string(), "[:20]");
    let count = client.call("INFO clients");
    assert!(count.text().contains("connected_clients:10001"), "{count}");
    drop(idle);
    wait_until("the connections are gone", || {
        client.call("INFO clients").text().contains("connected_clients:1\r\n")
    });
}

/// A connection over which a few commands went, since an idle one has seldom always been so.
fn spoken_resp(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"PING\r\nWINDOW.GET v e n@lifetime s@7d AT 60000\r\nPING\r\n").unwrap();
    let mut replies = Vec::new();
    while !replies.ends_with(b"+PONG\r\n") || replies.len() < 16 {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        replies.extend(byte);
    }
    stream
}

fn spoken_native(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&PREAMBLE).unwrap();
    stream.write_all(&frame(kind::HELLO, 0, 1, &[0; 8])).unwrap();
    stream.write_all(&frame(kind::PING, 0, 2, b"last")).unwrap();
    let mut replies = Vec::new();
    while !replies.ends_with(b"last") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        replies.extend(byte);
    }
    stream
}

fn raise_descriptor_limit(wanted: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| wanted <= current) {
        return;
    }
    assert!(maximum.is_none_or(|maximum| wanted <= maximum), "raise ulimit -Hn to {wanted}");
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).unwrap();
}

#[test]
fn frames_that_are_announced_take_no_memory_before_they_arrive() {
    const CONNECTIONS: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    server.reset_peak();
    let before = server.resident_bytes();
    let resp: &[u8] = b"*2\r\n$4\r\nECHO\r\n$33000000\r\nthe beginning";
    let native = [&PREAMBLE[..], &frame(kind::HELLO, 0, 1, &[0; 8]), &[0, 0, 0xF0, 1]].concat();
    let mut announced = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(if number % 2 == 0 { resp } else { &native }).unwrap();
        announced.push(stream);
    }
    assert_eq!(client.call("PING").to_string(), "+PONG");
    let connected = format!("connected_clients:{}", CONNECTIONS + 1);
    wait_until("all connections are open", || {
        client.call("INFO clients").text().contains(&connected)
    });
    let growth = growth(&server, before);
    println!("{CONNECTIONS} announced frames of 32 MB: +{} MiB at most", growth / MEBIBYTE);
    assert!(growth < 64 * MEBIBYTE, "{growth} bytes");
}

#[test]
fn a_client_that_never_reads_is_bounded_and_others_are_served() {
    const READS: usize = 3_000;
    const ENTITIES: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let (server, mut client) = start(&folder);
    let mut read = format!("WINDOW.MGET v ENTITIES {ENTITIES}");
    (0..ENTITIES).for_each(|entity| read += &format!(" e{entity}"));
    read += " SELECTORS 6 n@1h n@2h n@3h n@4h n@5h n@6h";
    let expected = client.call(&read);
    let mut deaf = RespClient::connect(server.address());
    server.reset_peak();
    let before = server.resident_bytes();
    let one = command(&read.split(' ').collect::<Vec<_>>());
    let mut sender = deaf.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || (0..READS).for_each(|_| sender.write_all(&one).unwrap()));
        wait_until("replies wait up to the limit", || 40 * MEBIBYTE < buffered(&server));
        for number in 0..1_000 {
            assert_eq!(client.call("TILE.ADD w e 60000 i 1").code(), "NOVIEW", "{number}");
            assert_eq!(client.call("PING").to_string(), "+PONG");
        }
        let growth = growth(&server, before);
        println!("a client that reads nothing: +{} MiB at most", growth / MEBIBYTE);
        assert!(growth < 64 * MEBIBYTE, "{growth} bytes");
        for number in 0..READS {
            assert_eq!(deaf.receive(), expected, "reply {number}");
        }
    });
}

/// Bytes of replies that wait, as the server tells.
fn buffered(server: &ServerProcess) -> u64 {
    let (_, page) = server.http("/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix("tilekv_buffers_bytes "));
    line.and_then(|value| value.parse().ok()).unwrap_or(0)
}

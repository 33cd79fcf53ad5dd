//! TileKV through redis-rs as it is, in RESP2 and RESP3: `redis-rs-smoke port`. Any difference
//! from what is expected ends it with an error.

use std::collections::HashMap;

use redis::{Client, Commands, Connection, RedisResult, cmd, pipe};

fn main() -> RedisResult<()> {
    let port = std::env::args().nth(1).unwrap_or_default();
    for protocol in ["resp2", "resp3"] {
        let address = format!("redis://127.0.0.1:{port}/0?protocol={protocol}");
        let mut connection = Client::open(address)?.get_connection()?;
        cmd("FLUSHDB").exec(&mut connection)?;
        records(&mut connection)?;
        windows(&mut connection, &format!("rs_{protocol}"))?;
        let refused: RedisResult<()> = cmd("CLUSTER").arg("SLOTS").query(&mut connection);
        let refused = refused.map_err(|error| error.to_string());
        assert!(refused.is_err_and(|text| text.contains("unknown command")));
    }
    println!("redis-rs 1.8.1");
    Ok(())
}

fn records(connection: &mut Connection) -> RedisResult<()> {
    connection.hset_multiple::<_, _, _, ()>("u:1", &[("name", "Ada"), ("visits", "1")])?;
    assert_eq!(connection.hincr::<_, _, _, i64>("u:1", "visits", 2)?, 3);
    let all: HashMap<String, String> = connection.hgetall("u:1")?;
    assert_eq!((all["name"].as_str(), all["visits"].as_str(), all.len()), ("Ada", "3", 2));
    let (kept, read): (bool, Option<Vec<u8>>) =
        pipe().atomic().set("k", b"\x00\xff").get("k").query(connection)?;
    assert!(kept && read.as_deref() == Some(&b"\x00\xff"[..]));
    let mut keys: Vec<String> = connection.scan()?.collect::<RedisResult<_>>()?;
    keys.sort();
    assert_eq!(keys, ["k", "u:1"]);
    Ok(())
}

fn windows(connection: &mut Connection, view: &str) -> RedisResult<()> {
    let define =
        format!("VIEW.CREATE {view} TILE 1h COLUMNS 1 x:f64 FEATURES 2 n=count() s=sum(x)");
    let mut command = redis::Cmd::new();
    for word in define.split(' ') {
        command.arg(word);
    }
    command.exec(connection)?;
    let row: i64 =
        cmd("TILE.ADD").arg(view).arg("e").arg(3_600_000).arg("x").arg(2.5).query(connection)?;
    assert_eq!(1, row);
    let mut read = cmd("WINDOW.GET");
    let read: (i64, f64) = read
        .arg(view)
        .arg("e")
        .arg("n@1h")
        .arg("s@1h")
        .arg("AT")
        .arg(7_200_000)
        .query(connection)?;
    assert_eq!(read, (1, 2.5));
    Ok(())
}

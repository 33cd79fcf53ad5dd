//! What a person sees on standard output when the server has started.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::Config;
use crate::durability;

/// What the banner tells beyond the configuration.
pub(crate) struct Started<'a> {
    /// Address with the port that was picked.
    pub(crate) address: SocketAddr,
    /// The same for HTTP.
    pub(crate) http_address: SocketAddr,
    /// Absolute path of the data.
    pub(crate) data_dir: &'a Path,
}

/// Writes the banner; a closed standard output is no failure.
pub(crate) fn print(config: &Config, started: &Started<'_>) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(render(config, started).as_bytes());
    let _ = output.flush();
}

fn render(config: &Config, started: &Started<'_>) -> String {
    let port = started.address.port();
    let host = match started.address.ip() {
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        ip => ip.to_string(),
    };
    let password = if config.password.is_some() { " --askpass" } else { "" };
    let cli = format!("redis-cli -h {host} -p {port}{password}");
    format!(
        "\n  TileKV {version}\n\n  \
         clients     {address} (RESP2, RESP3 and the native protocol)\n  \
         page        http://{http}/ (metrics, health; the manual is docs/operations.md)\n  \
         data        {data}\n  \
         durability  {durability}: {promise}\n\n  \
         Try it:\n    \
         {cli} VIEW.CREATE clicks TILE 1m COLUMNS 1 price:f64 \
         FEATURES 2 n='count()' spent='sum(price)'\n    \
         {cli} TILE.ADD clicks u:42 $(date +%s000) price 9.5\n    \
         {cli} WINDOW.GET clicks u:42 n@7d spent@7d EDGE live\n\n",
        version = env!("CARGO_PKG_VERSION"),
        address = started.address,
        http = started.http_address,
        data = started.data_dir.display(),
        durability = durability::name(config.durability),
        promise = durability::promise(config.durability, config.interval),
    )
}

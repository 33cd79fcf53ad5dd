//! One validated configuration, made from the raw settings. What it holds needs no further
//! checks. Knows nothing of where a value came from but to name it in an error.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tilekv_engine::disk::Durability;

use crate::limits::PASSWORD_BYTES_MAX;
use crate::settings::{self, Layer, RawSettings, SETTINGS};
use crate::size;

/// Everything that an operator decides, validated.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Address and port of the native protocol and of RESP; port 0 picks a free one.
    pub(crate) address: SocketAddr,
    /// Address and port of HTTP.
    pub(crate) http_address: SocketAddr,
    /// Folder of the data.
    pub(crate) data_dir: PathBuf,
    /// When an acknowledged write is safe.
    pub(crate) durability: Durability,
    /// Time between two syncs with interval durability.
    pub(crate) interval: Duration,
    /// Budget of tiles, indexes and caches in memory.
    pub(crate) memory_bytes_max: usize,
    /// Network threads.
    pub(crate) thread_count: usize,
    /// Threads that read pages of cold segments.
    pub(crate) cold_read_thread_count: usize,
    /// Password of the user `default`, if clients need one.
    pub(crate) password: Option<String>,
    /// Client connections at the same time.
    pub(crate) connection_count_max: usize,
    /// Size of one command or frame.
    pub(crate) frame_bytes_max: usize,
    /// Time from a command's first byte to its last.
    pub(crate) frame_timeout: Duration,
    /// Waiting replies of one connection.
    pub(crate) output_bytes_max: usize,
    /// Incomplete commands and waiting replies of all connections.
    pub(crate) buffers_bytes_max: usize,
    /// Writes of all connections that wait for a commit.
    pub(crate) queue_bytes_max: usize,
    /// Writes of one connection that wait for a commit.
    pub(crate) connection_queue_bytes_max: usize,
    /// Form of the log lines.
    pub(crate) log_format: LogFormat,
    /// Least severe log lines written.
    pub(crate) log_level: tracing::Level,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// An unknown flag, a flag without a value and the like; clap's message says which.
    #[error("{}", .0.to_string().trim_start_matches("error: ").trim_end())]
    CommandLine(clap::Error),
    /// The file cannot be read.
    #[error("cannot read configuration file {path}: {source}")]
    ReadFile {
        /// Path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration file {path} is not valid TOML: {source}")]
    ParseFile {
        /// Path as given.
        path: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A name that is no setting.
    #[error("unknown setting `{name}` in {place}; docs/configuration.md lists all of them")]
    UnknownSetting {
        /// Name as written.
        name: String,
        /// The file or the environment.
        place: String,
    },
    /// A TOML table, array or date in the place of a value.
    #[error("setting `{name}` in file {path} must be a string, a whole number or a boolean")]
    NotPlain {
        /// Name as written.
        name: String,
        /// Path of the file.
        path: String,
    },
    /// A value outside what the setting allows.
    #[error("setting `{name}` ({layer}) is `{found}`; it must be {expected}")]
    BadValue {
        /// Name in the table.
        name: &'static str,
        /// Where the value came from.
        layer: Layer,
        /// The value; never that of a secret.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Two settings that exclude each other.
    #[error("settings `auth_password` and `auth_password_file` exclude each other; give one")]
    TwoPasswords,
    /// The password file cannot be read.
    #[error("cannot read password file {path}: {source}")]
    ReadPassword {
        /// Path as given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An open door.
    #[error(
        "refusing to listen on {address} without authentication: set `auth_password` or \
         `auth_password_file`, bind to a loopback address, or say `--allow-unauthenticated`"
    )]
    Unauthenticated {
        /// The address.
        address: IpAddr,
    },
}

/// Facts of the machine that defaults depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// Cores that the process may run on.
    pub(crate) core_count: usize,
    /// Bytes of memory that the process may use.
    pub(crate) memory_bytes: usize,
}

impl Config {
    /// Validates the raw settings.
    pub(crate) fn from_raw(raw: &RawSettings, machine: Machine) -> Result<Self, ConfigError> {
        let reader = Reader { raw };
        let bind: IpAddr = reader.parse("bind", "an IP address such as 127.0.0.1 or ::1")?;
        let frame_bytes_max = reader.bytes("frame_bytes_max", 64 << 10, 512 << 20)?;
        let config = Self {
            address: SocketAddr::new(bind, reader.parse("port", PORT)?),
            http_address: SocketAddr::new(bind, reader.parse("http_port", PORT)?),
            data_dir: reader.path("data_dir")?,
            durability: reader.durability()?,
            interval: reader.milliseconds("interval_ms", 1, 60_000)?,
            memory_bytes_max: reader.memory(machine)?,
            thread_count: reader.threads(machine)?,
            cold_read_thread_count: reader.count("cold_read_threads", 1, 256)?,
            password: reader.password()?,
            connection_count_max: reader.count("connections_max", 1, 1_000_000)?,
            frame_bytes_max,
            frame_timeout: reader.milliseconds("frame_timeout_ms", 100, 3_600_000)?,
            output_bytes_max: reader.bytes("output_bytes_max", 64 << 10, BYTES_MAX)?,
            buffers_bytes_max: reader.bytes("buffers_bytes_max", 2 * frame_bytes_max, BYTES_MAX)?,
            queue_bytes_max: reader.bytes("queue_bytes_max", frame_bytes_max, BYTES_MAX)?,
            connection_queue_bytes_max: reader.bytes(
                "connection_queue_bytes_max",
                4 << 10,
                BYTES_MAX,
            )?,
            log_format: reader.log_format()?,
            log_level: reader.parse("log_level", "error, warn, info, debug or trace")?,
        };
        let open: bool = reader.parse("allow_unauthenticated", "true or false")?;
        if !bind.is_loopback() && config.password.is_none() && !open {
            return Err(ConfigError::Unauthenticated { address: bind });
        }
        Ok(config)
    }
}

/// The effective values as a TOML file that gives the same ones, each with its origin.
/// Secrets are shown as `"..."`.
pub(crate) fn print_effective(raw: &RawSettings) -> String {
    SETTINGS.iter().map(|setting| print_setting(setting, raw)).collect()
}

fn print_setting(setting: &settings::Setting, raw: &RawSettings) -> String {
    let Some(value) = raw.get(setting.name) else { return String::new() };
    let plain = value.text.parse::<i64>().is_ok() || value.text.parse::<bool>().is_ok();
    let shown = match (setting.is_secret() && !value.text.is_empty(), plain) {
        (true, _) => "\"...\"".to_owned(),
        (false, true) => value.text.clone(),
        (false, false) => toml::Value::String(value.text.clone()).to_string(),
    };
    format!("{} = {shown}  # {}\n", setting.name, value.layer)
}

/// Reads raw settings by name and turns failures into errors that name them.
struct Reader<'a> {
    raw: &'a RawSettings,
}

impl Reader<'_> {
    fn value(&self, name: &'static str) -> &settings::RawValue {
        let Some(value) = self.raw.get(name) else {
            unreachable!("`{name}` is in the table of settings, and every layer starts from it")
        };
        value
    }

    fn bad(&self, name: &'static str, expected: impl Into<String>) -> ConfigError {
        let value = self.value(name);
        let (found, layer) = (value.text.clone(), value.layer.clone());
        ConfigError::BadValue { name, layer, found, expected: expected.into() }
    }

    fn parse<T: std::str::FromStr>(
        &self,
        name: &'static str,
        expected: &str,
    ) -> Result<T, ConfigError> {
        self.value(name).text.parse().map_err(|_| self.bad(name, expected))
    }

    fn count(&self, name: &'static str, least: usize, most: usize) -> Result<usize, ConfigError> {
        let expected = || format!("a whole number from {least} to {most}");
        let number: usize = self.parse(name, &expected())?;
        if (least..=most).contains(&number) { Ok(number) } else { Err(self.bad(name, expected())) }
    }

    fn milliseconds(
        &self,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<Duration, ConfigError> {
        let expected = || format!("milliseconds from {least} to {most}");
        let number: u64 = self.parse(name, &expected())?;
        if !(least..=most).contains(&number) {
            return Err(self.bad(name, expected()));
        }
        Ok(Duration::from_millis(number))
    }

    fn bytes(&self, name: &'static str, least: usize, most: usize) -> Result<usize, ConfigError> {
        let expected = || format!("bytes from {least} to {most}, such as 64MiB");
        let bytes =
            size::parse(&self.value(name).text).ok_or_else(|| self.bad(name, expected()))?;
        if (least..=most).contains(&bytes) { Ok(bytes) } else { Err(self.bad(name, expected())) }
    }

    fn path(&self, name: &'static str) -> Result<PathBuf, ConfigError> {
        let text = &self.value(name).text;
        if text.is_empty() { Err(self.bad(name, "a path")) } else { Ok(PathBuf::from(text)) }
    }

    fn durability(&self) -> Result<Durability, ConfigError> {
        match self.value("durability").text.as_str() {
            "always" => Ok(Durability::Always),
            "interval" => Ok(Durability::Interval),
            "none" => Ok(Durability::None),
            _ => Err(self.bad("durability", "always, interval or none")),
        }
    }

    fn log_format(&self) -> Result<LogFormat, ConfigError> {
        match self.value("log_format").text.as_str() {
            "text" => Ok(LogFormat::Text),
            "logfmt" => Ok(LogFormat::Logfmt),
            "json" => Ok(LogFormat::Json),
            _ => Err(self.bad("log_format", "text, logfmt or json")),
        }
    }

    fn memory(&self, machine: Machine) -> Result<usize, ConfigError> {
        if size::parse(&self.value("memory_max").text) == Some(0) {
            return Ok((machine.memory_bytes / 10 * 7).max(MEMORY_BYTES_LEAST));
        }
        self.bytes("memory_max", MEMORY_BYTES_LEAST, BYTES_MAX)
    }

    fn threads(&self, machine: Machine) -> Result<usize, ConfigError> {
        match self.count("threads", 0, 1024)? {
            0 => Ok(machine.core_count.max(1)),
            given => Ok(given),
        }
    }

    fn password(&self) -> Result<Option<String>, ConfigError> {
        let given = &self.value("auth_password").text;
        let path = &self.value("auth_password_file").text;
        match (given.is_empty(), path.is_empty()) {
            (true, true) => Ok(None),
            (false, true) => Ok(Some(given.clone())),
            (true, false) => read_password(self, Path::new(path)).map(Some),
            (false, false) => Err(ConfigError::TwoPasswords),
        }
    }
}

fn read_password(reader: &Reader<'_>, path: &Path) -> Result<String, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::ReadPassword { path: shown, source })?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || line.len() > PASSWORD_BYTES_MAX {
        let expected =
            format!("a file whose first line is a password of 1 to {PASSWORD_BYTES_MAX} bytes");
        return Err(reader.bad("auth_password_file", expected));
    }
    Ok(line.to_owned())
}

const PORT: &str = "a TCP port from 0 to 65535";
const BYTES_MAX: usize = 1 << 50;
const MEMORY_BYTES_LEAST: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RawValue;

    const MACHINE: Machine = Machine { core_count: 2, memory_bytes: 10 << 30 };

    fn raw(given: &[(&'static str, &str)]) -> RawSettings {
        let value = |text: &str| RawValue { text: text.to_owned(), layer: Layer::Default };
        let mut raw: RawSettings =
            SETTINGS.iter().map(|setting| (setting.name, value(setting.default))).collect();
        raw.extend(given.iter().map(|(name, text)| (*name, value(text))));
        raw
    }

    fn load(given: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        Config::from_raw(&raw(given), MACHINE)
    }

    #[test]
    fn defaults_are_valid() {
        let config = load(&[]).unwrap();
        assert_eq!(config.address, "127.0.0.1:8453".parse().unwrap());
        assert_eq!(config.http_address, "127.0.0.1:8454".parse().unwrap());
        assert_eq!(config.durability, Durability::Always);
        assert_eq!(config.thread_count, 2);
        assert_eq!(config.memory_bytes_max, (10 << 30) / 10 * 7);
        assert_eq!(config.frame_bytes_max, 32 << 20);
        assert_eq!(config.log_format, LogFormat::Text);
    }

    #[test]
    fn each_limit_holds_on_both_sides() {
        let cases: &[(&'static str, &str, bool)] = &[
            ("interval_ms", "0", false),
            ("interval_ms", "1", true),
            ("interval_ms", "60000", true),
            ("interval_ms", "60001", false),
            ("threads", "1024", true),
            ("threads", "1025", false),
            ("port", "65535", true),
            ("port", "65536", false),
            ("port", "-1", false),
            ("frame_bytes_max", "65535", false),
            ("frame_bytes_max", "64KiB", true),
            ("output_bytes_max", "65535", false),
            ("output_bytes_max", "65536", true),
            ("queue_bytes_max", "31MiB", false),
            ("queue_bytes_max", "32MiB", true),
            ("buffers_bytes_max", "63MiB", false),
            ("buffers_bytes_max", "64MiB", true),
            ("connections_max", "0", false),
            ("connections_max", "1", true),
            ("memory_max", "33554431", false),
            ("memory_max", "33554432", true),
            ("durability", "sometimes", false),
            ("log_format", "xml", false),
            ("log_level", "loud", false),
            ("bind", "localhost", false),
            ("data_dir", "", false),
            ("frame_timeout_ms", "99", false),
            ("frame_timeout_ms", "100", true),
        ];
        for (name, text, valid) in cases {
            let loaded = load(&[(name, text)]);
            assert_eq!(loaded.is_ok(), *valid, "{name} = {text}: {loaded:?}");
            if let Err(error) = loaded {
                assert!(error.to_string().contains(name), "{error}");
            }
        }
    }

    #[test]
    fn an_open_door_needs_a_word() {
        let error = load(&[("bind", "0.0.0.0")]).unwrap_err().to_string();
        assert!(error.contains("--allow-unauthenticated"), "{error}");
        assert!(load(&[("bind", "0.0.0.0"), ("allow_unauthenticated", "true")]).is_ok());
        assert!(load(&[("bind", "0.0.0.0"), ("auth_password", "x")]).is_ok());
        assert!(load(&[("bind", "::1")]).is_ok());
    }

    #[test]
    fn the_password_file_gives_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let text = path.display().to_string();
        std::fs::write(&path, "secret word\nrest\n").unwrap();
        let config = load(&[("auth_password_file", &text)]).unwrap();
        assert_eq!(config.password.as_deref(), Some("secret word"));
        assert!(load(&[("auth_password_file", &text), ("auth_password", "x")]).is_err());
        std::fs::write(&path, "\n").unwrap();
        assert!(load(&[("auth_password_file", &text)]).is_err());
    }

    #[test]
    fn what_is_printed_reads_back_and_hides_secrets() {
        let raw = raw(&[("auth_password", "hunter2"), ("data_dir", "a \"b\" c")]);
        let text = print_effective(&raw);
        assert!(!text.contains("hunter2"), "{text}");
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table.len(), SETTINGS.len());
        assert_eq!(table["data_dir"].as_str(), Some("a \"b\" c"));
        assert_eq!(table["port"].as_integer(), Some(8453));
    }

    #[test]
    fn the_documentation_lists_every_setting() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        for setting in SETTINGS {
            let row = text
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", setting.name)))
                .unwrap_or_else(|| panic!("docs/configuration.md has no row for {}", setting.name));
            assert!(row.contains(setting.unit), "{row}: unit {}", setting.unit);
            assert!(row.contains(&setting.variable()), "{row}: {}", setting.variable());
            assert!(row.contains(setting.default), "{row}: default {}", setting.default);
            assert!(row.contains(setting.meaning), "{row}: meaning {}", setting.meaning);
            if setting.places != settings::Places::NotOnCommandLine {
                assert!(row.contains(&setting.flag()), "{row}: {}", setting.flag());
            }
        }
        let rows = text.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, SETTINGS.len(), "docs/configuration.md has a row for no setting");
    }
}

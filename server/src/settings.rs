//! The table of settings: name, unit, default and meaning of each, once.
//!
//! The command line, the environment and the TOML file are all read through this table, and a
//! test compares it with docs/configuration.md. Knows nothing of what a value means; `config.rs`
//! validates.

use std::collections::BTreeMap;
use std::fmt;

/// One setting. The name gives all three spellings: `frame_bytes_max` is `--frame-bytes-max`,
/// `TILEKV_FRAME_BYTES_MAX` and the TOML key `frame_bytes_max`.
pub(crate) struct Setting {
    /// Whole words joined by `_`.
    pub(crate) name: &'static str,
    /// Unit or form of the value, as the documentation and `--help` show it.
    pub(crate) unit: &'static str,
    /// Value when no layer gives one, in the same form as a given one.
    pub(crate) default: &'static str,
    /// Where it may be given.
    pub(crate) places: Places,
    /// One sentence or two.
    pub(crate) meaning: &'static str,
}

/// Where a setting may be given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Places {
    /// File, environment and command line.
    Everywhere,
    /// As everywhere; the flag alone means `true`.
    Switch,
    /// File and environment: a command line is visible to every user of the machine.
    NotOnCommandLine,
}

/// Which layer gave a value, in rising order of precedence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// The table's default.
    Default,
    /// The TOML file.
    File(String),
    /// The environment variable.
    Environment(String),
    /// The flag.
    Flag(String),
}

impl fmt::Display for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(formatter, "default"),
            Self::File(path) => write!(formatter, "file {path}"),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::Flag(name) => write!(formatter, "flag {name}"),
        }
    }
}

/// The value of one setting and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawValue {
    /// As written; numbers and booleans of TOML in their plain text form.
    pub(crate) text: String,
    /// Where it came from.
    pub(crate) layer: Layer,
}

/// Unvalidated values, one per setting of the table.
pub(crate) type RawSettings = BTreeMap<&'static str, RawValue>;

impl Setting {
    /// `--frame-bytes-max`.
    pub(crate) fn flag(&self) -> String {
        format!("--{}", self.flag_id())
    }

    /// `frame-bytes-max`.
    pub(crate) fn flag_id(&self) -> String {
        self.name.replace('_', "-")
    }

    /// `TILEKV_FRAME_BYTES_MAX`.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Whether the value must never be printed.
    pub(crate) fn is_secret(&self) -> bool {
        self.places == Places::NotOnCommandLine
    }
}

/// The setting of that name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Prefix of every environment variable that the server reads.
pub(crate) const VARIABLE_PREFIX: &str = "TILEKV_";

/// Every setting, in the order of the documentation.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "bind",
        unit: "IP address",
        default: "127.0.0.1",
        places: Places::Everywhere,
        meaning: "Address that both ports listen on. An address other than loopback needs a \
                  password or `allow_unauthenticated`.",
    },
    Setting {
        name: "port",
        unit: "TCP port",
        default: "8453",
        places: Places::Everywhere,
        meaning: "Port of the native protocol and of RESP. 0 picks a free one; the banner and \
                  the log say which.",
    },
    Setting {
        name: "http_port",
        unit: "TCP port",
        default: "8454",
        places: Places::Everywhere,
        meaning: "Port of `/metrics`, `/healthz`, `/readyz` and reads as JSON. 0 picks a free one.",
    },
    Setting {
        name: "data_dir",
        unit: "path",
        default: "./tilekv-data",
        places: Places::Everywhere,
        meaning: "Folder of the data. Created if missing; one process at a time may use it.",
    },
    Setting {
        name: "durability",
        unit: "`always`, `interval` or `none`",
        default: "always",
        places: Places::Everywhere,
        meaning: "When an acknowledged write is safe from a power cut: before the answer, after \
                  the next `interval_ms`, or when the operating system writes it back.",
    },
    Setting {
        name: "interval_ms",
        unit: "milliseconds",
        default: "100",
        places: Places::Everywhere,
        meaning: "Time between two syncs of the log with `durability = \"interval\"`; 1 to 60000.",
    },
    Setting {
        name: "memory_max",
        unit: "bytes",
        default: "0",
        places: Places::Everywhere,
        meaning: "What indexes, recent writes, segment data and cached pages may take in memory. \
                  Segment data beyond it stays on disk and is read as it is needed. 0 takes 70% \
                  of what the machine or its control group has.",
    },
    Setting {
        name: "cold_read_threads",
        unit: "count",
        default: "4",
        places: Places::Everywhere,
        meaning: "Threads that read segment data which is not in memory, 1 to 256: as many reads \
                  as the disk does at once.",
    },
    Setting {
        name: "threads",
        unit: "count",
        default: "0",
        places: Places::Everywhere,
        meaning: "Network threads, 1 to 1024. 0 takes one per core that the process may run on.",
    },
    Setting {
        name: "auth_password",
        unit: "text",
        default: "",
        places: Places::NotOnCommandLine,
        meaning: "Password of the user `default`. Empty means that clients need none. Not a \
                  flag, since command lines are public on a machine.",
    },
    Setting {
        name: "auth_password_file",
        unit: "path",
        default: "",
        places: Places::Everywhere,
        meaning: "File whose first line is the password; cannot be given together with \
                  `auth_password`.",
    },
    Setting {
        name: "allow_unauthenticated",
        unit: "boolean",
        default: "false",
        places: Places::Switch,
        meaning: "Start on a non-loopback address without a password.",
    },
    Setting {
        name: "connections_max",
        unit: "count",
        default: "16384",
        places: Places::Everywhere,
        meaning: "Client connections at the same time; one more is answered -LIMIT and closed.",
    },
    Setting {
        name: "frame_bytes_max",
        unit: "bytes",
        default: "32MiB",
        places: Places::Everywhere,
        meaning: "Size of one command or frame, 64 KiB to 512 MiB. A larger one is answered \
                  -LIMIT and the connection is closed.",
    },
    Setting {
        name: "frame_timeout_ms",
        unit: "milliseconds",
        default: "30000",
        places: Places::Everywhere,
        meaning: "Time that a command may take from its first byte to its last before the \
                  connection is closed; 100 to 3600000.",
    },
    Setting {
        name: "output_bytes_max",
        unit: "bytes",
        default: "48MiB",
        places: Places::Everywhere,
        meaning: "Replies of one connection that wait for the client to read them. Beyond it the \
                  server stops reading that connection's commands until the client has read \
                  some. At least 64 KiB.",
    },
    Setting {
        name: "buffers_bytes_max",
        unit: "bytes",
        default: "256MiB",
        places: Places::Everywhere,
        meaning: "Incomplete commands and waiting replies of all connections together. Beyond \
                  it connections that hold more than 64 KiB wait. At least twice \
                  `frame_bytes_max`.",
    },
    Setting {
        name: "queue_bytes_max",
        unit: "bytes",
        default: "64MiB",
        places: Places::Everywhere,
        meaning: "Writes of all connections that wait for a commit. Beyond it writes are \
                  answered -BUSY with a time to wait. At least `frame_bytes_max`.",
    },
    Setting {
        name: "connection_queue_bytes_max",
        unit: "bytes",
        default: "4MiB",
        places: Places::Everywhere,
        meaning: "Writes of one connection that wait for a commit. Beyond it the server stops \
                  reading that connection until they are applied. At least 4 KiB.",
    },
    Setting {
        name: "log_format",
        unit: "`text`, `logfmt` or `json`",
        default: "text",
        places: Places::Everywhere,
        meaning: "Form of the log lines on standard error.",
    },
    Setting {
        name: "log_level",
        unit: "`error`, `warn`, `info`, `debug` or `trace`",
        default: "info",
        places: Places::Everywhere,
        meaning: "Least severe log lines that are written.",
    },
];

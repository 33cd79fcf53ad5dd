//! Families of commands: the grain at which they are counted and timed.

/// What kind of work a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `WINDOW.*` and `SERVICE.GET`: window reads.
    Window,
    /// `TILE.ADD`, `TILE.MADD`, `TILE.SET`, `TILE.MERGE`, `TILE.DEL`, `ENTITY.DEL`: writes.
    Tile,
    /// `TILE.RANGE` and `PRODUCER.GET`: reads of what is stored.
    Stored,
    /// `VIEW.*` and the other `SERVICE.*`: definitions.
    View,
    /// `SEAL.*`.
    Seal,
    /// `JOB.*`.
    Job,
    /// Reads of records.
    Record,
    /// Changes of records.
    RecordWrite,
    /// Redis commands about connections, `MULTI` and the like.
    Connection,
    /// Redis commands about the server.
    Server,
    /// What was no command.
    Unknown,
}

impl Family {
    /// Every family, in the order of [`Family::index`].
    pub(crate) const ALL: [Self; FAMILY_COUNT] = [
        Self::Window,
        Self::Tile,
        Self::Stored,
        Self::View,
        Self::Seal,
        Self::Job,
        Self::Record,
        Self::RecordWrite,
        Self::Connection,
        Self::Server,
        Self::Unknown,
    ];

    /// Position in an array of families.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Window => 0,
            Self::Tile => 1,
            Self::Stored => 2,
            Self::View => 3,
            Self::Seal => 4,
            Self::Job => 5,
            Self::Record => 6,
            Self::RecordWrite => 7,
            Self::Connection => 8,
            Self::Server => 9,
            Self::Unknown => 10,
        }
    }

    /// Name in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Tile => "tile",
            Self::Stored => "stored",
            Self::View => "view",
            Self::Seal => "seal",
            Self::Job => "job",
            Self::Record => "record",
            Self::RecordWrite => "record_write",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Unknown => "unknown",
        }
    }
}

/// How many families there are.
pub(crate) const FAMILY_COUNT: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_match_the_list() {
        for (index, family) in Family::ALL.iter().enumerate() {
            assert_eq!(family.index(), index, "{}", family.as_str());
        }
    }
}

//! The table of commands: what each is called, how many arguments it takes, where its keys are
//! and how it is read; and the replies of COMMAND, which show that table. Knows nothing of what
//! the commands do.

use std::sync::LazyLock;

use super::cursor::Cursor;
use super::{Command, CommandError, CommandQuery};
use super::{
    connection, diagnostics, job, record, seal, server, service, tile, transaction, view, window,
};
use crate::error::ErrorReply;
use crate::reply::Reply;

/// Reads a command from the arguments behind its name.
pub(super) type Parse = fn(&mut Cursor<'_>) -> Result<Command, CommandError>;

/// A command as COMMAND describes it.
#[derive(Debug, Clone, Copy)]
pub struct CommandSpec {
    /// Its name in lower case.
    pub name: &'static str,
    /// The number of arguments, name included; negative where that is the least number.
    pub arity: i64,
    /// What kind of command it is.
    pub flags: &'static [CommandFlag],
    /// Where its keys are.
    pub keys: KeyPositions,
    /// Redis's group of commands, or ours.
    pub group: &'static str,
    /// One sentence.
    pub summary: &'static str,
    pub(super) parse: Parse,
}

/// A command's position in [`commands`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandId(u16);

impl CommandId {
    /// The command of that name, in either case.
    pub fn find(name: &[u8]) -> Option<Self> {
        let wanted = name.iter().map(u8::to_ascii_lowercase);
        let compare = |spec: &CommandSpec| spec.name.bytes().cmp(wanted.clone());
        Self::at(commands().binary_search_by(compare).ok()?)
    }

    /// The command at a position.
    pub fn at(index: usize) -> Option<Self> {
        u16::try_from(index).ok().filter(|_| index < commands().len()).map(Self)
    }

    /// The position.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The command.
    pub fn spec(self) -> &'static CommandSpec {
        &commands()[self.index()]
    }
}

/// Positions of keys among the arguments, as Redis gives them: from 1, and 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPositions {
    /// The first key.
    pub first: i64,
    /// The last key.
    pub last: i64,
    /// The distance from one key to the next.
    pub step: i64,
}

impl KeyPositions {
    /// No keys, or keys that a fixed position cannot tell.
    pub const NONE: Self = Self { first: 0, last: 0, step: 0 };
    /// The first argument.
    pub const FIRST: Self = Self { first: 1, last: 1, step: 1 };
    /// The second argument: the entity behind the view.
    pub const SECOND: Self = Self { first: 2, last: 2, step: 1 };
}

/// Redis's command flags, as far as they apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandFlag {
    /// Changes data.
    Write,
    /// Reads data.
    ReadOnly,
    /// May be refused for want of memory.
    DenyOom,
    /// For operators.
    Admin,
    /// Costs little and no more with more data.
    Fast,
    /// Taken while the server reads its data.
    Loading,
    /// Taken before authentication.
    NoAuth,
    /// Not for scripts.
    NoScript,
    /// Keys are not at fixed positions.
    MovableKeys,
}

impl CommandFlag {
    /// Redis's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::ReadOnly => "readonly",
            Self::DenyOom => "denyoom",
            Self::Admin => "admin",
            Self::Fast => "fast",
            Self::Loading => "loading",
            Self::NoAuth => "no_auth",
            Self::NoScript => "noscript",
            Self::MovableKeys => "movablekeys",
        }
    }
}

impl CommandSpec {
    /// Whether the command takes so many arguments, its name included.
    pub fn takes(&self, argument_count: usize) -> bool {
        let count = i64::try_from(argument_count).unwrap_or(i64::MAX);
        if self.arity < 0 { count >= -self.arity } else { count == self.arity }
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: CommandFlag) -> bool {
        self.flags.contains(&flag)
    }
}

/// A command that reads tiles or views.
pub(super) const fn read(
    name: &'static str,
    arity: i64,
    keys: KeyPositions,
    parse: Parse,
) -> CommandSpec {
    let flags = &[CommandFlag::ReadOnly];
    CommandSpec { name, arity, flags, keys, group: "tilekv", summary: "", parse }
}

/// A command that writes tiles or seals.
pub(super) const fn write(
    name: &'static str,
    arity: i64,
    keys: KeyPositions,
    parse: Parse,
) -> CommandSpec {
    let flags = &[CommandFlag::Write, CommandFlag::DenyOom];
    CommandSpec { flags, ..read(name, arity, keys, parse) }
}

/// A command that changes definitions.
pub(super) const fn admin_write(name: &'static str, arity: i64, parse: Parse) -> CommandSpec {
    CommandSpec {
        flags: &[CommandFlag::Write, CommandFlag::Admin],
        ..read(name, arity, KeyPositions::NONE, parse)
    }
}

/// A command about the connection.
pub(super) const fn connection(name: &'static str, arity: i64, parse: Parse) -> CommandSpec {
    CommandSpec {
        flags: &[CommandFlag::Loading, CommandFlag::Fast],
        group: "connection",
        ..read(name, arity, KeyPositions::NONE, parse)
    }
}

/// A command about the server.
pub(super) const fn server(name: &'static str, arity: i64, parse: Parse) -> CommandSpec {
    CommandSpec {
        flags: &[CommandFlag::Loading],
        group: "server",
        ..read(name, arity, KeyPositions::NONE, parse)
    }
}

/// All commands, sorted by name.
pub fn commands() -> &'static [CommandSpec] {
    static SORTED: LazyLock<Vec<CommandSpec>> = LazyLock::new(|| {
        let families: [&[CommandSpec]; 11] = [
            &connection::COMMANDS,
            &server::COMMANDS,
            &diagnostics::COMMANDS,
            &transaction::COMMANDS,
            &view::COMMANDS,
            &tile::COMMANDS,
            &window::COMMANDS,
            &seal::COMMANDS,
            &job::COMMANDS,
            &service::COMMANDS,
            &record::COMMANDS,
        ];
        let mut all = families.concat();
        all.sort_by_key(|spec| spec.name);
        all
    });
    &SORTED
}

/// The command of that name, in either case.
pub fn find_command(name: &[u8]) -> Option<&'static CommandSpec> {
    CommandId::find(name).map(CommandId::spec)
}

/// The reply of COMMAND and its subcommands.
pub fn command_reply(query: &CommandQuery) -> Reply {
    let array = |items: Vec<Reply>| Reply::Array(items);
    match query {
        CommandQuery::All => array(commands().iter().map(description).collect()),
        CommandQuery::Count => Reply::Integer(count(commands().len())),
        CommandQuery::List => array(commands().iter().map(|spec| text(spec.name)).collect()),
        CommandQuery::Keys(arguments) => keys(arguments).unwrap_or_else(Reply::Error),
        CommandQuery::Info(names) if names.is_empty() => command_reply(&CommandQuery::All),
        CommandQuery::Info(names) => array(
            names.iter().map(|name| find_command(name).map_or(Reply::Nil, description)).collect(),
        ),
        CommandQuery::Docs(names) if names.is_empty() => {
            Reply::Map(commands().iter().map(documentation).collect())
        }
        CommandQuery::Docs(names) => {
            let found = names.iter().filter_map(|name| find_command(name));
            Reply::Map(found.map(documentation).collect())
        }
    }
}

/// The keys of a whole command, or Redis's words for why it has none.
fn keys(arguments: &[bytes::Bytes]) -> Result<Reply, ErrorReply> {
    let spec = arguments.first().and_then(|name| find_command(name));
    let spec = spec.ok_or_else(|| ErrorReply::usage("Invalid command specified"))?;
    if !spec.takes(arguments.len()) {
        let sentence = "Invalid number of arguments specified for command";
        return Err(ErrorReply::usage(sentence));
    }
    let KeyPositions { first, last, step } = spec.keys;
    if first == 0 {
        return Err(ErrorReply::usage("The command has no key arguments"));
    }
    let end = if last < 0 { count(arguments.len()) + last } else { last };
    let step = usize::try_from(step).unwrap_or(1).max(1);
    let positions = (first..=end).step_by(step).filter_map(|at| usize::try_from(at).ok());
    let keys = positions.filter_map(|at| arguments.get(at).cloned()).map(Reply::Bulk);
    Ok(Reply::Array(keys.collect()))
}

/// Redis 7's ten fields: name, arity, flags, first key, last key, step, then access categories,
/// tips, key specifications and subcommands, which are empty here.
fn description(spec: &CommandSpec) -> Reply {
    let flags = spec.flags.iter().map(|flag| Reply::Simple(flag.as_str().into())).collect();
    let empty = || Reply::Array(Vec::new());
    Reply::Array(vec![
        text(spec.name),
        Reply::Integer(spec.arity),
        Reply::Array(flags),
        Reply::Integer(spec.keys.first),
        Reply::Integer(spec.keys.last),
        Reply::Integer(spec.keys.step),
        empty(),
        empty(),
        empty(),
        empty(),
    ])
}

fn documentation(spec: &CommandSpec) -> (Reply, Reply) {
    let fields = vec![
        (text("summary"), text(spec.summary)),
        (text("since"), text("0.1.0")),
        (text("group"), text(spec.group)),
    ];
    (text(spec.name), Reply::Map(fields))
}

fn text(text: &'static str) -> Reply {
    Reply::Bulk(bytes::Bytes::from_static(text.as_bytes()))
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_alone() {
        for spec in commands() {
            let upper = spec.name.to_ascii_uppercase();
            assert_eq!(find_command(upper.as_bytes()).map(|found| found.name), Some(spec.name));
            assert!(!spec.summary.is_empty(), "{} has a summary", spec.name);
            assert!(spec.arity != 0 && !spec.flags.is_empty());
        }
        let mut names: Vec<_> = commands().iter().map(|spec| spec.name).collect();
        names.dedup();
        assert_eq!(names.len(), commands().len());
        assert!(find_command(b"").is_none() && find_command(b"zzz").is_none());
    }

    #[test]
    fn arity_counts_the_name() {
        let exact = find_command(b"view.drop").unwrap();
        assert!(!exact.takes(1) && exact.takes(2) && !exact.takes(3));
        let least = find_command(b"window.get").unwrap();
        assert!(!least.takes(3) && least.takes(4) && least.takes(400));
    }

    #[test]
    fn command_shows_the_table() {
        let names = vec![bytes::Bytes::from_static(b"WINDOW.GET"), bytes::Bytes::from_static(b"x")];
        let Reply::Array(found) = command_reply(&CommandQuery::Info(names)) else { panic!() };
        assert_eq!(found[1], Reply::Nil);
        let Reply::Array(fields) = &found[0] else { panic!("a description is an array") };
        assert_eq!(fields.len(), 10);
        assert_eq!(fields[1], Reply::Integer(-4));
        assert_eq!(fields[3], Reply::Integer(2));
    }
}

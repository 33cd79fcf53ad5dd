//! PING, ECHO, HELLO, AUTH, SELECT, CLIENT, QUIT and RESET. Knows nothing of who is connected.

use bytes::Bytes;

use super::cursor::{Cursor, is_keyword, parse_unsigned};
use super::subcommand::{
    exactly, help, integer, not_an_integer, syntax_error, unknown_subcommand, wrong_count,
};
use super::table::{CommandFlag, CommandSpec, connection};
use super::{Command, CommandError, wrong_arity};
use crate::error::{ErrorCode, ErrorReply};

/// Commands about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionCommand {
    /// `PING`, with the message to send back.
    Ping(Option<Bytes>),
    /// `ECHO`.
    Echo(Bytes),
    /// `HELLO`.
    Hello(Hello),
    /// `AUTH`.
    Auth(Credentials),
    /// `SELECT 0`: there is one database.
    Select,
    /// `CLIENT`.
    Client(ClientCommand),
    /// `QUIT`.
    Quit,
    /// `RESET`.
    Reset,
}

/// Who a peer says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user; none is the default user.
    pub user: Option<Bytes>,
    /// The password.
    pub password: Bytes,
}

/// What HELLO asks for. Whatever it asks for takes effect together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// 2 or 3; none leaves the version as it is.
    pub version: Option<u8>,
    /// AUTH.
    pub credentials: Option<Credentials>,
    /// SETNAME.
    pub client_name: Option<Bytes>,
}

/// Subcommands of CLIENT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand {
    /// `CLIENT ID`.
    Id,
    /// `CLIENT GETNAME`.
    GetName,
    /// `CLIENT SETNAME`; the empty name removes it.
    SetName(Bytes),
    /// `CLIENT SETINFO LIB-NAME`.
    SetLibraryName(Bytes),
    /// `CLIENT SETINFO LIB-VER`.
    SetLibraryVersion(Bytes),
    /// `CLIENT LIST`, perhaps of one type or some ids only.
    List {
        /// `TYPE`.
        kind: Option<Bytes>,
        /// `ID`; none is all.
        ids: Option<Vec<u64>>,
    },
    /// `CLIENT INFO`.
    Info,
    /// `CLIENT REPLY`.
    Reply(ReplyMode),
    /// `CLIENT NO-EVICT`.
    NoEvict(Switch),
    /// `CLIENT NO-TOUCH`.
    NoTouch(Switch),
    /// `CLIENT KILL`.
    Kill(KillFilter),
}

/// Which commands are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    On,
    /// None.
    Off,
    /// All but the next.
    Skip,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// The two forms of CLIENT KILL, which are answered differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KillForm {
    /// `CLIENT KILL address`: OK, or an error where nobody has that address.
    Address,
    /// `CLIENT KILL filter value ..`: the number of connections closed.
    #[default]
    Filters,
}

/// The connections to close: those that all given filters fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KillFilter {
    /// Which form was used.
    pub form: KillForm,
    /// `ID`.
    pub id: Option<u64>,
    /// `ADDR`: the peer's address and port.
    pub address: Option<Bytes>,
    /// `LADDR`: our address and port.
    pub local_address: Option<Bytes>,
    /// `TYPE`.
    pub kind: Option<Bytes>,
    /// `USER`.
    pub user: Option<Bytes>,
    /// `MAXAGE`: seconds that the connection has been open at least.
    pub age_seconds_min: Option<u64>,
    /// `SKIPME`: whether the asking connection is spared. None means the form's default: spared
    /// under filters, not under an address.
    pub skip_me: Option<bool>,
}

const EARLY: &[CommandFlag] = &[CommandFlag::Loading, CommandFlag::NoAuth, CommandFlag::Fast];

pub(super) const COMMANDS: [CommandSpec; 8] = [
    CommandSpec { summary: "Answers PONG, or the message.", ..connection("ping", -1, ping) },
    CommandSpec { summary: "Answers the message.", ..connection("echo", 2, echo) },
    CommandSpec {
        summary: "Chooses the protocol version and authenticates.",
        flags: EARLY,
        ..connection("hello", -1, hello)
    },
    CommandSpec { summary: "Authenticates.", flags: EARLY, ..connection("auth", -2, auth) },
    CommandSpec { summary: "Selects database 0, the only one.", ..connection("select", 2, select) },
    CommandSpec { summary: "About client connections.", ..connection("client", -2, client) },
    CommandSpec { summary: "Closes the connection.", flags: EARLY, ..connection("quit", -1, quit) },
    CommandSpec {
        summary: "Makes the connection as if it were new.",
        flags: EARLY,
        ..connection("reset", 1, reset)
    },
];

fn ping(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    if cursor.remaining() > 1 {
        return Err(wrong_arity("ping"));
    }
    let message = cursor.arguments().bytes(cursor.position());
    Ok(Command::Connection(ConnectionCommand::Ping(message)))
}

fn echo(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let message = cursor.required_bytes("the message")?;
    Ok(Command::Connection(ConnectionCommand::Echo(message)))
}

fn hello(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let mut hello = Hello::default();
    if let Some(text) = cursor.next() {
        hello.version = Some(hello_version(text)?);
    }
    while let Some(option) = cursor.next() {
        if is_keyword(option, "AUTH") && cursor.remaining() >= 2 {
            let user = Some(cursor.required_bytes("the user")?);
            let password = cursor.required_bytes("the password")?;
            hello.credentials = Some(Credentials { user, password });
        } else if is_keyword(option, "SETNAME") && cursor.remaining() >= 1 {
            let name = cursor.required_bytes("the name")?;
            check_client_text("Client names", &name)?;
            hello.client_name = Some(name);
        } else {
            let option = tilekv_tile::printable(option);
            let sentence = format!("Syntax error in HELLO option '{option}'");
            return Err(ErrorReply::usage(sentence).into());
        }
    }
    Ok(Command::Connection(ConnectionCommand::Hello(hello)))
}

fn hello_version(text: &[u8]) -> Result<u8, ErrorReply> {
    let not_integer = "Protocol version is not an integer or out of range";
    match parse_unsigned(text) {
        Some(2) => Ok(2),
        Some(3) => Ok(3),
        Some(_) => Err(ErrorReply::new(ErrorCode::NoProto, "unsupported protocol version")),
        None => Err(ErrorReply::usage(not_integer)),
    }
}

fn auth(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let user = match cursor.remaining() {
        1 => None,
        2 => Some(cursor.required_bytes("the user")?),
        _ => return Err(syntax_error().into()),
    };
    let password = cursor.required_bytes("the password")?;
    Ok(Command::Connection(ConnectionCommand::Auth(Credentials { user, password })))
}

fn select(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    match parse_unsigned(cursor.required("the index")?) {
        Some(0) => Ok(Command::Connection(ConnectionCommand::Select)),
        Some(_) => Err(ErrorReply::usage("DB index is out of range").into()),
        None => Err(not_an_integer().into()),
    }
}

fn quit(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Connection(ConnectionCommand::Quit))
}

fn reset(_: &mut Cursor<'_>) -> Result<Command, CommandError> {
    Ok(Command::Connection(ConnectionCommand::Reset))
}

fn client(cursor: &mut Cursor<'_>) -> Result<Command, CommandError> {
    let name = cursor.required("a subcommand")?;
    let parsed = match name.to_ascii_uppercase().as_slice() {
        b"ID" => exactly(cursor, 0, "id").map(|()| ClientCommand::Id),
        b"GETNAME" => exactly(cursor, 0, "getname").map(|()| ClientCommand::GetName),
        b"INFO" => exactly(cursor, 0, "info").map(|()| ClientCommand::Info),
        b"SETNAME" => client_setname(cursor),
        b"SETINFO" => client_setinfo(cursor),
        b"LIST" => client_list(cursor),
        b"REPLY" => client_reply(cursor),
        b"NO-EVICT" => client_switch(cursor, "no-evict").map(ClientCommand::NoEvict),
        b"NO-TOUCH" => client_switch(cursor, "no-touch").map(ClientCommand::NoTouch),
        b"KILL" => client_kill(cursor).map(ClientCommand::Kill),
        b"HELP" => return Ok(help(cursor, CLIENT_HELP)),
        _ => Err(unknown_subcommand(cursor, name)),
    };
    Ok(Command::Connection(ConnectionCommand::Client(parsed?)))
}

const CLIENT_HELP: &[&str] = &[
    "GETNAME",
    "    The name of this connection.",
    "ID",
    "    The number of this connection.",
    "INFO",
    "    This connection's line of LIST.",
    "KILL <ip:port> | (ID <id> | ADDR <ip:port> | LADDR <ip:port> | TYPE <type> | USER <user> |",
    "    MAXAGE <seconds> | SKIPME yes|no)..",
    "    Closes connections.",
    "LIST [TYPE <type> | ID <id>..]",
    "    One line a connection.",
    "NO-EVICT on|off, NO-TOUCH on|off",
    "    Taken, without effect: no record is evicted.",
    "REPLY on|off|skip",
    "    Which commands are answered.",
    "SETINFO LIB-NAME|LIB-VER <value>",
    "    What the client library says about itself.",
    "SETNAME <name>",
    "    Names this connection.",
];

fn client_setname(cursor: &mut Cursor<'_>) -> Result<ClientCommand, CommandError> {
    exactly(cursor, 1, "setname")?;
    let name = cursor.required_bytes("the name")?;
    check_client_text("Client names", &name)?;
    Ok(ClientCommand::SetName(name))
}

fn client_setinfo(cursor: &mut Cursor<'_>) -> Result<ClientCommand, CommandError> {
    exactly(cursor, 2, "setinfo")?;
    let attribute = cursor.required("the attribute")?;
    let value = cursor.required_bytes("the value")?;
    if is_keyword(attribute, "LIB-NAME") {
        check_client_text("lib-name", &value)?;
        return Ok(ClientCommand::SetLibraryName(value));
    }
    if is_keyword(attribute, "LIB-VER") {
        check_client_text("lib-ver", &value)?;
        return Ok(ClientCommand::SetLibraryVersion(value));
    }
    let found = tilekv_tile::printable(attribute);
    Err(ErrorReply::usage(format!("Unrecognized option '{found}'")).into())
}

/// Names of clients stand in space-separated lines of CLIENT LIST.
fn check_client_text(what: &str, text: &[u8]) -> Result<(), ErrorReply> {
    if text.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    let sentence = format!("{what} cannot contain spaces, newlines or special characters.");
    Err(ErrorReply::usage(sentence))
}

fn client_list(cursor: &mut Cursor<'_>) -> Result<ClientCommand, CommandError> {
    let (mut kind, mut ids) = (None, None);
    if cursor.remaining() == 2 && cursor.take_keyword("TYPE") {
        kind = Some(cursor.required_bytes("the type")?);
    } else if cursor.remaining() > 1 && cursor.take_keyword("ID") {
        let mut list = Vec::new();
        while let Some(text) = cursor.next() {
            let id = parse_unsigned(text).filter(|id| *id > 0);
            list.push(id.ok_or_else(|| ErrorReply::usage("Invalid client ID"))?);
        }
        ids = Some(list);
    }
    if cursor.remaining() > 0 {
        return Err(syntax_error().into());
    }
    Ok(ClientCommand::List { kind, ids })
}

fn client_reply(cursor: &mut Cursor<'_>) -> Result<ClientCommand, CommandError> {
    exactly(cursor, 1, "reply")?;
    let mode = cursor.required("the mode")?;
    let modes = [("ON", ReplyMode::On), ("OFF", ReplyMode::Off), ("SKIP", ReplyMode::Skip)];
    let found = modes.iter().find(|(word, _)| is_keyword(mode, word));
    found.map(|(_, mode)| ClientCommand::Reply(*mode)).ok_or_else(|| syntax_error().into())
}

fn client_switch(cursor: &mut Cursor<'_>, subcommand: &str) -> Result<Switch, CommandError> {
    exactly(cursor, 1, subcommand)?;
    let text = cursor.required("on or off")?;
    let switches = [("ON", Switch::On), ("OFF", Switch::Off)];
    let found = switches.iter().find(|(word, _)| is_keyword(text, word));
    found.map(|(_, switch)| *switch).ok_or_else(|| syntax_error().into())
}

fn client_kill(cursor: &mut Cursor<'_>) -> Result<KillFilter, CommandError> {
    match cursor.remaining() {
        0 => return Err(wrong_count(cursor, "kill")),
        1 => {
            let address = Some(cursor.required_bytes("the address")?);
            return Ok(KillFilter { form: KillForm::Address, address, ..KillFilter::default() });
        }
        _ => {}
    }
    let mut filter = KillFilter::default();
    while let Some(option) = cursor.next() {
        if cursor.remaining() == 0 {
            return Err(syntax_error().into());
        }
        match option.to_ascii_uppercase().as_slice() {
            b"ID" => filter.id = Some(positive(cursor, "client-id")?),
            b"ADDR" => filter.address = Some(cursor.required_bytes("the address")?),
            b"LADDR" => filter.local_address = Some(cursor.required_bytes("the address")?),
            b"TYPE" => filter.kind = Some(cursor.required_bytes("the type")?),
            b"USER" => filter.user = Some(cursor.required_bytes("the user")?),
            b"MAXAGE" => filter.age_seconds_min = Some(positive(cursor, "maxage")?),
            b"SKIPME" if cursor.take_keyword("YES") => filter.skip_me = Some(true),
            b"SKIPME" if cursor.take_keyword("NO") => filter.skip_me = Some(false),
            _ => return Err(syntax_error().into()),
        }
    }
    Ok(filter)
}

/// A number above 0, refused in Redis's words.
fn positive(cursor: &mut Cursor<'_>, what: &str) -> Result<u64, ErrorReply> {
    let text = cursor.required(what)?;
    let number = integer(text).and_then(|number| u64::try_from(number).ok());
    let number = number.filter(|number| *number > 0);
    number.ok_or_else(|| ErrorReply::usage(format!("{what} should be greater than 0")))
}

//! Redis commands about the connection: PING, ECHO, HELLO, AUTH, SELECT, CLIENT, QUIT, RESET.

use bytes::Bytes;
use tilekv_protocol::resp::RespVersion;
use tilekv_protocol::{
    ClientCommand, ConnectionCommand, Credentials, ErrorReply, Hello, KillFilter, KillForm, Reply,
};

use super::info::{REDIS_VERSION, SERVER_NAME};
use super::{Action, Context};
use crate::clients::Client;
use crate::refuse;
use crate::session::{Replies, Session};

pub(super) fn run(
    context: &Context<'_>,
    session: &mut Session,
    command: ConnectionCommand,
) -> Result<Action, ErrorReply> {
    let reply = match command {
        ConnectionCommand::Ping(None) => Reply::Simple("PONG".into()),
        ConnectionCommand::Ping(Some(text)) | ConnectionCommand::Echo(text) => Reply::Bulk(text),
        ConnectionCommand::Hello(asked) => hello(context, session, asked)?,
        ConnectionCommand::Auth(credentials) => {
            authenticate(context, session, &credentials)?;
            Reply::OK
        }
        ConnectionCommand::Select => Reply::OK,
        ConnectionCommand::Client(command) => return client(context, session, command),
        ConnectionCommand::Quit => quit(session),
        ConnectionCommand::Reset => {
            session.reset(context.shared);
            Reply::Simple("RESET".into())
        }
    };
    Ok(Action::Reply(reply))
}

fn quit(session: &mut Session) -> Reply {
    session.closing = true;
    Reply::OK
}

/// All of what HELLO asks for takes effect, or nothing.
fn hello(context: &Context<'_>, session: &mut Session, asked: Hello) -> Result<Reply, ErrorReply> {
    if let Some(credentials) = &asked.credentials {
        authenticate(context, session, credentials)?;
    } else if !session.authenticated {
        let sentence = "HELLO must be called with the client already authenticated, otherwise \
                        the HELLO <proto> AUTH <user> <pass> option can be used";
        return Err(ErrorReply::new(tilekv_protocol::ErrorCode::NoAuth, sentence));
    }
    if let Some(name) = &asked.client_name {
        session.client.about.lock().name = text(name);
    }
    if let Some(version) = asked.version {
        set_version(session, version);
    }
    Ok(welcome(session))
}

fn set_version(session: &mut Session, version: u8) {
    let (resp, name) = match version {
        3 => (RespVersion::Resp3, "resp3"),
        _ => (RespVersion::Resp2, "resp2"),
    };
    session.version = resp;
    session.client.about.lock().protocol = name;
}

fn welcome(session: &Session) -> Reply {
    let version = match session.version {
        RespVersion::Resp2 => 2,
        RespVersion::Resp3 => 3,
    };
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("redis")),
        (Reply::text("version"), Reply::text(REDIS_VERSION)),
        (Reply::text("proto"), Reply::Integer(version)),
        (Reply::text("id"), Reply::unsigned(session.client.id)),
        (Reply::text("mode"), Reply::text("standalone")),
        (Reply::text("role"), Reply::text("master")),
        (Reply::text("modules"), Reply::Array(vec![module()])),
    ])
}

/// TileKV as a client that looks for modules finds it.
fn module() -> Reply {
    Reply::Map(vec![
        (Reply::text("name"), Reply::text(SERVER_NAME)),
        (Reply::text("ver"), Reply::Integer(100)),
        (Reply::text("path"), Reply::text("")),
        (Reply::text("args"), Reply::Array(Vec::new())),
    ])
}

/// The user `default` with the configured password is the only one there is.
pub(crate) fn authenticate(
    context: &Context<'_>,
    session: &mut Session,
    credentials: &Credentials,
) -> Result<(), ErrorReply> {
    let Some(password) = &context.shared.config.password else {
        if credentials.user.is_some() {
            return if is_default_user(credentials) {
                Ok(())
            } else {
                Err(refuse::wrong_password())
            };
        }
        let sentence = "AUTH <password> called without any password configured for the default \
                        user. Are you sure your configuration is correct?";
        return Err(ErrorReply::usage(sentence));
    };
    if !is_password(credentials, password) {
        tracing::warn!(peer = %session.client.peer, "authentication failed");
        return Err(refuse::wrong_password());
    }
    session.authenticate(context.shared);
    Ok(())
}

/// Whether these are the user `default`, named or not, and this password.
pub(crate) fn is_password(credentials: &Credentials, password: &str) -> bool {
    let matches = equal_in_constant_time(&credentials.password, password.as_bytes());
    matches && is_default_user(credentials)
}

fn is_default_user(credentials: &Credentials) -> bool {
    credentials.user.as_ref().is_none_or(|user| user.as_ref() == b"default")
}

/// Takes as long for a nearly right password as for a wholly wrong one.
fn equal_in_constant_time(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given.iter().zip(wanted).fold(0, |seen, (left, right)| seen | (left ^ right));
    given.len() == wanted.len() && std::hint::black_box(differences) == 0
}

fn client(
    context: &Context<'_>,
    session: &mut Session,
    command: ClientCommand,
) -> Result<Action, ErrorReply> {
    let client = &session.client;
    let reply = match command {
        ClientCommand::Id => Reply::unsigned(client.id),
        ClientCommand::GetName => {
            let name = client.about.lock().name.clone();
            if name.is_empty() { Reply::Nil } else { Reply::text(name) }
        }
        ClientCommand::SetName(name) => told(&mut client.about.lock().name, &name),
        ClientCommand::SetLibraryName(name) => told(&mut client.about.lock().library, &name),
        ClientCommand::SetLibraryVersion(version) => {
            told(&mut client.about.lock().library_version, &version)
        }
        ClientCommand::List { kind, ids } => list(context, kind.as_deref(), ids.as_deref())?,
        ClientCommand::Info => Reply::text(format!("{}\n", client.line(context.now_ms))),
        ClientCommand::Reply(mode) => {
            session.set_replies(mode);
            if session.replies != Replies::On {
                return Ok(Action::Silence);
            }
            Reply::OK
        }
        ClientCommand::NoEvict(_) | ClientCommand::NoTouch(_) => Reply::OK,
        ClientCommand::Kill(filter) => kill(context, session, &filter)?,
    };
    Ok(Action::Reply(reply))
}

fn told(about: &mut String, value: &Bytes) -> Reply {
    *about = text(value);
    Reply::OK
}

fn list(
    context: &Context<'_>,
    kind: Option<&[u8]>,
    ids: Option<&[u64]>,
) -> Result<Reply, ErrorReply> {
    let all_are_wanted = is_normal(kind)?;
    let lines = context
        .shared
        .clients
        .list()
        .into_iter()
        .filter(|client| all_are_wanted && ids.is_none_or(|ids| ids.contains(&client.id)))
        .map(|client| format!("{}\n", client.line(context.now_ms)));
    Ok(Reply::text(lines.collect::<String>()))
}

/// Every client is of the type `normal`; the other types that Redis has are empty here.
fn is_normal(kind: Option<&[u8]>) -> Result<bool, ErrorReply> {
    let Some(kind) = kind else { return Ok(true) };
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"master" | b"replica" | b"slave" | b"pubsub" => Ok(false),
        other => {
            let found = other.escape_ascii();
            Err(ErrorReply::usage(format!("Unknown client type '{found}'")))
        }
    }
}

fn kill(
    context: &Context<'_>,
    session: &mut Session,
    filter: &KillFilter,
) -> Result<Reply, ErrorReply> {
    let own = session.client.id;
    let skip_me = filter.skip_me.unwrap_or(filter.form == KillForm::Filters);
    let any_kind = is_normal(filter.kind.as_deref())?;
    check_user(filter.user.as_deref())?;
    let count = context.shared.clients.kill(|client| {
        let chosen = any_kind && is_chosen(context, filter, client);
        chosen && client.id != own
    });
    let chose_own = any_kind && is_chosen(context, filter, &session.client);
    let kills_own = chose_own && !skip_me;
    session.closing |= kills_own;
    let count = count + usize::from(kills_own);
    match (filter.form, count) {
        (KillForm::Address, 0) => Err(ErrorReply::usage("No such client")),
        (KillForm::Address, _) => Ok(Reply::OK),
        (KillForm::Filters, count) => Ok(Reply::unsigned(u64::try_from(count).unwrap_or(u64::MAX))),
    }
}

/// Every client is the user `default`.
fn check_user(user: Option<&[u8]>) -> Result<(), ErrorReply> {
    match user {
        None | Some(b"default") => Ok(()),
        Some(other) => {
            let other = other.escape_ascii();
            Err(ErrorReply::usage(format!("No such user '{other}'")))
        }
    }
}

fn is_chosen(context: &Context<'_>, filter: &KillFilter, client: &Client) -> bool {
    let age_s = u64::try_from((context.now_ms - client.connected_ms) / 1000).unwrap_or(0);
    let is_address = |wanted: &Option<Bytes>, found: std::net::SocketAddr| {
        wanted.as_ref().is_none_or(|wanted| wanted.as_ref() == found.to_string().as_bytes())
    };
    filter.id.is_none_or(|id| id == client.id)
        && is_address(&filter.address, client.peer)
        && is_address(&filter.local_address, client.local)
        && filter.age_seconds_min.is_none_or(|least| least <= age_s)
}

/// The protocol has checked that these texts are printable ASCII.
fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! MULTI, EXEC and DISCARD: a queue of commands on the connection, run back to back.

use tilekv_protocol::{
    Command, ConnectionCommand, ErrorCode, ErrorReply, ErrorStage, Reply, TransactionCommand,
};

use super::Action;
use crate::received::Received;
use crate::session::{Session, Transaction};

/// Whether a command belongs into the open transaction, if there is one. One whose name is unknown
/// does not; what else is wrong with a command is answered by EXEC in its place.
pub(crate) fn takes(session: &Session, received: &Received) -> bool {
    session.transaction.is_some()
        && match &received.parsed {
            Ok(command) => !is_run_at_once(command),
            Err(error) => error.stage == ErrorStage::Content && !is_watch(received),
        }
}

/// Puts a command into the open transaction.
pub(crate) fn queue(
    session: &mut Session,
    received: Received,
    bytes_max: usize,
) -> Result<(), ErrorReply> {
    let Some(transaction) = &mut session.transaction else {
        unreachable!("only an open transaction takes commands")
    };
    if transaction.push(received, bytes_max) {
        return Ok(());
    }
    Err(ErrorReply::limit("the commands of one transaction hold too much; EXEC runs none of them"))
}

pub(super) fn run(
    session: &mut Session,
    command: TransactionCommand,
) -> Result<Action, ErrorReply> {
    match command {
        TransactionCommand::Multi => multi(session),
        TransactionCommand::Exec => exec(session),
        TransactionCommand::Discard => discard(session),
        TransactionCommand::Unwatch => Ok(Action::Reply(Reply::OK)),
    }
}

/// A command whose name is unknown makes the open transaction's EXEC refuse, as in Redis.
pub(crate) fn note_refusal(session: &mut Session) {
    if let Some(transaction) = &mut session.transaction {
        transaction.aborted = true;
    }
}

fn is_run_at_once(command: &Command) -> bool {
    matches!(
        command,
        Command::Transaction(
            TransactionCommand::Multi | TransactionCommand::Exec | TransactionCommand::Discard
        ) | Command::Connection(ConnectionCommand::Quit | ConnectionCommand::Reset)
    )
}

fn is_watch(received: &Received) -> bool {
    received.id.is_some_and(|id| id.spec().name == "watch")
}

fn multi(session: &mut Session) -> Result<Action, ErrorReply> {
    if session.transaction.is_some() {
        return Err(ErrorReply::usage("MULTI calls can not be nested"));
    }
    session.transaction = Some(Transaction::default());
    Ok(Action::Reply(Reply::OK))
}

fn exec(session: &mut Session) -> Result<Action, ErrorReply> {
    let Some(transaction) = session.transaction.take() else {
        return Err(ErrorReply::usage("EXEC without MULTI"));
    };
    if transaction.aborted {
        let sentence = "Transaction discarded because of previous errors.";
        return Err(ErrorReply::new(ErrorCode::ExecAbort, sentence));
    }
    Ok(Action::Transaction(transaction.into_commands()))
}

fn discard(session: &mut Session) -> Result<Action, ErrorReply> {
    match session.transaction.take() {
        Some(_) => Ok(Action::Reply(Reply::OK)),
        None => Err(ErrorReply::usage("DISCARD without MULTI")),
    }
}

//! MULTI, EXEC and DISCARD: a queue of commands on the connection, run back to back.

use tilekv_protocol::{
    Command, ConnectionCommand, ErrorCode, ErrorReply, Reply, TransactionCommand,
};

use super::Action;
use crate::session::{Session, Transaction};

/// What becomes of a command while a transaction may be open.
pub(super) enum Queued {
    /// It is run now.
    Run(Command),
    /// It waits for EXEC.
    Waits,
}

/// Puts a command into the open transaction, if there is one and the command belongs there.
pub(super) fn queue(session: &mut Session, command: Command) -> Result<Queued, ErrorReply> {
    let Some(transaction) = &mut session.transaction else { return Ok(Queued::Run(command)) };
    if is_run_at_once(&command) {
        return Ok(Queued::Run(command));
    }
    if transaction.push(command) {
        return Ok(Queued::Waits);
    }
    Err(ErrorReply::limit("too many commands in one transaction; EXEC runs none of them"))
}

pub(super) fn run(
    session: &mut Session,
    command: TransactionCommand,
) -> Result<Action, ErrorReply> {
    match command {
        TransactionCommand::Multi => multi(session),
        TransactionCommand::Exec => exec(session),
        TransactionCommand::Discard => discard(session),
    }
}

/// A refused command makes the open transaction's EXEC refuse, as in Redis.
pub(crate) fn note_refusal(session: &mut Session) {
    if let Some(transaction) = &mut session.transaction {
        transaction.aborted = true;
    }
}

fn is_run_at_once(command: &Command) -> bool {
    matches!(
        command,
        Command::Transaction(_)
            | Command::Connection(ConnectionCommand::Quit | ConnectionCommand::Reset)
    )
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

//! The RESP face of a connection. Replies come in the order of their commands, and a command sees
//! every write before it in the same pipeline: commands behind writes that are not applied yet
//! wait, unless they are writes too. Knows nothing of sockets.

use std::collections::VecDeque;
use std::io::Write as _;

use bytes::{BufMut, BytesMut};
use tilekv_protocol::resp::{RequestParser, encode_reply};
use tilekv_protocol::{Command, CommandError, ErrorReply, ProtocolError, Reply};

use crate::delivery::{SlowOutcome, WriteOutcomes};
use crate::dispatch::{self, Action};
use crate::exchange::{self, Exchange, Turn};
use crate::family::Family;
use crate::limits::HELD_COMMAND_COUNT_MAX;
use crate::metrics::Ending;
use crate::session::Replies;

/// The state of a RESP conversation.
#[derive(Debug, Default)]
pub(crate) struct RespFace {
    parser: RequestParser,
    slots: VecDeque<Slot>,
    /// How many slots at the front are writes under way or replies behind them.
    lead: usize,
    held_bytes: usize,
    /// What to say last, once everything before it is answered.
    farewell: Option<ErrorReply>,
}

/// A place in the order of replies.
#[derive(Debug)]
enum Slot {
    /// So many writes that the committer will answer.
    Writes(usize),
    /// A reply that waits for those before it.
    Ready(Reply),
    /// A scan that the slow worker will answer; nothing behind it runs.
    Scan,
    /// A command that has not run.
    Held(Held),
}

/// A command as it was read, and the bytes that it holds.
#[derive(Debug)]
struct Held {
    parsed: Result<Command, CommandError>,
    bytes: usize,
}

impl RespFace {
    /// Takes one command off the input; false if none is whole. After an error nothing more can
    /// be read.
    pub(crate) fn step(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        input: &mut BytesMut,
    ) -> Result<bool, ProtocolError> {
        let limits = &exchange.session.limits;
        let Some(arguments) = self.parser.parse(input, limits)? else { return Ok(false) };
        let bytes = exchange::command_bytes(&arguments);
        self.take(exchange, turn, Held { parsed: Command::from_arguments(&arguments), bytes });
        Ok(true)
    }

    /// Answers a protocol error in its turn and ends the conversation.
    pub(crate) fn fail(&mut self, exchange: &mut Exchange, error: &ProtocolError) {
        match error.reply() {
            Some(reply) => self.farewell = Some(reply),
            None => exchange.session.closing = true,
        }
        self.say_farewell(exchange);
    }

    /// Answers writes that were committed or refused.
    pub(crate) fn deliver_writes(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: WriteOutcomes,
    ) {
        let time = delivered.started.elapsed();
        exchange.in_flight_bytes -= delivered.bytes;
        for (tag, result) in delivered.outcomes {
            let (reply, ending) = exchange::write_reply(result);
            turn.metrics.record(tag.family, ending, 1, time);
            self.end_write();
            emit(exchange, &reply);
            self.emit_ready(exchange);
        }
    }

    /// Answers a scan.
    pub(crate) fn deliver_scan(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: SlowOutcome,
    ) {
        let Some(Slot::Scan) = self.slots.pop_front() else {
            unreachable!("a scan runs alone at the front of its connection")
        };
        let ending = exchange::ending(&delivered.reply);
        turn.metrics.record(delivered.tag.family, ending, 1, delivered.started.elapsed());
        emit(exchange, &delivered.reply);
    }

    /// Runs commands that waited, as far as they may run now; false if the turn ended first.
    pub(crate) fn advance(&mut self, exchange: &mut Exchange, turn: &Turn<'_>) -> bool {
        while let Some(Slot::Held(held)) = self.slots.get(self.lead) {
            if self.lead > 0 && !is_write(exchange, held) {
                break;
            }
            if turn.is_over() {
                return false;
            }
            let Some(Slot::Held(held)) = self.slots.remove(self.lead) else {
                unreachable!("the slot was looked at just now")
            };
            self.held_bytes -= held.bytes;
            self.run(exchange, turn, held);
        }
        self.say_farewell(exchange);
        true
    }

    /// Whether more commands may be taken while earlier ones wait.
    pub(crate) fn has_room(&self, held_bytes_max: usize) -> bool {
        self.farewell.is_none()
            && self.slots.len() <= HELD_COMMAND_COUNT_MAX
            && self.held_bytes < held_bytes_max
    }

    /// Whether nothing waits for an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.farewell.is_none()
    }

    /// Bytes of commands that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn take(&mut self, exchange: &mut Exchange, turn: &Turn<'_>, held: Held) {
        let nothing_is_held = self.lead == self.slots.len();
        if nothing_is_held && (self.lead == 0 || is_write(exchange, &held)) {
            self.run(exchange, turn, held);
            return;
        }
        self.held_bytes += held.bytes;
        self.slots.push_back(Slot::Held(held));
    }

    /// Runs a command whose place is right behind the lead.
    fn run(&mut self, exchange: &mut Exchange, turn: &Turn<'_>, held: Held) {
        if exchange.session.closing {
            return;
        }
        let Held { parsed, bytes } = held;
        match parsed {
            Ok(command) => self.run_command(exchange, turn, command, bytes),
            Err(CommandError { reply, refused }) => {
                if let Some(refused) = refused {
                    exchange.note_refused_write(*refused);
                }
                self.refuse(exchange, turn, Family::Unknown, reply);
            }
        }
    }

    fn run_command(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        command: Command,
        bytes: usize,
    ) {
        let family = dispatch::family(&command);
        let tag = exchange::resp_tag(family);
        let action = dispatch::dispatch(&turn.context, &mut exchange.session, command);
        let submitted = action.and_then(|action| match action {
            Action::Reply(reply) => {
                turn.count(family, exchange::ending(&reply));
                self.answer(exchange, reply);
                Ok(())
            }
            Action::Silence => {
                turn.count(family, Ending::Answered);
                Ok(())
            }
            Action::Write(write) => {
                let submitted = exchange.submit(turn, tag, write, bytes);
                submitted.map(|()| self.begin_write())
            }
            Action::Scan(scan) => {
                let submitted = exchange.submit_scan(turn, tag, scan);
                submitted.map(|()| self.slots.push_front(Slot::Scan))
            }
            Action::Transaction(commands) => {
                turn.count(family, Ending::Answered);
                self.begin_transaction(exchange, commands);
                Ok(())
            }
        });
        if let Err(reply) = submitted {
            self.refuse(exchange, turn, family, reply);
        }
    }

    fn refuse(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        family: Family,
        reply: ErrorReply,
    ) {
        turn.count(family, Ending::Refused);
        dispatch::note_refusal(&mut exchange.session);
        self.answer(exchange, Reply::Error(reply));
    }

    /// Gives a reply its place: at once, or behind the writes that are under way.
    fn answer(&mut self, exchange: &mut Exchange, reply: Reply) {
        if self.lead == 0 {
            emit(exchange, &reply);
            return;
        }
        self.slots.insert(self.lead, Slot::Ready(reply));
        self.lead += 1;
    }

    fn begin_write(&mut self) {
        if self.lead > 0
            && let Some(Slot::Writes(count)) = self.slots.get_mut(self.lead - 1)
        {
            *count += 1;
            return;
        }
        self.slots.insert(self.lead, Slot::Writes(1));
        self.lead += 1;
    }

    fn end_write(&mut self) {
        match self.slots.front_mut() {
            Some(Slot::Writes(1)) => {
                self.slots.pop_front();
                self.lead -= 1;
            }
            Some(Slot::Writes(count)) => *count -= 1,
            _ => unreachable!("outcomes arrive in the order of the writes"),
        }
    }

    fn emit_ready(&mut self, exchange: &mut Exchange) {
        while let Some(Slot::Ready(reply)) = self.slots.front() {
            emit(exchange, reply);
            self.slots.pop_front();
            self.lead -= 1;
        }
    }

    /// EXEC runs with nothing under way; its commands take the place right in front of what
    /// follows them.
    fn begin_transaction(&mut self, exchange: &mut Exchange, commands: Vec<Command>) {
        emit_array_header(exchange, commands.len());
        for command in commands.into_iter().rev() {
            let bytes = crate::write_queue::ENTRY_BYTES;
            self.held_bytes += bytes;
            self.slots.push_front(Slot::Held(Held { parsed: Ok(command), bytes }));
        }
    }

    fn say_farewell(&mut self, exchange: &mut Exchange) {
        if !self.slots.is_empty() {
            return;
        }
        if let Some(reply) = self.farewell.take() {
            emit(exchange, &Reply::Error(reply));
            exchange.session.closing = true;
        }
    }
}

fn is_write(exchange: &Exchange, held: &Held) -> bool {
    matches!(&held.parsed, Ok(command) if dispatch::is_write(&exchange.session, command))
}

fn emit(exchange: &mut Exchange, reply: &Reply) {
    if exchange.session.takes_reply() {
        encode_reply(reply, exchange.session.version, exchange.output.open());
        exchange.output.end_reply();
    }
}

/// The header of an array whose elements follow as replies of their own.
fn emit_array_header(exchange: &mut Exchange, count: usize) {
    if let Replies::Skip(_) = exchange.session.replies {
        exchange.session.skip(count);
        return;
    }
    if exchange.session.takes_reply() {
        let written = write!(exchange.output.open().writer(), "*{count}\r\n");
        assert!(written.is_ok(), "a growing buffer takes every byte");
    }
}

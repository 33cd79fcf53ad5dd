//! The RESP face of a connection. Replies come in the order of their commands ([RESP-4]), and a
//! command sees every write before it in the same pipeline: commands behind writes that are not
//! applied yet wait, unless they are writes too. Knows nothing of sockets.

use std::collections::VecDeque;
use std::io::Write as _;

use bytes::{BufMut, BytesMut};
use tilekv_protocol::resp::{RequestParser, encode_reply};
use tilekv_protocol::{
    Arguments, Command, CommandError, CommandId, ErrorReply, ErrorStage, ProtocolError, Reply,
};

use crate::delivery::{JobOutcome, SlowOutcome, SlowReply, Tag, WriteOutcomes};
use crate::dispatch::{self, Action, transactions};
use crate::exchange::{self, Exchange, Turn};
use crate::family::Family;
use crate::limits::HELD_COMMAND_COUNT_MAX;
use crate::metrics::Ending;
use crate::received::{self, Received};
use crate::session::Replies;

/// The state of a RESP conversation.
#[derive(Debug, Default)]
pub(crate) struct RespFace {
    parser: RequestParser,
    slots: VecDeque<Slot>,
    /// How many slots at the front are under way, all of one kind, or replies behind them.
    lead: usize,
    /// The arguments of the writes under way, oldest first, and of the scan or cold read.
    under_way: VecDeque<Arguments>,
    /// The number of the newest work on a job.
    newest_work: u64,
    held_bytes: usize,
    /// What to say last, once everything before it is answered.
    farewell: Option<ErrorReply>,
}

/// A place in the order of replies.
#[derive(Debug)]
enum Slot {
    /// So many writes that the committer will answer.
    Writes(usize),
    /// Work on a job, by its number, that a job worker will answer.
    Job(u64, Arguments),
    /// A reply that waits for those before it.
    Ready(Reply),
    /// A scan or a cold read that another thread will answer; nothing behind it runs.
    Scan,
    /// A command that has not run.
    Held(Received),
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
        let (id, parsed) = Command::read(&arguments);
        self.take(exchange, turn, Received { id, parsed, arguments, bytes });
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
            self.note_end(exchange, turn, tag.command, (ending, time));
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
        let SlowReply::Reply(reply) = delivered.reply else {
            unreachable!("columns answer native frames only")
        };
        let (ending, time) = (exchange::ending(&reply), delivered.started.elapsed());
        turn.metrics.record(delivered.tag.family, ending, 1, time);
        self.note_end(exchange, turn, delivered.tag.command, (ending, time));
        emit(exchange, &reply);
    }

    /// Answers work on a job, in its turn: workers are done with different jobs in any order.
    pub(crate) fn deliver_job(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        delivered: JobOutcome,
    ) {
        let JobOutcome { tag, answer, bytes, started } = delivered;
        exchange.in_flight_bytes -= bytes;
        let Ok((reply, ending)) = exchange::job_reply(answer) else {
            unreachable!("arguments are not malformed")
        };
        let time = started.elapsed();
        turn.metrics.record(tag.family, ending, 1, time);
        let is_answered =
            |slot: &&mut Slot| matches!(slot, Slot::Job(work, _) if *work == tag.request);
        let Some(slot) = self.slots.iter_mut().find(is_answered) else {
            unreachable!("work on a job keeps its place until it is answered")
        };
        let Slot::Job(_, arguments) = std::mem::replace(slot, Slot::Ready(reply)) else {
            unreachable!("the slot was looked at just now")
        };
        let client = &exchange.session.client;
        received::note_end(turn, client, tag.command, &arguments, (ending, time));
        self.emit_ready(exchange);
    }

    /// Runs commands that waited, as far as they may run now; false if the turn ended first.
    pub(crate) fn advance(&mut self, exchange: &mut Exchange, turn: &Turn<'_>) -> bool {
        while let Some(Slot::Held(held)) = self.slots.get(self.lead) {
            if !self.may_join(exchange, held) {
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

    fn take(&mut self, exchange: &mut Exchange, turn: &Turn<'_>, held: Received) {
        let nothing_is_held = self.lead == self.slots.len();
        if nothing_is_held && self.may_join(exchange, &held) {
            self.run(exchange, turn, held);
            return;
        }
        self.held_bytes += held.bytes;
        self.slots.push_back(Slot::Held(held));
    }

    /// Whether a command may run while the lead is under way: only one of the same kind may, and
    /// what is in the lead is of one kind.
    fn may_join(&self, exchange: &Exchange, held: &Received) -> bool {
        let Ok(command) = &held.parsed else { return self.lead == 0 };
        match self.slots.front().filter(|_| self.lead > 0) {
            None => true,
            Some(Slot::Job(..)) => dispatch::is_job_work(&exchange.session, command),
            Some(_) => dispatch::is_write(&exchange.session, command),
        }
    }

    /// Runs a command whose place is right behind the lead, or puts it into a transaction.
    fn run(&mut self, exchange: &mut Exchange, turn: &Turn<'_>, held: Received) {
        if exchange.session.closing {
            return;
        }
        if transactions::takes(&exchange.session, &held) {
            return self.queue(exchange, turn, held);
        }
        let Received { id, parsed, arguments, bytes } = held;
        match parsed {
            Ok(command) => {
                received::note_start(turn, &exchange.session.client, id, &arguments);
                self.run_command(exchange, turn, command, (id, arguments, bytes));
            }
            Err(CommandError { reply, refused, stage }) => {
                if let Some(refused) = refused {
                    exchange.note_refused_write(*refused);
                }
                if stage == ErrorStage::Name {
                    transactions::note_refusal(&mut exchange.session);
                }
                let noted = (Ending::Refused, turn.lap());
                received::note_end(turn, &exchange.session.client, id, &arguments, noted);
                self.refuse(exchange, turn, Family::Unknown, reply);
            }
        }
    }

    fn queue(&mut self, exchange: &mut Exchange, turn: &Turn<'_>, held: Received) {
        let family = held.parsed.as_ref().map_or(Family::Unknown, dispatch::family);
        let bytes_max = turn.context.shared.config.connection_queue_bytes_max;
        match transactions::queue(&mut exchange.session, held, bytes_max) {
            Ok(()) => self.answer(exchange, Reply::Simple("QUEUED".into())),
            Err(reply) => self.refuse(exchange, turn, family, reply),
        }
    }

    fn run_command(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        command: Command,
        (id, arguments, bytes): (Option<CommandId>, Arguments, usize),
    ) {
        let family = dispatch::family(&command);
        let tag = exchange::resp_tag(id, family);
        let action = dispatch::dispatch(&turn.context, &mut exchange.session, command);
        let submitted = match action {
            Ok(Action::Reply(reply)) => {
                let noted = (exchange::ending(&reply), turn.lap());
                turn.count(family, noted.0);
                received::note_end(turn, &exchange.session.client, id, &arguments, noted);
                return self.answer(exchange, reply);
            }
            Ok(action) => self.submit(exchange, turn, tag, action, (&arguments, bytes)),
            Err(reply) => Err(reply),
        };
        if let Err(reply) = submitted {
            let noted = (Ending::Refused, turn.lap());
            received::note_end(turn, &exchange.session.client, id, &arguments, noted);
            self.refuse(exchange, turn, family, reply);
        }
    }

    /// Does what is not answered at once.
    fn submit(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        tag: Tag,
        action: Action,
        (arguments, bytes): (&Arguments, usize),
    ) -> Result<(), ErrorReply> {
        match action {
            Action::Reply(_) => unreachable!("replies are answered by the caller"),
            Action::Silence => turn.count(tag.family, Ending::Answered),
            Action::Write(write) => {
                exchange.submit(turn, tag, write, bytes)?;
                self.under_way.push_back(arguments.clone());
                self.begin_write();
            }
            Action::Scan(scan) => {
                exchange.submit_scan(turn, tag, scan)?;
                self.under_way.push_back(arguments.clone());
                self.slots.push_front(Slot::Scan);
            }
            Action::Cold(work) => {
                exchange.submit_cold(turn, tag, work)?;
                self.under_way.push_back(arguments.clone());
                self.slots.push_front(Slot::Scan);
            }
            Action::Job(job, work) => {
                let tag = Tag { request: self.newest_work + 1, ..tag };
                exchange.submit_job(turn, tag, (job, work), bytes)?;
                self.begin_work(arguments.clone());
            }
            Action::Transaction(commands) => {
                turn.count(tag.family, Ending::Answered);
                self.begin_transaction(exchange, commands);
            }
        }
        Ok(())
    }

    /// Notes the end of the oldest write, or of the scan or cold read.
    fn note_end(
        &mut self,
        exchange: &Exchange,
        turn: &Turn<'_>,
        id: Option<CommandId>,
        noted: (Ending, std::time::Duration),
    ) {
        let Some(arguments) = self.under_way.pop_front() else {
            unreachable!("every write and scan under way left its arguments")
        };
        received::note_end(turn, &exchange.session.client, id, &arguments, noted);
    }

    fn refuse(
        &mut self,
        exchange: &mut Exchange,
        turn: &Turn<'_>,
        family: Family,
        reply: ErrorReply,
    ) {
        turn.count(family, Ending::Refused);
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

    fn begin_work(&mut self, arguments: Arguments) {
        self.newest_work += 1;
        self.slots.insert(self.lead, Slot::Job(self.newest_work, arguments));
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
    fn begin_transaction(&mut self, exchange: &mut Exchange, commands: Vec<Received>) {
        emit_array_header(exchange, commands.len());
        for command in commands.into_iter().rev() {
            self.held_bytes += command.bytes;
            self.slots.push_front(Slot::Held(command));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    const VIEW: &str = "VIEW.CREATE v TILE 1m COLUMNS 1 x:i64 FEATURES 2 n=count() s=sum(x)\r\n";
    const READ: &str = "WINDOW.GET v e n@lifetime s@lifetime\r\n";

    fn add(value: i64) -> String {
        format!("TILE.ADD v e 1000 x {value}\r\n")
    }

    fn producer_add(sequence: u64, value: &str) -> String {
        format!("TILE.ADD v e 1000 x {value} PRODUCER p {sequence}\r\n")
    }

    #[test]
    fn a_read_sees_the_writes_before_it_and_none_behind() {
        let mut rig = Rig::new();
        let input = [VIEW, READ, &add(1), &add(2), READ, "PING\r\n", &add(4), READ].concat();
        let expected = "+OK\r\n*2\r\n:0\r\n$-1\r\n:1\r\n:1\r\n*2\r\n:2\r\n:3\r\n+PONG\r\n:1\r\n\
                        *2\r\n:3\r\n:7\r\n";
        assert_eq!(rig.talk(&input), expected);
    }

    #[test]
    fn any_split_of_the_input_answers_the_same() {
        let input = [VIEW, &add(1), READ, "MULTI\r\n", &add(2), READ, "EXEC\r\n", "NOPE\r\n", READ]
            .concat();
        let mut rig = Rig::new();
        let whole = rig.talk(&input);
        assert!(whole.contains("+QUEUED") && whole.contains("-ERR unknown command"), "{whole}");
        for piece_bytes in [1, 2, 7, 30] {
            let mut rig = Rig::new();
            let mut replies = String::new();
            for piece in input.as_bytes().chunks(piece_bytes) {
                replies += &rig.talk(std::str::from_utf8(piece).unwrap());
            }
            assert_eq!(replies, whole, "pieces of {piece_bytes}");
        }
    }

    #[test]
    fn writes_that_follow_each_other_share_a_commit() {
        let mut rig = Rig::new();
        rig.talk(VIEW);
        let before = rig.commit_count();
        let writes: String = (0..500).map(add).collect();
        assert_eq!(rig.talk(&writes), ":1\r\n".repeat(500));
        assert_eq!(rig.commit_count() - before, 1);
    }

    #[test]
    fn a_transaction_answers_one_array_in_order() {
        let mut rig = Rig::new();
        let input = [VIEW, "MULTI\r\n", READ, &add(5), READ, "PING\r\n", "EXEC\r\n", READ].concat();
        let expected = "+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n\
                        *2\r\n:0\r\n$-1\r\n:1\r\n*2\r\n:1\r\n:5\r\n+PONG\r\n*2\r\n:1\r\n:5\r\n";
        assert_eq!(rig.talk(&input), expected);
    }

    #[test]
    fn a_refused_command_makes_exec_refuse() {
        let mut rig = Rig::new();
        let replies = rig.talk("MULTI\r\nPING\r\nNOPE\r\nEXEC\r\nEXEC\r\nDISCARD\r\nPING\r\n");
        let starts: Vec<&str> = replies.lines().map(|line| &line[..line.len().min(10)]).collect();
        let expected =
            ["+OK", "+QUEUED", "-ERR unkno", "-EXECABORT", "-ERR EXEC ", "-ERR DISCA", "+PONG"];
        assert_eq!(starts, expected);
    }

    #[test]
    fn what_follows_a_refused_producer_write_is_refused_until_it_comes_back() {
        let mut rig = Rig::new();
        rig.talk(VIEW);
        let input: String = [
            producer_add(1, "1"),
            producer_add(2, "bad"),
            producer_add(3, "3"),
            producer_add(4, "4"),
            producer_add(2, "2"),
            producer_add(3, "3"),
        ]
        .concat();
        let replies = rig.talk(&input);
        let codes: Vec<&str> =
            replies.lines().map(|line| line.split(" an").next().unwrap()).collect();
        assert_eq!(codes[0], ":1");
        assert!(codes[1].starts_with("-BADVALUE"), "{replies}");
        assert_eq!(codes[2..4], ["-OUTOFORDER 1", "-OUTOFORDER 1"]);
        assert_eq!(codes[4..], [":1", ":1"]);
        assert_eq!(rig.talk(READ), "*2\r\n:3\r\n:6\r\n");
    }

    #[test]
    fn a_syntax_error_of_a_producer_counts_as_a_refusal() {
        let mut rig = Rig::new();
        rig.talk(VIEW);
        let wrong = "TILE.ADD v e yesterday x 1 PRODUCER p 2\r\n";
        let input =
            [&producer_add(1, "1"), wrong, &producer_add(3, "3"), &producer_add(2, "2")].concat();
        let replies = rig.talk(&input);
        let lines: Vec<&str> = replies.lines().collect();
        assert_eq!((lines[0], lines[3]), (":1", ":1"), "{replies}");
        assert!(lines[1].starts_with("-BADVALUE") || lines[1].starts_with("-ERR"), "{replies}");
        assert!(lines[2].starts_with("-OUTOFORDER 1 "), "{replies}");
    }

    #[test]
    fn a_full_queue_is_said_and_counts_as_a_refusal() {
        let mut rig = Rig::new();
        rig.talk(VIEW);
        let taken = rig.fill_write_queue();
        let busy = rig.talk(&producer_add(1, "1"));
        assert!(busy.starts_with("-BUSY "), "{busy}");
        rig.shared.write_queue.release(taken, std::time::Duration::from_millis(1));
        let replies = rig.talk(&[producer_add(2, "2"), producer_add(1, "1")].concat());
        let lines: Vec<&str> = replies.lines().collect();
        assert!(lines[0].starts_with("-OUTOFORDER - "), "{replies}");
        assert_eq!(lines[1], ":1");
    }

    #[test]
    fn a_protocol_error_is_answered_last() {
        let mut rig = Rig::new();
        let replies = rig.talk(&[VIEW, &add(1), READ, "*1\r\n:5\r\nPING\r\n"].concat());
        let rest = replies.strip_prefix("+OK\r\n:1\r\n*2\r\n:1\r\n:1\r\n").unwrap();
        assert!(rest.starts_with("-ERR Protocol error: expected '$'"), "{rest}");
        assert_eq!(rest.lines().count(), 1);
        assert!(rig.exchange.session.closing);
    }

    #[test]
    fn replies_can_be_skipped() {
        let mut rig = Rig::new();
        assert_eq!(rig.talk("CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n"), "$1\r\na\r\n");
        assert_eq!(rig.talk("CLIENT REPLY OFF\r\nPING\r\nPING\r\n"), "");
        assert_eq!(rig.talk("PING\r\nCLIENT REPLY ON\r\nPING\r\n"), "+OK\r\n+PONG\r\n");
        let skipped = "MULTI\r\nPING\r\nPING\r\nCLIENT REPLY SKIP\r\n";
        assert_eq!(rig.talk(skipped), "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
        rig.talk("DISCARD\r\n");
    }

    #[test]
    fn quit_ends_the_conversation_after_what_came_before() {
        let mut rig = Rig::new();
        let replies = rig.talk(&[VIEW, &add(1), "QUIT\r\nPING\r\n"].concat());
        assert_eq!(replies, "+OK\r\n:1\r\n+OK\r\n");
        assert!(rig.exchange.session.closing);
    }

    #[test]
    fn commands_behind_a_write_are_bounded() {
        let mut rig = Rig::new();
        rig.talk(VIEW);
        let taken = rig.feed(&(add(1) + &"PING\r\n".repeat(HELD_COMMAND_COUNT_MAX + 100)));
        assert_eq!(taken, HELD_COMMAND_COUNT_MAX + 1);
        rig.settle();
        assert_eq!(rig.output(), format!(":1\r\n{}", "+PONG\r\n".repeat(HELD_COMMAND_COUNT_MAX)));
        rig.feed("");
        assert_eq!(rig.output(), "+PONG\r\n".repeat(100));
    }

    #[test]
    fn nothing_but_authentication_before_the_password() {
        let mut rig = Rig::with_password("secret");
        let replies = rig.talk("PING\r\nAUTH wrong\r\nAUTH default secret\r\nPING\r\n");
        let lines: Vec<&str> = replies.lines().collect();
        assert!(lines[0].starts_with("-NOAUTH"), "{replies}");
        assert!(lines[1].starts_with("-WRONGPASS"), "{replies}");
        assert_eq!(lines[2..], ["+OK", "+PONG"]);
    }
}

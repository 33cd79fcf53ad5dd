//! COLUMNS: the answers of a read, column by column, written straight from the answers and read
//! without a branch per value. Knows nothing of plans.

use bytes::{Bytes, BytesMut};
use tilekv_tile::{AnswerColumn, Answers, ListKind, Status, Value, Values, WindowBounds};

use super::body::{Body, write_frame};
use super::frame::{FLAG_STATUS, FrameKind};
use super::lists::{ReplyLists, encode_lists, kind_of, type_number};
use super::payload::{Payload, bit, bits, f64s, i64s, item_range, read_u32};
use super::tree::{decode_value, encode_value};
use crate::error::ProtocolError;
use crate::limits::{COLUMNS_MAX, Limits};

const TYPE_I64: u8 = 1;
const TYPE_F64: u8 = 2;
const TYPE_ANY: u8 = 3;

const BOUNDS_NONE: u8 = 0;
const BOUNDS_SHARED: u8 = 1;
const BOUNDS_EACH: u8 = 2;

/// Stands for the start of a window without a bound; timestamps never reach it.
const START_UNBOUNDED: i64 = i64::MIN;

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyColumnKind {
    /// Integers.
    I64,
    /// Doubles.
    F64,
    /// Lists.
    List(ListKind),
    /// Values of any type.
    Any,
}

/// A COLUMNS frame: its columns share the frame's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnsReply {
    rows: usize,
    with_status: bool,
    columns: Vec<ReplyColumn>,
    payload: Bytes,
}

/// One column, as it stands in the frame: little-endian words of eight bytes, and a bitmap with
/// the least significant bit first, as Arrow has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyColumn {
    rows: usize,
    kind: ReplyColumnKind,
    validity: Bytes,
    /// The words; for values of any type, the end of each in `joined`.
    words: Bytes,
    joined: Bytes,
    lists: Option<ReplyLists>,
    details: Option<Details>,
}

/// What comes with the statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Details {
    statuses: Bytes,
    tiles_read: Bytes,
    bounds: Bytes,
}

/// Appends a COLUMNS frame. The buffer stays as it was on an error, which can only be a reply of
/// 4 GiB or more.
///
/// # Panics
/// Where a column has not a value, status and count for each row, or has bounds for some rows.
pub fn encode_answers(
    request_id: u64,
    answers: &Answers,
    with_status: bool,
    out: &mut BytesMut,
) -> Result<(), ProtocolError> {
    let flags = if with_status { FLAG_STATUS } else { 0 };
    out.reserve(frame_bytes_estimate(answers, with_status));
    write_frame(out, FrameKind::Columns, flags, request_id, |body| {
        body.length32("rows", answers.rows);
        body.length32("columns", answers.columns.len());
        for column in &answers.columns {
            encode_column(column, answers.rows, with_status, body);
        }
    })
}

fn frame_bytes_estimate(answers: &Answers, with_status: bool) -> usize {
    let per_row = if with_status { 30 } else { 9 };
    64 + answers.columns.len() * (48 + answers.rows * per_row)
}

/// [NAT-33]
fn encode_column(column: &AnswerColumn, rows: usize, with_status: bool, body: &mut Body<'_>) {
    assert!(column.values.len() == rows, "a column of answers has a value for each row");
    body.u8(match column.values {
        Values::Int { .. } => TYPE_I64,
        Values::Double { .. } => TYPE_F64,
        Values::Any(_) => TYPE_ANY,
        Values::Lists(kind, _) => type_number(kind),
    });
    body.u8(match column.bounds.len() {
        _ if !with_status => BOUNDS_NONE,
        1 => BOUNDS_SHARED,
        _ => BOUNDS_EACH,
    });
    body.u16(0);
    let body_bytes = body.reserve32();
    match &column.values {
        Values::Int { values, valid } => {
            body.bitmap(valid.iter().copied());
            body.i64s(values);
        }
        Values::Double { values, valid } => {
            body.bitmap(valid.iter().copied());
            body.f64s(values);
        }
        Values::Any(values) => encode_any(values, body),
        Values::Lists(kind, values) => encode_lists(*kind, values, body),
    }
    if with_status {
        encode_details(column, rows, body);
    }
    body.fill32("column", body_bytes);
}

/// The ends come before the values, so their places are filled once the values are written.
fn encode_any(values: &[Value], body: &mut Body<'_>) {
    body.bitmap(values.iter().map(|value| *value != Value::Nil));
    let ends = body.reserve_words32(values.len());
    body.pad();
    let start = body.frame_bytes();
    for (index, value) in values.iter().enumerate() {
        if *value != Value::Nil {
            encode_value(value, body);
        }
        body.fill_word32("values", ends, index, body.frame_bytes() - start);
    }
    body.pad();
}

fn encode_details(column: &AnswerColumn, rows: usize, body: &mut Body<'_>) {
    assert!(column.statuses.len() == rows, "a column of answers has a status for each row");
    assert!(column.tiles_read.len() == rows, "a column of answers has a count for each row");
    let bounds = column.bounds.len();
    assert!(bounds == rows || bounds == 1, "a column has one window, or one for each row");
    column.statuses.iter().for_each(|status| body.u8(status_number(*status)));
    body.pad();
    column.tiles_read.iter().for_each(|count| body.u32(*count));
    body.pad();
    for bounds in &column.bounds {
        body.i64(bounds.start.unwrap_or(START_UNBOUNDED));
        body.i64(bounds.end);
    }
}

/// The position in [`Status::ALL`].
fn status_number(status: Status) -> u8 {
    match status {
        Status::Expired => 0,
        Status::Incomplete => 1,
        Status::Stale => 2,
        Status::Unseen => 3,
        Status::Empty => 4,
        Status::Ok => 5,
    }
}

impl ColumnsReply {
    pub(super) fn decode(
        payload_bytes: &Bytes,
        with_status: bool,
        limits: &Limits,
    ) -> Result<Self, ProtocolError> {
        let mut payload = Payload::over(payload_bytes, "COLUMNS");
        let (rows, column_count) = (payload.length32()?, payload.length32()?);
        if column_count > COLUMNS_MAX {
            return Err(payload.malformed("too many columns"));
        }
        let mut columns = Vec::with_capacity(column_count.min(payload.remaining() / 8));
        for _ in 0..column_count {
            columns.push(ReplyColumn::decode(&mut payload, rows, with_status, limits)?);
        }
        payload.end()?;
        Ok(Self { rows, with_status, columns, payload: payload_bytes.clone() })
    }

    /// [NAT-33] The columns stand in the payload that they were read from.
    pub(super) fn encode(&self, body: &mut Body<'_>) {
        body.bytes(&self.payload);
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether statuses, windows and counts of tiles are there.
    pub fn with_status(&self) -> bool {
        self.with_status
    }

    /// The columns, in the order of the plan's selectors.
    pub fn columns(&self) -> &[ReplyColumn] {
        &self.columns
    }

    /// All of it as answers. Without statuses, those parts of the columns are empty.
    pub fn to_answers(&self) -> Answers {
        let columns = self.columns.iter().map(ReplyColumn::to_answer_column).collect();
        Answers { rows: self.rows, columns }
    }
}

impl ReplyColumn {
    fn decode(
        payload: &mut Payload<'_>,
        rows: usize,
        with_status: bool,
        limits: &Limits,
    ) -> Result<Self, ProtocolError> {
        let (kind, bounds_mode) = (payload.u8()?, payload.u8()?);
        payload.reserved(2)?;
        let body_bytes = payload.length32()?;
        let before = payload.remaining();
        let validity = payload.bitmap(rows)?;
        let mut lists = None;
        let (kind, words, joined) = match kind {
            TYPE_I64 => (ReplyColumnKind::I64, payload.array(rows, 8)?, Bytes::new()),
            TYPE_F64 => (ReplyColumnKind::F64, payload.array(rows, 8)?, Bytes::new()),
            TYPE_ANY => {
                let (ends, joined_bytes) = payload.ends(rows)?;
                let joined = payload.bytes(joined_bytes)?;
                payload.pad()?;
                (ReplyColumnKind::Any, ends, joined)
            }
            other => {
                let kind =
                    kind_of(other).ok_or_else(|| payload.malformed("unknown column type"))?;
                lists = Some(ReplyLists::decode(kind, rows, payload)?);
                (ReplyColumnKind::List(kind), Bytes::new(), Bytes::new())
            }
        };
        let details = match (with_status, bounds_mode) {
            (false, BOUNDS_NONE) => None,
            (true, BOUNDS_SHARED) => Some(Details::decode(payload, rows, 1)?),
            (true, BOUNDS_EACH) => Some(Details::decode(payload, rows, rows)?),
            _ => return Err(payload.malformed("a column's bounds do not fit the frame's flags")),
        };
        if before - payload.remaining() != body_bytes {
            return Err(payload.malformed("a column is not as long as it says"));
        }
        let column = Self { rows, kind, validity, words, joined, lists, details };
        column.check_any(limits)?;
        column.check_lists(payload)?;
        Ok(column)
    }

    /// Reads each value of any type once, so that [`ReplyColumn::value`] cannot fail later.
    fn check_any(&self, limits: &Limits) -> Result<(), ProtocolError> {
        if self.kind != ReplyColumnKind::Any {
            return Ok(());
        }
        (0..self.rows).try_for_each(|row| self.any_value(row, limits).map(|_| ()))
    }

    fn check_lists(&self, payload: &Payload<'_>) -> Result<(), ProtocolError> {
        let Some(lists) = &self.lists else {
            return Ok(());
        };
        match (0..self.rows).all(|row| self.is_valid(row) || lists.is_empty(row)) {
            true => Ok(()),
            false => Err(payload.malformed("a row without a value has items")),
        }
    }

    /// The type of the values.
    pub fn kind(&self) -> ReplyColumnKind {
        self.kind
    }

    /// Whether a row has a value.
    ///
    /// # Panics
    /// Where there is no such row, as do the methods below.
    pub fn is_valid(&self, row: usize) -> bool {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        bit(&self.validity, row)
    }

    /// Which rows have a value, one entry each.
    pub fn valid(&self) -> Vec<bool> {
        bits(&self.validity, self.rows)
    }

    /// The bitmap as it stands in the frame.
    pub fn validity(&self) -> &Bytes {
        &self.validity
    }

    /// The words as they stand in the frame, for a column of integers or doubles.
    pub fn words(&self) -> Option<&Bytes> {
        let has_words = matches!(self.kind, ReplyColumnKind::I64 | ReplyColumnKind::F64);
        Some(&self.words).filter(|_| has_words)
    }

    /// The lists as they stand in the frame, for a column of lists.
    pub fn lists(&self) -> Option<&ReplyLists> {
        self.lists.as_ref()
    }

    /// All integers, zero where there is no value; none for a column of another type.
    pub fn i64s(&self) -> Option<Vec<i64>> {
        (self.kind == ReplyColumnKind::I64).then(|| i64s(&self.words))
    }

    /// All doubles, zero where there is no value; none for a column of another type.
    pub fn f64s(&self) -> Option<Vec<f64>> {
        (self.kind == ReplyColumnKind::F64).then(|| f64s(&self.words))
    }

    /// The value of a row.
    pub fn value(&self, row: usize) -> Value {
        if !self.is_valid(row) {
            return Value::Nil;
        }
        if let Some(lists) = &self.lists {
            return lists.value(row);
        }
        match self.kind {
            ReplyColumnKind::I64 => Value::Int(i64::from_le_bytes(self.word(row))),
            ReplyColumnKind::F64 => Value::Double(f64::from_le_bytes(self.word(row))),
            ReplyColumnKind::Any | ReplyColumnKind::List(_) => {
                match self.any_value(row, &Limits::trusting()) {
                    Ok(value) => value,
                    Err(_) => unreachable!("every value was read when the frame was"),
                }
            }
        }
    }

    fn word(&self, row: usize) -> [u8; 8] {
        let (words, _) = self.words.as_chunks::<8>();
        words[row]
    }

    fn any_value(&self, row: usize, limits: &Limits) -> Result<Value, ProtocolError> {
        let bytes = self.joined.slice(item_range(&self.words, row));
        let mut payload = Payload::over(&bytes, "value of a column");
        if !self.is_valid(row) {
            payload.end()?;
            return Ok(Value::Nil);
        }
        let value = decode_value(&mut payload, limits)?;
        payload.end()?;
        if value == Value::Nil {
            return Err(payload.malformed("a valid value is nil"));
        }
        Ok(value)
    }

    /// The status of a row's value, if statuses were asked for.
    pub fn status(&self, row: usize) -> Option<Status> {
        let number = self.details.as_ref()?.statuses[row];
        Status::ALL.get(usize::from(number)).copied()
    }

    /// The numbers of all statuses as they stand in the frame, if they were asked for.
    pub fn status_bytes(&self) -> Option<&Bytes> {
        self.details.as_ref().map(|details| &details.statuses)
    }

    /// The numbers of tiles read as they stand in the frame, if statuses were asked for.
    pub fn tiles_read_words(&self) -> Option<&Bytes> {
        self.details.as_ref().map(|details| &details.tiles_read)
    }

    /// The windows as they stand in the frame, one for each row or for all, if statuses were asked
    /// for.
    pub fn bounds_words(&self) -> Option<&Bytes> {
        self.details.as_ref().map(|details| &details.bounds)
    }

    /// The window of a row's value, if statuses were asked for.
    pub fn bounds(&self, row: usize) -> Option<WindowBounds> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        let (pairs, _) = self.details.as_ref()?.bounds.as_chunks::<16>();
        let pair = if pairs.len() == 1 { &pairs[0] } else { &pairs[row] };
        Some(read_bounds(pair))
    }

    /// How many tiles a row's value was merged from, if statuses were asked for.
    pub fn tiles_read(&self, row: usize) -> Option<u32> {
        let counts = &self.details.as_ref()?.tiles_read;
        Some(read_u32(&counts[row * 4..row * 4 + 4]))
    }

    fn to_answer_column(&self) -> AnswerColumn {
        let values = match self.kind {
            ReplyColumnKind::I64 => Values::Int { values: i64s(&self.words), valid: self.valid() },
            ReplyColumnKind::F64 => {
                Values::Double { values: f64s(&self.words), valid: self.valid() }
            }
            ReplyColumnKind::List(kind) => {
                Values::Lists(kind, (0..self.rows).map(|row| self.value(row)).collect())
            }
            ReplyColumnKind::Any => {
                Values::Any((0..self.rows).map(|row| self.value(row)).collect())
            }
        };
        let (mut statuses, mut bounds, mut tiles_read) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(details) = &self.details {
            statuses = (0..self.rows).filter_map(|row| self.status(row)).collect();
            let (pairs, _) = details.bounds.as_chunks::<16>();
            bounds = pairs.iter().map(read_bounds).collect();
            tiles_read = details.tiles_read.chunks_exact(4).map(read_u32).collect();
        }
        AnswerColumn { values, statuses, bounds, tiles_read }
    }
}

impl Details {
    fn decode(
        payload: &mut Payload<'_>,
        rows: usize,
        bounds: usize,
    ) -> Result<Self, ProtocolError> {
        let statuses = payload.bytes(rows)?;
        payload.pad()?;
        let known = |number: &u8| usize::from(*number) < Status::ALL.len();
        if !statuses.iter().all(known) {
            return Err(payload.malformed("unknown status"));
        }
        let tiles_read = payload.array(rows, 4)?;
        payload.pad()?;
        let bounds = payload.array(bounds, 16)?;
        Ok(Self { statuses, tiles_read, bounds })
    }
}

fn read_bounds(pair: &[u8; 16]) -> WindowBounds {
    let (words, _) = pair.as_chunks::<8>();
    let start = Some(i64::from_le_bytes(words[0])).filter(|start| *start != START_UNBOUNDED);
    WindowBounds { start, end: i64::from_le_bytes(words[1]) }
}

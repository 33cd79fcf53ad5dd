//! Reads prepared once and used many times, and the batches of answers that they give. Knows
//! nothing of how connections come and go.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tilekv_protocol::ReadTime;
use tilekv_protocol::native::{
    ColumnsReply, PlanRequest, ReplyColumn, ReplyColumnKind, ReplyLists, Request,
};
use tilekv_tile::{Answers, Edge, Name, Selector, Status, TileError, Value, WindowBounds};

use crate::client::Client;
use crate::error::ClientError;
use crate::pool::Pool;

/// What a plan reads of each entity: windows of one view or several.
///
/// ```
/// use tilekv_client::{Edge, PlanBuilder};
///
/// # fn main() -> Result<(), tilekv_client::TileError> {
/// let wanted = PlanBuilder::new()
///     .view("shop.likes", ["likes@1h", "likes@7d", "likes@7d:7d"])?
///     .view("shop.orders", ["spent@30d"])?
///     .edge(Edge::Live);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct PlanBuilder {
    groups: Vec<(Name, Vec<Selector>)>,
    edge: Option<Edge>,
    known: bool,
}

impl PlanBuilder {
    /// A plan of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds windows of a view, as selectors such as `likes@7d:1d`. The columns of a batch come in
    /// the order in which they were added.
    ///
    /// # Errors
    /// A name or selector that cannot be read; the error names the part that is wrong.
    pub fn view<S: AsRef<[u8]>>(
        mut self,
        view: impl AsRef<[u8]>,
        selectors: impl IntoIterator<Item = S>,
    ) -> Result<Self, TileError> {
        let selectors = selectors.into_iter().map(|selector| Selector::parse(selector.as_ref()));
        let selectors = selectors.collect::<Result<_, _>>()?;
        self.groups.push((Name::parse(view.as_ref())?, selectors));
        Ok(self)
    }

    /// Ends windows at this edge in place of the views' own.
    pub fn edge(mut self, edge: Edge) -> Self {
        self.edge = Some(edge);
        self
    }

    /// Counts only seals that were known at the time of the read (`KNOWN`).
    pub fn known_seals_only(mut self) -> Self {
        self.known = true;
        self
    }

    pub(crate) fn finish(self, client: Client) -> Plan {
        let Self { groups, edge, known } = self;
        let columns = groups.iter().flat_map(|(view, selectors)| {
            selectors.iter().map(move |selector| (view.clone(), selector.clone()))
        });
        let columns = columns.collect();
        let request = PlanRequest { groups, edge, known };
        Plan::new(client, Request::Prepare(request), columns, 1)
    }
}

/// A prepared read. It is prepared on each connection when it is first used there, and again
/// after a reconnect; cloning it is cheap, and the last clone to go releases it.
#[derive(Debug, Clone)]
pub struct Plan {
    client: Client,
    shared: Arc<PlanShared>,
}

#[derive(Debug)]
pub(crate) struct PlanShared {
    /// The client's own number of the plan, unique in this process.
    pub(crate) id: u64,
    /// What prepares it.
    pub(crate) request: Request,
    /// How many keys make a row.
    pub(crate) keys_per_row: usize,
    columns: Vec<(Name, Selector)>,
    pool: Weak<Pool>,
}

/// When a read is made for, and what comes with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The time: the server's clock, one time, or one for each entity.
    pub time: ReadTime,
    /// What comes with each value.
    pub detail: Detail,
}

/// What comes with the values of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing: the fastest.
    Values,
    /// The status, the window and the number of tiles read.
    Status,
}

impl ReadOptions {
    /// Values alone, by the server's clock.
    pub const NOW: Self = Self { time: ReadTime::Now, detail: Detail::Values };

    /// Values alone, at a time in milliseconds since the epoch.
    pub fn at(timestamp_ms: i64) -> Self {
        Self { time: ReadTime::At(timestamp_ms), detail: Detail::Values }
    }

    /// Values alone, each entity at its own time.
    pub fn at_each(timestamps_ms: Vec<i64>) -> Self {
        Self { time: ReadTime::Each(timestamps_ms), detail: Detail::Values }
    }

    /// The same with statuses, windows and numbers of tiles read.
    pub fn with_status(mut self) -> Self {
        self.detail = Detail::Status;
        self
    }
}

impl Plan {
    /// A plan that `request` prepares, with these columns.
    pub(crate) fn new(
        client: Client,
        request: Request,
        columns: Vec<(Name, Selector)>,
        keys_per_row: usize,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let pool = Arc::downgrade(client.pool());
        Self { client, shared: Arc::new(PlanShared { id, request, keys_per_row, columns, pool }) }
    }

    pub(crate) fn shared(&self) -> &Arc<PlanShared> {
        &self.shared
    }

    /// Reads all windows of the plan for these entities, in one request.
    ///
    /// # Errors
    /// `NoView`, `NoFeature` or `BadWindow` where the views no longer allow the plan; `BadValue`
    /// for an entity of the wrong form; `Limit` for more than 2^20 values; failures on the way. A
    /// read that was lost is sent again by the client's schedule.
    pub async fn read<K: AsRef<[u8]>>(
        &self,
        entities: &[K],
        options: &ReadOptions,
    ) -> Result<Batch, ClientError> {
        self.client.read(&self.shared, entities, options).await
    }

    /// As [`Plan::read`], for rows of key values side by side.
    pub(crate) async fn read_rows(
        &self,
        values: &[&[u8]],
        options: &ReadOptions,
    ) -> Result<Batch, ClientError> {
        self.client.read(&self.shared, values, options).await
    }

    /// The columns of a batch: view and selector, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&Name, &Selector)> {
        self.shared.columns()
    }
}

impl PlanShared {
    fn columns(&self) -> impl Iterator<Item = (&Name, &Selector)> {
        self.columns.iter().map(|(view, selector)| (view, selector))
    }
}

impl Drop for PlanShared {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        for connection in pool.open_connections() {
            connection.forget_plan(self.id);
        }
    }
}

/// The answers of a read: a column for each selector of the plan, a row for each entity. The
/// values stay in the frame that they came in.
#[derive(Debug, Clone)]
pub struct Batch {
    reply: Box<ColumnsReply>,
    plan: Arc<PlanShared>,
}

/// One column of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    view: &'a Name,
    selector: &'a Selector,
    column: &'a ReplyColumn,
    rows: usize,
}

impl Batch {
    /// Checks that the reply has the plan's columns and a row for each entity.
    pub(crate) fn new(
        reply: Box<ColumnsReply>,
        plan: Arc<PlanShared>,
        rows: usize,
    ) -> Result<Self, ClientError> {
        let columns = plan.columns.len();
        if reply.rows() == rows && reply.columns().len() == columns {
            return Ok(Self { reply, plan });
        }
        let found = format!("{} rows of {} columns", reply.rows(), reply.columns().len());
        let expected = "a row for each entity and a column for each selector";
        Err(ClientError::UnexpectedAnswer { expected, found })
    }

    /// How many rows each column has: the number of entities.
    pub fn rows(&self) -> usize {
        self.reply.rows()
    }

    /// The columns, in the order of the plan's selectors.
    pub fn columns(&self) -> impl Iterator<Item = Column<'_>> {
        let rows = self.rows();
        self.plan
            .columns()
            .zip(self.reply.columns())
            .map(move |((view, selector), column)| Column { view, selector, column, rows })
    }

    /// The column at an index.
    ///
    /// # Panics
    /// Where the plan has fewer selectors.
    pub fn column(&self, index: usize) -> Column<'_> {
        let Some(column) = self.columns().nth(index) else {
            panic!("column {index} of {}", self.reply.columns().len());
        };
        column
    }

    /// The value of an entity in a column.
    ///
    /// # Panics
    /// Where there is no such row or column.
    pub fn value(&self, row: usize, column: usize) -> Value {
        self.reply.columns()[column].value(row)
    }

    /// A copy of everything as plain columns.
    pub fn to_answers(&self) -> Answers {
        self.reply.to_answers()
    }
}

impl<'a> Column<'a> {
    /// The view that the column is of.
    pub fn view(&self) -> &'a Name {
        self.view
    }

    /// The selector that the column answers.
    pub fn selector(&self) -> &'a Selector {
        self.selector
    }

    /// Whether the values are integers, doubles, lists, or of any type.
    pub fn kind(&self) -> ReplyColumnKind {
        self.column.kind()
    }

    /// Whether a row has a value.
    ///
    /// # Panics
    /// Where there is no such row, as do the methods below that name one.
    pub fn is_valid(&self, row: usize) -> bool {
        self.column.is_valid(row)
    }

    /// The value of a row.
    pub fn value(&self, row: usize) -> Value {
        self.column.value(row)
    }

    /// All values in order, of any type.
    pub fn values(&self) -> impl Iterator<Item = Value> + use<'a> {
        let column = self.column;
        (0..self.rows).map(move |row| column.value(row))
    }

    /// All integers in order, none for nil; none at all for a column of another type.
    pub fn i64s(&self) -> Option<impl Iterator<Item = Option<i64>> + use<'a>> {
        let words = self.words_of(ReplyColumnKind::I64)?;
        Some(words.map(|word| word.map(i64::from_le_bytes)))
    }

    /// All doubles in order, none for nil; none at all for a column of another type.
    pub fn f64s(&self) -> Option<impl Iterator<Item = Option<f64>> + use<'a>> {
        let words = self.words_of(ReplyColumnKind::F64)?;
        Some(words.map(|word| word.map(f64::from_le_bytes)))
    }

    /// The bitmap of rows with a value, least significant bit first, as Arrow has it.
    pub fn validity(&self) -> &'a Bytes {
        self.column.validity()
    }

    /// The values as little-endian words of eight bytes; none for a column of any type.
    pub fn words(&self) -> Option<&'a Bytes> {
        self.column.words()
    }

    /// The lists of all rows side by side, as Arrow has them; none for a column of another type.
    pub fn lists(&self) -> Option<&'a ReplyLists> {
        self.column.lists()
    }

    /// The status of a row's value; none unless statuses were asked for.
    pub fn status(&self, row: usize) -> Option<Status> {
        self.column.status(row)
    }

    /// All statuses in order; empty unless they were asked for.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + use<'a> {
        let column = self.column;
        (0..self.rows).filter_map(move |row| column.status(row))
    }

    /// The window of a row's value; none unless statuses were asked for.
    pub fn bounds(&self, row: usize) -> Option<WindowBounds> {
        self.column.bounds(row)
    }

    /// How many stored tiles a row's value was merged from; none unless statuses were asked for.
    pub fn tiles_read(&self, row: usize) -> Option<u32> {
        self.column.tiles_read(row)
    }

    /// The numbers of all statuses as they stand in the frame, a byte for each row, in the order
    /// of [`Status::ALL`]; none unless statuses were asked for.
    pub fn status_bytes(&self) -> Option<&'a Bytes> {
        self.column.status_bytes()
    }

    /// The numbers of tiles read as they stand in the frame, four bytes for each row; none unless
    /// statuses were asked for.
    pub fn tiles_read_words(&self) -> Option<&'a Bytes> {
        self.column.tiles_read_words()
    }

    /// The windows as they stand in the frame, start and end of eight bytes, once for each row or
    /// once for all; none unless statuses were asked for. A start of `i64::MIN` is no bound.
    pub fn bounds_words(&self) -> Option<&'a Bytes> {
        self.column.bounds_words()
    }

    fn words_of(
        &self,
        kind: ReplyColumnKind,
    ) -> Option<impl Iterator<Item = Option<[u8; 8]>> + use<'a>> {
        let column = self.column;
        let words = column.words().filter(|_| column.kind() == kind)?;
        let (words, _) = words.as_chunks::<8>();
        let valid = move |(row, word): (usize, &[u8; 8])| column.is_valid(row).then_some(*word);
        Some(words.iter().enumerate().map(valid))
    }
}

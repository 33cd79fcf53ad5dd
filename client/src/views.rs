//! Views and seals: created, changed, listed. Knows nothing of what tiles hold.

use tilekv_protocol::Reply;
use tilekv_tile::{Name, ViewChange, ViewDefinition};

use crate::client::{Client, Resend};
use crate::definition::{alter_arguments, create_arguments, from_fields};
use crate::error::ClientError;
use crate::reply::{Fields, done, integer, list, text, tuple};

/// What VIEW.INFO tells of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewInfo {
    /// Its definition.
    pub definition: ViewDefinition,
    /// How many entities hold tiles.
    pub entities: u64,
    /// How many tiles are stored.
    pub tiles: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The sealed ranges.
    pub seals: Vec<Seal>,
    /// The newest event's time, in milliseconds since the epoch; none before the first event.
    pub newest_event: Option<i64>,
    /// How many milliseconds the newest complete time lies back; none where nothing is sealed.
    pub seal_lag: Option<i64>,
    /// How many late events were dropped.
    pub late_dropped: u64,
    /// How many events were older than the retention.
    pub too_old: u64,
    /// How many rows the job took that was committed last, in the last 7 days.
    pub last_job_rows: Option<i64>,
    /// When that was, in milliseconds since the epoch.
    pub last_job_at: Option<i64>,
}

/// A sealed range of a view's time: `[from, to)` in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seal {
    /// The first millisecond.
    pub from: i64,
    /// The first millisecond after it.
    pub to: i64,
    /// The server's time when the seal was made.
    pub made_at: i64,
}

impl Client {
    /// Creates a view.
    ///
    /// # Errors
    /// `Input` for a definition that breaks a rule, `Refused` where the view exists already,
    /// failures on the way.
    pub async fn create_view(&self, definition: &ViewDefinition) -> Result<(), ClientError> {
        definition.validate()?;
        done(self.run(&create_arguments(definition), Resend::IfNotSent).await?)
    }

    /// Changes a view: adds columns and features, or sets options.
    ///
    /// # Errors
    /// `NoView`, `Refused` for a change that the view does not allow, failures on the way.
    pub async fn alter_view(&self, view: &Name, change: &ViewChange) -> Result<(), ClientError> {
        done(self.run(&alter_arguments(view, change), Resend::IfNotSent).await?)
    }

    /// Drops a view with its tiles, seals and producers.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn drop_view(&self, view: &Name) -> Result<(), ClientError> {
        done(self.run(&["VIEW.DROP", view.as_str()], Resend::IfNotSent).await?)
    }

    /// The names of all views.
    ///
    /// # Errors
    /// Failures on the way.
    pub async fn view_names(&self) -> Result<Vec<Name>, ClientError> {
        let reply = self.run(&["VIEW.LIST"], Resend::Always).await?;
        list(reply, |item| Ok(Name::parse(text(item)?.as_bytes())?))
    }

    /// The definition of a view and how much it holds.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn view_info(&self, view: &Name) -> Result<ViewInfo, ClientError> {
        let reply = self.run(&["VIEW.INFO", view.as_str()], Resend::Always).await?;
        let mut fields = Fields::of(reply)?;
        Ok(ViewInfo {
            definition: from_fields(&mut Fields::of(fields.take("definition"))?)?,
            entities: fields.unsigned("entities")?,
            tiles: fields.unsigned("tiles")?,
            bytes: fields.unsigned("bytes")?,
            seals: fields.list("seals", seal)?,
            newest_event: fields.optional_integer("newest_event")?,
            seal_lag: fields.optional_integer("seal_lag")?,
            late_dropped: fields.unsigned("late_dropped")?,
            too_old: fields.unsigned("too_old")?,
            last_job_rows: fields.optional_integer("last_job_rows")?,
            last_job_at: fields.optional_integer("last_job_at")?,
        })
    }

    /// States that `[from_ms, to_ms)` of a view's time is complete, empty or not.
    ///
    /// # Errors
    /// `NoView`, `Refused` for bounds that are no multiples of the tile, failures on the way.
    pub async fn add_seal(&self, view: &Name, from_ms: i64, to_ms: i64) -> Result<(), ClientError> {
        self.seal_command("SEAL.ADD", view, from_ms, to_ms).await
    }

    /// Withdraws that statement.
    ///
    /// # Errors
    /// As [`Client::add_seal`].
    pub async fn delete_seal(
        &self,
        view: &Name,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<(), ClientError> {
        self.seal_command("SEAL.DEL", view, from_ms, to_ms).await
    }

    /// The sealed ranges of a view, ascending.
    ///
    /// # Errors
    /// `NoView`, failures on the way.
    pub async fn seals(&self, view: &Name) -> Result<Vec<Seal>, ClientError> {
        list(self.run(&["SEAL.LIST", view.as_str()], Resend::Always).await?, seal)
    }

    /// Adding and withdrawing a seal twice comes to the same, but a seal remembers when it was
    /// made, so that neither is sent again once it left.
    async fn seal_command(
        &self,
        command: &str,
        view: &Name,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<(), ClientError> {
        let arguments = [command, view.as_str(), &from_ms.to_string(), &to_ms.to_string()];
        done(self.run(&arguments, Resend::IfNotSent).await?)
    }
}

fn seal(reply: Reply) -> Result<Seal, ClientError> {
    let [from, to, made_at] = tuple(reply)?;
    Ok(Seal { from: integer(from)?, to: integer(to)?, made_at: integer(made_at)? })
}

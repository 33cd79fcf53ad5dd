//! What can be said on the command line. Knows nothing of what is done about it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::limits::BATCH_ROWS_MAX;

/// Talks to a TileKV server.
#[derive(Debug, Parser)]
#[command(name = "tilekv", version, about, max_term_width = 100)]
#[command(after_help = "Times are milliseconds since 1970-01-01 UTC, dates such as 2013-07-01 or \
    2013-07-01T12:30:00Z (UTC), or now.\n\
    Exit codes: 0 done, 1 refused by the server, 2 wrong command line, 3 server not reached, \
    4 unusable file, 5 output not written, 6 damage found, 7 changes pending (plan).")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// Which server, and how long to wait for it. Variables that begin with `TILEKV_` are the server's,
/// which refuses those that it does not know.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// The server's address
    #[arg(long, global = true, env = "TKV_SERVER", default_value = "127.0.0.1:8453")]
    #[arg(value_name = "HOST:PORT")]
    pub(crate) server: String,
    /// The password, where the server asks for one
    #[arg(long, global = true, env = "TKV_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// The user, where it is not the default one
    #[arg(long, global = true, env = "TKV_USER")]
    pub(crate) user: Option<String>,
    /// Seconds to wait for one answer
    #[arg(long, global = true, default_value_t = 30, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) timeout: u64,
    /// Seconds to go on trying when the server cannot be reached [default: 0, for load 60]
    #[arg(long, global = true, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) retry: Option<u64>,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Measure the way to the server and back
    Ping(Ping),
    /// Create, list, describe, change and drop views
    #[command(subcommand)]
    View(View),
    /// Show what a file of views and services would change
    Plan(Plan),
    /// Make views and services what a file says, after showing it
    Apply(Apply),
    /// Create, list, describe, ask and drop feature services
    #[command(subcommand)]
    Service(Service),
    /// Add one event to the tile that holds its time
    Add(Add),
    /// Replace one tile by partials
    Set(TileWrite),
    /// Merge partials into one tile
    Merge(TileWrite),
    /// Show the stored tiles of an entity
    Range(Range),
    /// Delete tiles or entities
    #[command(subcommand)]
    Del(Delete),
    /// State which time is complete
    #[command(subcommand)]
    Seal(Seal),
    /// Show the last sequence of a producer that was applied
    Producer(Producer),
    /// Load a CSV or Parquet file, exactly once
    Load(Box<Load>),
    /// Begin, commit, abort and show jobs
    #[command(subcommand)]
    Job(Job),
    /// Ask for windows of entities
    Get(Get),
    /// Add what the store would have answered to each row of a CSV or Parquet file
    TrainingSet(Box<TrainingSet>),
    /// Show how a window came to its value, as a timeline
    Explain(Explain),
    /// Back up a store's folder, also while a server is using it
    Backup(Backup),
    /// Make a store's folder from a backup
    Restore(Restore),
    /// Check every checksum of a store's folder or of a backup, and name what is bad
    Verify(Verify),
    /// Load the flights of 2013, ask for windows of them, and say how fast that was
    Demo(Demo),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `tilekv ping`.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    /// How many times
    #[arg(long, default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) count: u32,
}

/// `tilekv view ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum View {
    /// Create a view from arguments, or views from a TOML file
    #[command(after_help = "Example:\n  tilekv view create shop.likes TILE 1h RETENTION 90d \
        COLUMNS 1 amount:f64 FEATURES 2 'likes=count()' 'spent=sum(amount)'")]
    Create {
        /// The name, then the arguments of VIEW.CREATE
        #[arg(required_unless_present = "file", trailing_var_arg = true)]
        #[arg(allow_hyphen_values = true, value_name = "NAME TILE DURATION ..")]
        words: Vec<String>,
        /// A TOML file with one `[[view]]` table per view
        #[arg(long, conflicts_with = "words")]
        file: Option<PathBuf>,
    },
    /// List the views
    List,
    /// Show a view's definition and how much it holds
    Info {
        /// The view
        view: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add columns and features, or change options
    #[command(after_help = "Example:\n  tilekv view alter shop.likes ADD FEATURES 1 \
        'largest=max(amount)' RETENTION 180d")]
    Alter {
        /// The name, then the arguments of VIEW.ALTER
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        #[arg(value_name = "NAME ADD FEATURES ..")]
        words: Vec<String>,
    },
    /// Drop a view with its tiles, seals and producers
    Drop {
        /// The view
        view: String,
    },
}

/// `tilekv plan`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tilekv plan views.toml --detailed-exitcode")]
pub(crate) struct Plan {
    /// A TOML file with a `[[view]]` table per view and a `[[service]]` table per service
    pub(crate) file: PathBuf,
    /// Drop views and services that the file does not declare
    #[arg(long)]
    pub(crate) delete: bool,
    /// End with status 7 where there is something to change, for scripts
    #[arg(long)]
    pub(crate) detailed_exitcode: bool,
}

/// `tilekv apply`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tilekv apply views.toml --yes")]
pub(crate) struct Apply {
    /// A TOML file with a `[[view]]` table per view and a `[[service]]` table per service
    pub(crate) file: PathBuf,
    /// Drop views and services that the file does not declare
    #[arg(long)]
    pub(crate) delete: bool,
    /// Go ahead without asking
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `tilekv service ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Service {
    /// Create a service
    #[command(after_help = "Example:\n  tilekv service create ranking shop.likes.likes@7d \
        users.visits@1h")]
    Create {
        /// The service
        service: String,
        /// Windows: `view.feature@window[:offset]`
        #[arg(required = true, value_name = "SELECTOR")]
        selectors: Vec<String>,
    },
    /// List the services
    List,
    /// Show a service's selectors, keys and views
    Info {
        /// The service
        service: String,
    },
    /// Ask for the vectors of rows of key values
    #[command(after_help = "Example:\n  tilekv service get ranking user=u:1,item=i:7 \
        user=u:1,item=i:8")]
    Get {
        /// The service
        service: String,
        /// A row of key values; a key left out is one that the row does not have
        #[arg(required = true, value_name = "KEY=VALUE,..")]
        rows: Vec<String>,
        /// The time to ask for [default: the server's clock]
        #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
        at: Option<String>,
        /// Count only seals that were known at that time
        #[arg(long, requires = "at")]
        known: bool,
    },
    /// Drop a service; its views stay
    Drop {
        /// The service
        service: String,
    },
}

/// `tilekv add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The view
    pub(crate) view: String,
    /// The entity; the values of several keys are joined by \x1F
    pub(crate) entity: String,
    /// The time of the event
    #[arg(allow_hyphen_values = true)]
    pub(crate) time: String,
    /// Values; a column left out is null
    #[arg(value_name = "COLUMN=VALUE")]
    pub(crate) values: Vec<String>,
}

/// `tilekv set` and `tilekv merge`.
#[derive(Debug, Args)]
pub(crate) struct TileWrite {
    /// The view
    pub(crate) view: String,
    /// The entity; the values of several keys are joined by \x1F
    pub(crate) entity: String,
    /// The start of the tile
    #[arg(allow_hyphen_values = true)]
    pub(crate) tile_start: String,
    /// Partials in JSON, as `tilekv range` shows them
    #[arg(value_name = "FEATURE=PARTIAL", required = true)]
    pub(crate) partials: Vec<String>,
}

/// `tilekv range`.
#[derive(Debug, Args)]
pub(crate) struct Range {
    /// The view
    pub(crate) view: String,
    /// The entity; the values of several keys are joined by \x1F
    pub(crate) entity: String,
    /// The first tile start
    #[arg(allow_hyphen_values = true)]
    pub(crate) from: String,
    /// The tile start to stop before
    #[arg(allow_hyphen_values = true)]
    pub(crate) to: String,
    /// These features only
    #[arg(long, value_delimiter = ',')]
    pub(crate) features: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `tilekv del ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Delete {
    /// Delete the tiles of an entity in a range of time
    Tiles {
        /// The view
        view: String,
        /// The entity; the values of several keys are joined by \x1F
        entity: String,
        /// The first tile start
        #[arg(allow_hyphen_values = true)]
        from: String,
        /// The tile start to stop before
        #[arg(allow_hyphen_values = true)]
        to: String,
    },
    /// Delete an entity from these views, or from all
    Entity {
        /// The entity; the values of several keys are joined by \x1F
        entity: String,
        /// The views; without any, all
        views: Vec<String>,
    },
}

/// `tilekv seal ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Seal {
    /// State that a range of a view's time is complete
    Add(SealRange),
    /// Withdraw that
    Del(SealRange),
    /// List the sealed ranges
    List {
        /// The view
        view: String,
    },
}

/// A range of a view's time.
#[derive(Debug, Args)]
pub(crate) struct SealRange {
    /// The view
    pub(crate) view: String,
    /// The start: a multiple of the tile size
    #[arg(allow_hyphen_values = true)]
    pub(crate) from: String,
    /// The end: a multiple of the tile size
    #[arg(allow_hyphen_values = true)]
    pub(crate) to: String,
}

/// `tilekv producer`.
#[derive(Debug, Args)]
pub(crate) struct Producer {
    /// The view
    pub(crate) view: String,
    /// The producer's id
    pub(crate) id: String,
}

/// `tilekv load`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Each batch is written exactly once: the producer's id is made of the \
    file's content and these options, and its sequence is the batch's number. A load that broke \
    off goes on where it stopped when the same command is given again.\n\n\
    Example:\n  tilekv load data/flights.csv.gz --view carrier --entity carrier --time time \
    --map delay=dep_delay")]
pub(crate) struct Load {
    /// A Parquet file, or a CSV file with a header line, plain or .gz
    pub(crate) file: PathBuf,
    /// The view
    #[arg(long)]
    pub(crate) view: String,
    /// The CSV columns that make the entity, one for each key of the view
    #[arg(long, value_delimiter = ',', required = true, value_name = "COLUMN,..")]
    pub(crate) entity: Vec<String>,
    /// The CSV column with the time of the event
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: String,
    /// How times are written
    #[arg(long, value_enum, default_value_t = TimeForm::Millis)]
    pub(crate) time_form: TimeForm,
    /// Which CSV column fills a column of the view [default: the one of the same name]
    #[arg(long, value_name = "VIEW_COLUMN=CSV_COLUMN")]
    pub(crate) map: Vec<String>,
    /// The text that is null in any column [default: empty text, in columns of numbers]
    #[arg(long, value_name = "TEXT")]
    pub(crate) null: Option<String>,
    /// Pass over rows whose entity or time is empty, instead of stopping
    #[arg(long)]
    pub(crate) skip_missing: bool,
    /// The character between cells
    #[arg(long, default_value_t = ',', value_name = "CHARACTER")]
    pub(crate) delimiter: char,
    /// Rows of one batch
    #[arg(long, default_value_t = 10_000, value_name = "ROWS", value_parser = batch_rows)]
    pub(crate) batch: usize,
    /// Batches under way at most
    #[arg(long, default_value_t = 16, value_name = "BATCHES")]
    pub(crate) in_flight: usize,
    /// The producer's id, in place of the one made of file and options
    #[arg(long, value_name = "ID")]
    pub(crate) producer: Option<String>,
    #[command(flatten)]
    pub(crate) as_job: AsJob,
}

/// How a file is loaded as a job.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AsJob {
    /// Publish all rows at once, in place of what the view holds for their time
    #[arg(long, conflicts_with = "producer")]
    pub(crate) job: bool,
    /// The start of the job's range: a multiple of the tile size [default: of the first row's tile]
    #[arg(long, requires = "job", allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// The end of the job's range: a multiple of the tile size [default: of the last row's tile]
    #[arg(long, requires = "job", allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// What becomes of what the range holds [default: replace]
    #[arg(long, requires = "job", value_enum)]
    pub(crate) mode: Option<ModeWord>,
    /// Refuse to publish any other number of rows
    #[arg(long, requires = "job", value_name = "ROWS")]
    pub(crate) rows: Option<u64>,
    /// Publish and seal even where the file has no row, or fewer than the view's MINROWS
    #[arg(long, requires = "job")]
    pub(crate) allow_empty: bool,
    /// Leave the range unsealed
    #[arg(long, requires = "job")]
    pub(crate) no_seal: bool,
    /// The job's token, in place of the one made of file and options
    #[arg(long, requires = "job", value_name = "TOKEN")]
    pub(crate) token: Option<String>,
}

/// What a job's commit does to what its range holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModeWord {
    /// It goes
    Replace,
    /// It stays, and the job's rows are added
    Merge,
}

/// `tilekv job ..`.
#[derive(Debug, Subcommand)]
pub(crate) enum Job {
    /// Begin a job and print its id
    Begin {
        /// The view
        view: String,
        /// The start of its range: a multiple of the tile size
        #[arg(allow_hyphen_values = true)]
        from: String,
        /// The end of its range: a multiple of the tile size
        #[arg(allow_hyphen_values = true)]
        to: String,
        /// What becomes of what the range holds
        #[arg(long, value_enum, default_value_t = ModeWord::Replace)]
        mode: ModeWord,
        /// Abort it when no command names it for so long, such as 6h [default: 1h]
        #[arg(long, value_name = "DURATION")]
        abort_after: Option<String>,
        /// A token by which the same job is found again
        #[arg(long)]
        token: Option<String>,
    },
    /// Publish all rows of a job and seal its range
    Commit {
        /// The job's id
        job: String,
        /// Refuse to publish any other number of rows
        #[arg(long)]
        rows: Option<u64>,
        /// Publish and seal even without rows
        #[arg(long)]
        allow_empty: bool,
        /// Leave the range unsealed
        #[arg(long)]
        no_seal: bool,
    },
    /// Forget a job and its rows
    Abort {
        /// The job's id
        job: String,
    },
    /// Show a job
    Info {
        /// The job's id
        job: String,
    },
    /// List open jobs, and those committed in the last 7 days
    List,
}

/// How a CSV file writes times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TimeForm {
    /// Milliseconds since 1970-01-01 UTC
    Millis,
    /// Seconds since then
    Seconds,
    /// 2013-07-01T12:30:00Z, in UTC
    Iso,
}

/// `tilekv get`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tilekv get shop.likes u:42 u:43 likes@1h likes@7d spent@30d")]
pub(crate) struct Get {
    /// The view
    pub(crate) view: String,
    /// Entities, then selectors: `feature@window[:offset]`
    #[arg(required = true, value_name = "ENTITY.. SELECTOR..")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    pub(crate) moment: Moment,
    /// Count only seals that were known at that time
    #[arg(long, requires = "at")]
    pub(crate) known: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV
    #[arg(long)]
    pub(crate) csv: bool,
}

/// When a window is asked for, and where it ends.
#[derive(Debug, Args)]
pub(crate) struct Moment {
    /// The time to ask for [default: the server's clock]
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Where windows end [default: what the view says]
    #[arg(long, value_enum)]
    pub(crate) edge: Option<EdgeWord>,
}

/// Where windows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EdgeWord {
    /// Before the tile that holds the time
    Closed,
    /// After it
    Live,
}

/// `tilekv training-set`.
#[derive(Debug, Args)]
#[command(after_help = "Every row is asked for at its own time, by the code that serves. All \
    columns of the file are kept, and a column follows for each window.\n\n\
    Example:\n  tilekv training-set clicks.parquet train.parquet --service ranking --time at \
    --map user=user_id")]
pub(crate) struct TrainingSet {
    /// A Parquet file, or a CSV file with a header line, plain or .gz: keys, times, labels
    pub(crate) file: PathBuf,
    /// The file to write, which must not exist: Parquet where it ends in .parquet, else CSV
    pub(crate) out: PathBuf,
    /// The feature service
    #[arg(long, conflicts_with_all = ["view", "select"], required_unless_present = "view")]
    pub(crate) service: Option<String>,
    /// The view, with --select
    #[arg(long, requires = "select")]
    pub(crate) view: Option<String>,
    /// Windows of the view: `feature@window[:offset]`
    #[arg(long, value_delimiter = ',', value_name = "SELECTOR,..", requires = "view")]
    pub(crate) select: Vec<String>,
    /// The column with the time to ask for
    #[arg(long, value_name = "COLUMN")]
    pub(crate) time: String,
    /// How times are written
    #[arg(long, value_enum, default_value_t = TimeForm::Millis)]
    pub(crate) time_form: TimeForm,
    /// Which column of the file has the values of a key [default: the one of the same name]
    #[arg(long, value_name = "KEY=COLUMN")]
    pub(crate) map: Vec<String>,
    /// Count only seals that were known at a row's time
    #[arg(long)]
    pub(crate) known: bool,
    /// Add a column with the status of each value
    #[arg(long)]
    pub(crate) status: bool,
    /// The character between cells of CSV
    #[arg(long, default_value_t = ',', value_name = "CHARACTER")]
    pub(crate) delimiter: char,
    /// Rows of one request
    #[arg(long, default_value_t = 2_000, value_name = "ROWS", value_parser = batch_rows)]
    pub(crate) batch: usize,
}

/// `tilekv explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The view
    pub(crate) view: String,
    /// The entity; the values of several keys are joined by \x1F
    pub(crate) entity: String,
    /// The window: `feature@window[:offset]`
    pub(crate) selector: String,
    #[command(flatten)]
    pub(crate) moment: Moment,
    /// Count only seals that were known at that time
    #[arg(long, requires = "at")]
    pub(crate) known: bool,
    /// List every stored tile that the window meets, with its level and where it was found
    #[arg(long)]
    pub(crate) tiles: bool,
}

/// `tilekv backup`.
#[derive(Debug, Args)]
#[command(after_help = "Every write that was acknowledged before the command began is in the \
    backup. Sealed files are linked where the file system can, and copied elsewhere.\n\n\
    Example:\n  tilekv backup /var/lib/tilekv /backups/monday\n  \
    tilekv backup /var/lib/tilekv /backups/tuesday --previous /backups/monday")]
pub(crate) struct Backup {
    /// The data folder of a server
    #[arg(value_name = "DATA_DIR")]
    pub(crate) data: PathBuf,
    /// The backup's folder, which must not exist
    #[arg(value_name = "BACKUP")]
    pub(crate) to: PathBuf,
    /// An earlier backup, whose sealed files are linked in place of being copied again
    #[arg(long, value_name = "BACKUP")]
    pub(crate) previous: Option<PathBuf>,
}

/// `tilekv restore`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tilekv restore /backups/monday /var/lib/tilekv\n  \
    tilekv-server --data-dir /var/lib/tilekv")]
pub(crate) struct Restore {
    /// The backup's folder
    pub(crate) backup: PathBuf,
    /// The folder for the data: a new or an empty one
    #[arg(value_name = "DATA_DIR")]
    pub(crate) data: PathBuf,
    /// Link sealed files in place of copying them, where the file system can
    #[arg(long)]
    pub(crate) link: bool,
}

/// `tilekv verify`.
#[derive(Debug, Args)]
#[command(after_help = "A server may be using the folder. The command changes nothing, goes on \
    after each find, and ends with status 6 where it found something.\n\n\
    Example:\n  tilekv verify /var/lib/tilekv --hash")]
pub(crate) struct Verify {
    /// The data folder of a server, or a backup's folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Print the hashes of the state as well
    #[arg(long)]
    pub(crate) hash: bool,
}

/// `tilekv demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The flights [default: data/flights*.csv.gz here or in a folder above]
    pub(crate) file: Option<PathBuf>,
}

fn batch_rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows) if (1..=BATCH_ROWS_MAX).contains(&rows) => Ok(rows),
        _ => Err(format!("expected 1 to {BATCH_ROWS_MAX} rows")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_two_arguments_bear_one_name() {
        Arguments::command().debug_assert();
        let line = "tilekv job begin v 0 1h --abort-after 6h --timeout 5 --mode merge";
        Arguments::try_parse_from(line.split(' ')).unwrap();
    }
}

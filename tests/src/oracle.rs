//! Asking the oracle (tests/oracle/oracle.py): views and questions out, expected answers in.
//! docs/testing.md describes the files. It knows nothing of the store that is compared.

use crate::oracle_answer::Expected;
use crate::repository;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use tilekv_tile::{
    ColumnDefinition, Edge, Identifier, Name, Rows, Scalar, SealMode, Selector, TileError,
    ViewDefinition, WindowLength,
};

/// A view as the oracle needs it: everything that was ever done to it.
#[derive(Debug, Clone)]
pub struct OracleView {
    /// Its definition.
    pub definition: ViewDefinition,
    /// Every row that counts, in any order: what was applied and neither replaced nor deleted.
    pub rows: Rows,
    /// What was done to its seals, in order of time.
    pub seals: Vec<SealOperation>,
    /// Time over which a feature is not complete, by feature; an open start is minus infinity.
    pub incomplete: BTreeMap<Identifier, Vec<(Option<i64>, i64)>>,
}

/// A seal made or withdrawn over `[from, to)`, at a time of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealOperation {
    /// What was done.
    pub verb: SealVerb,
    /// The start of the range.
    pub from: i64,
    /// Its end.
    pub to: i64,
    /// When.
    pub at: i64,
}

/// What was done to a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealVerb {
    /// It was made.
    Add,
    /// It was withdrawn.
    Remove,
}

/// A read of one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The view.
    pub view: Name,
    /// The entity.
    pub entity: String,
    /// The server's clock.
    pub now: i64,
    /// The time that the read asks about, if it names one.
    pub at: Option<i64>,
    /// Whether only seals known at that time count.
    pub known: bool,
    /// The read's own choice of edge, if it makes one.
    pub edge: Option<Edge>,
    /// The values asked for.
    pub selectors: Vec<Selector>,
}

/// Why the oracle gave no answers.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// A file could not be written or read.
    #[error("{verb} {}: {source}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row does not fit its view.
    #[error("a row does not fit view {view}: {source}")]
    Row {
        /// The view.
        view: Name,
        /// What is wrong with it.
        source: TileError,
    },
    /// The rows have a column that the view lacks.
    #[error("view {view} has no column {column}")]
    Column {
        /// The view.
        view: Name,
        /// The column.
        column: Identifier,
    },
    /// The oracle stopped.
    #[error("python3 oracle.py failed: {stderr}")]
    Failed {
        /// What it said.
        stderr: String,
    },
    /// An answer is not in the form that docs/testing.md gives.
    #[error("not an answer of the oracle: {line}")]
    Answer {
        /// The line.
        line: String,
    },
}

/// Asks the oracle, which keeps its files in `folder`: for each question, one expected answer per
/// selector.
pub fn ask(
    folder: &Path,
    views: &[OracleView],
    questions: &[Question],
) -> Result<Vec<Vec<Expected>>, OracleError> {
    let question_path = folder.join("questions.jsonl");
    let answer_path = folder.join("answers.jsonl");
    let mut lines = Vec::with_capacity(views.len() + questions.len());
    for view in views {
        let path = folder.join(format!("{}.csv", view.definition.name));
        write_lines(&path, &event_lines(view)?)?;
        lines.push(view_json(view, &path));
    }
    lines.extend((0_usize..).zip(questions).map(|(id, question)| question_json(id, question)));
    write_lines(&question_path, &lines)?;
    run(&question_path, &answer_path)?;
    read_answers(&answer_path, questions.len())
}

fn run(questions: &Path, answers: &Path) -> Result<(), OracleError> {
    let script = repository::root().join("tests/oracle/oracle.py");
    let output = Command::new("python3")
        .arg(&script)
        .args([questions, answers])
        .output()
        .map_err(|source| io_error("run python3 on", &script, source))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(OracleError::Failed { stderr })
}

fn read_answers(path: &Path, question_count: usize) -> Result<Vec<Vec<Expected>>, OracleError> {
    let failed = |source| io_error("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let mut answers = Vec::with_capacity(question_count);
    for line in BufReader::new(file).lines() {
        let line = line.map_err(failed)?;
        let answer = parse_line(&line, answers.len()).ok_or(OracleError::Answer { line })?;
        answers.push(answer);
    }
    if answers.len() == question_count {
        return Ok(answers);
    }
    let line = format!("{} answers to {question_count} questions", answers.len());
    Err(OracleError::Answer { line })
}

fn parse_line(line: &str, id: usize) -> Option<Vec<Expected>> {
    let json: Json = serde_json::from_str(line).ok()?;
    if json.get("id")?.as_u64() != u64::try_from(id).ok() {
        return None;
    }
    json.get("answers")?.as_array()?.iter().map(Expected::from_json).collect()
}

fn question_json(id: usize, question: &Question) -> String {
    let selectors: Vec<_> = question.selectors.iter().map(selector_json).collect();
    json!({
        "id": id,
        "view": question.view.as_str(),
        "entity": question.entity,
        "now": question.now,
        "at": question.at,
        "known": question.known,
        "edge": question.edge.map(edge_word),
        "selectors": selectors,
    })
    .to_string()
}

fn selector_json(selector: &Selector) -> Json {
    let window = match selector.window {
        WindowLength::Span(span) => Some(span.millis()),
        WindowLength::Lifetime => None,
    };
    json!([selector.feature.as_str(), window, selector.offset.millis()])
}

fn view_json(view: &OracleView, events: &Path) -> String {
    let definition = &view.definition;
    let columns: serde_json::Map<_, _> = definition
        .columns
        .iter()
        .map(|column| (column.name.as_str().to_owned(), Json::from(column.kind.as_str())))
        .collect();
    json!({
        "define": definition.name.as_str(),
        "tile": definition.tile.millis(),
        "retention": definition.retention.map(|span| span.millis()),
        "edge": edge_word(definition.edge),
        "seal": seal_word(definition.seal),
        "max_lag": definition.max_lag.map(|span| span.millis()),
        "columns": columns,
        "features": features_json(view),
        "seals": view.seals.iter().map(seal_json).collect::<Vec<_>>(),
        "events": events.to_string_lossy(),
    })
    .to_string()
}

fn features_json(view: &OracleView) -> Vec<Json> {
    let feature_json = |feature: &tilekv_tile::FeatureDefinition| {
        json!({
            "name": feature.name.as_str(),
            "expression": feature.expression.to_string(),
            "incomplete": view.incomplete.get(&feature.name).cloned().unwrap_or_default(),
        })
    };
    view.definition.features.iter().map(feature_json).collect()
}

fn seal_json(operation: &SealOperation) -> Json {
    let verb = match operation.verb {
        SealVerb::Add => "add",
        SealVerb::Remove => "del",
    };
    json!([verb, operation.from, operation.to, operation.at])
}

const fn edge_word(edge: Edge) -> &'static str {
    match edge {
        Edge::Closed => "closed",
        Edge::Live => "live",
    }
}

const fn seal_word(seal: SealMode) -> &'static str {
    match seal {
        SealMode::Off => "off",
        SealMode::Required => "required",
    }
}

/// The rows as comma-separated lines with a header; every text is quoted.
fn event_lines(view: &OracleView) -> Result<Vec<String>, OracleError> {
    let rows = &view.rows;
    let columns =
        rows.columns.iter().map(|name| column_of(view, name)).collect::<Result<Vec<_>, _>>()?;
    let names = columns.iter().map(|column| column.name.as_str());
    let mut lines = vec![["entity", "ts"].into_iter().chain(names).collect::<Vec<_>>().join(",")];
    for row in 0..rows.len() {
        let mut cells = vec![quoted(&rows.entities[row]), rows.timestamps[row].to_string()];
        for (position, column) in columns.iter().enumerate() {
            let cell = rows.cell(row, position, column.kind);
            let cell = cell.map_err(|source| OracleError::Row {
                view: view.definition.name.clone(),
                source,
            })?;
            cells.push(cell_text(cell));
        }
        lines.push(cells.join(","));
    }
    Ok(lines)
}

fn column_of<'a>(
    view: &'a OracleView,
    name: &Identifier,
) -> Result<&'a ColumnDefinition, OracleError> {
    let mut columns = view.definition.columns.iter();
    columns.find(|column| column.name == *name).ok_or_else(|| OracleError::Column {
        view: view.definition.name.clone(),
        column: name.clone(),
    })
}

fn cell_text(cell: Option<Scalar<'_>>) -> String {
    match cell {
        None => NULL.to_owned(),
        Some(Scalar::I64(value)) => value.to_string(),
        Some(Scalar::F64(value)) => format!("{value:e}"),
        Some(Scalar::Str(value)) => quoted(value),
    }
}

fn quoted(text: &[u8]) -> String {
    format!("\"{}\"", String::from_utf8_lossy(text).replace('"', "\"\""))
}

fn write_lines(path: &Path, lines: &[String]) -> Result<(), OracleError> {
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        lines.iter().try_for_each(|line| writeln!(file, "{line}"))?;
        file.flush()
    };
    write().map_err(|source| io_error("write", path, source))
}

fn io_error(verb: &'static str, path: &Path, source: std::io::Error) -> OracleError {
    OracleError::Io { verb, path: path.to_path_buf(), source }
}

/// What stands for null in a file of events, unquoted or quoted.
const NULL: &str = "\\N";

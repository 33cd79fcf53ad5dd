//! `tilekv training-set`: what the store would have answered at the time of each row of a file,
//! asked of the server that serves. Knows nothing of file formats.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use tilekv_client::blocking::{Client, Plan, ServicePlan};
use tilekv_client::{
    Batch, Column as Answers, ColumnType, Identifier, Name, PlanBuilder, ReadOptions, ReadTime,
    SealsCounted, Selector, Value, ViewDefinition,
};
use tilekv_tile::{Function, KEY_SEPARATOR};

use crate::arguments::{Server, TimeForm, TrainingSet};
use crate::csv_rows::time_of;
use crate::failure::CliError;
use crate::parquet_rows::Column;
use crate::progress::Progress;
use crate::render::{self, joined_keys};
use crate::session::connect;
use crate::source::{open, shown};
use crate::terminal::note;
use crate::tiles::pairs;
use crate::training_input::Input;
use crate::training_output::Output;
use crate::views::name;

pub(crate) fn run(server: &Server, training: &TrainingSet) -> Result<(), CliError> {
    let content = |problem| CliError::Content { path: shown(&training.file), problem };
    let delimiter = u8::try_from(training.delimiter).map_err(|_| {
        let found = training.delimiter;
        CliError::Usage(format!("--delimiter '{found}': expected an ASCII character"))
    })?;
    let (_, bytes) = open(&training.file)?;
    let client = connect(server, 0)?;
    let vector = Vector::prepare(&client, training)?;
    let rows = training.batch.min(CELLS_MAX / vector.windows.len().max(1)).max(1);
    let progress = Progress::start("training-set", bytes);
    let mut input = Input::open(&training.file, delimiter, rows, &progress)?;
    let layout = RowLayout::find(training, &vector.keys, input.schema())?;
    let schema = vector.schema(input.schema(), training.status)?;
    let mut output = Output::create(&training.out, &schema, delimiter)?;
    let mut done = 0;
    while let Some(batch) = input.next_batch().map_err(content)? {
        let asked = layout.rows(&batch, done).map_err(content)?;
        let answers = vector.read(asked, done)?;
        let mut columns = batch.columns().to_vec();
        columns.extend(vector.arrays(&answers, training.status, done).map_err(content)?);
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
        output.write(&batch.map_err(|error| content(error.to_string()))?)?;
        done += answers.rows();
        progress.say(format!("{} rows", render::grouped(wide(done))));
    }
    output.finish()?;
    progress.finish();
    note(format_args!("wrote {} rows to {}", render::grouped(wide(done)), shown(&training.out)));
    Ok(())
}

/// Values of one request, as the server bounds them.
const CELLS_MAX: usize = 1 << 20;

/// Where the parts of a row stand in the file.
struct RowLayout {
    /// Name and place of the column of each key.
    keys: Vec<(String, usize)>,
    time: (String, usize),
    form: TimeForm,
}

/// The key values and times of some rows.
struct AskedRows {
    values: Vec<Vec<Vec<u8>>>,
    times: Vec<i64>,
}

impl RowLayout {
    fn find(
        training: &TrainingSet,
        keys: &[Identifier],
        schema: &Schema,
    ) -> Result<Self, CliError> {
        let mapped = pairs(&training.map, "KEY=COLUMN")?;
        for (key, _) in &mapped {
            if !keys.iter().any(|known| known.as_str() == *key) {
                let known: Vec<&str> = keys.iter().map(Identifier::as_str).collect();
                let known = known.join(", ");
                return Err(CliError::Usage(format!("--map {key}: the keys are {known}")));
            }
        }
        let column = |key: &Identifier| {
            let mapped = mapped.iter().find(|(of, _)| *of == key.as_str());
            place(schema, mapped.map_or(key.as_str(), |(_, column)| column))
        };
        Ok(Self {
            keys: keys.iter().map(column).collect::<Result<_, _>>()?,
            time: place(schema, &training.time)?,
            form: training.time_form,
        })
    }

    /// The rows of a batch, of which `done` are before it. Errors name row and column.
    fn rows(&self, batch: &RecordBatch, done: usize) -> Result<AskedRows, String> {
        let read = |(name, place): &(String, usize)| {
            let column = Column::read(batch.column(*place));
            column.map_err(|problem| format!("column \"{name}\": {problem}"))
        };
        let keys = self.keys.iter().map(read).collect::<Result<Vec<Column>, String>>()?;
        let time = read(&self.time)?;
        let mut asked = AskedRows { values: Vec::new(), times: Vec::new() };
        for row in 0..batch.num_rows() {
            let values = keys.iter().map(|key| key.text(row).map_or_else(Vec::new, Into::into));
            asked.values.push(values.collect());
            let at = self.time(&time, row).map_err(|problem| {
                format!("row {}, column \"{}\": {problem}", done + row + 1, self.time.0)
            })?;
            asked.times.push(at);
        }
        Ok(asked)
    }

    fn time(&self, column: &Column, row: usize) -> Result<i64, String> {
        let text = column.text(row).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| "no time".to_owned())?;
        match column {
            Column::Times(_) => time_of(TimeForm::Millis, &text),
            Column::Doubles(_) => Err("a time of doubles: expected integers or text".to_owned()),
            Column::Integers(_) | Column::Texts(_) => time_of(self.form, &text),
        }
    }
}

fn place(schema: &Schema, column: &str) -> Result<(String, usize), CliError> {
    let found = schema.fields().iter().position(|field| field.name() == column);
    found.map(|place| (column.to_owned(), place)).ok_or_else(|| {
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        CliError::Usage(format!("no column \"{column}\": the file has {}", known.join(", ")))
    })
}

/// What is asked of each row.
struct Vector {
    source: Source,
    keys: Vec<Identifier>,
    /// Name and type of the column of each window.
    windows: Vec<(String, DataType)>,
}

enum Source {
    Service(ServicePlan),
    View(Plan, ViewDefinition),
}

impl Vector {
    fn prepare(client: &Client, training: &TrainingSet) -> Result<Self, CliError> {
        match (&training.service, &training.view) {
            (Some(service), _) => Self::of_service(client, &name(service)?, training.known),
            (None, Some(view)) => Self::of_view(client, &name(view)?, training),
            (None, None) => Err(CliError::Usage("expected --service or --view".to_owned())),
        }
    }

    fn of_service(client: &Client, service: &Name, known: bool) -> Result<Self, CliError> {
        let info = client.service_info(service)?;
        let views = info.views.iter().map(|view| Ok(client.view_info(view)?.definition));
        let views = views.collect::<Result<Vec<ViewDefinition>, CliError>>()?;
        let seals = if known { SealsCounted::KnownThen } else { SealsCounted::Current };
        let plan = client.prepare_service(service, &info.keys, seals)?;
        let windows = info.selectors.iter().map(|window| {
            let view = views.iter().find(|view| view.name == window.view);
            let form = view.map_or(DataType::Utf8, |view| form(view, &window.selector));
            (window.to_string(), form)
        });
        let windows = windows.collect();
        Ok(Self { source: Source::Service(plan), keys: info.keys, windows })
    }

    fn of_view(client: &Client, view: &Name, training: &TrainingSet) -> Result<Self, CliError> {
        let definition = client.view_info(view)?.definition;
        let mut wanted = PlanBuilder::new().view(view.as_str(), &training.select)?;
        if training.known {
            wanted = wanted.known_seals_only();
        }
        let plan = client.prepare(wanted)?;
        let window = |selector: &Selector| (selector.to_string(), form(&definition, selector));
        let windows = plan.columns().map(|(_, selector)| window(selector)).collect();
        let keys = definition.keys.clone();
        Ok(Self { source: Source::View(plan, definition), keys, windows })
    }

    /// The columns of the file, then those of the windows.
    fn schema(&self, input: &SchemaRef, with_status: bool) -> Result<SchemaRef, CliError> {
        let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
        for (window, kind) in &self.windows {
            fields.push(Arc::new(Field::new(window, kind.clone(), true)));
            if with_status {
                fields.push(Arc::new(Field::new(format!("{window}.status"), DataType::Utf8, true)));
            }
        }
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|earlier| earlier.name() == field.name()) {
                let name = field.name();
                return Err(CliError::Usage(format!("two columns \"{name}\", expected one")));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// The answers for rows, of which `done` are before them.
    fn read(&self, asked: AskedRows, done: usize) -> Result<Batch, CliError> {
        let AskedRows { values, times } = asked;
        let rows = values.len();
        let options = ReadOptions { time: ReadTime::Each(times), ..ReadOptions::NOW }.with_status();
        let answers = match &self.source {
            Source::Service(plan) => plan.read(&values, &options),
            Source::View(plan, view) => {
                let entities = values.iter().enumerate().map(|(row, values)| {
                    entity(view, values).map_err(|problem| {
                        CliError::Refused(format!("row {}, {problem}", done + row + 1))
                    })
                });
                plan.read(&entities.collect::<Result<Vec<_>, CliError>>()?, &options)
            }
        };
        answers.map_err(|error| match error.code() {
            Some(_) => CliError::Refused(format!("rows {} to {}: {error}", done + 1, done + rows)),
            None => error.into(),
        })
    }

    fn arrays(
        &self,
        answers: &Batch,
        with_status: bool,
        done: usize,
    ) -> Result<Vec<ArrayRef>, String> {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (column, (window, kind)) in answers.columns().zip(&self.windows) {
            let array = array(&column, kind);
            arrays.push(array.map_err(|(row, problem)| {
                format!("row {}, column \"{window}\": {problem}", done + row + 1)
            })?);
            if with_status {
                let statuses = column.statuses().map(|status| status.as_str());
                arrays.push(Arc::new(StringArray::from_iter_values(statuses)));
            }
        }
        Ok(arrays)
    }
}

/// An entity of a view, of the values of all its keys.
fn entity(view: &ViewDefinition, values: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    for (key, value) in view.keys.iter().zip(values) {
        if value.is_empty() {
            return Err(format!("key \"{key}\": no value"));
        }
        if 1 < values.len() && value.contains(&KEY_SEPARATOR) {
            return Err(format!("key \"{key}\": the byte 0x1F, which joins keys"));
        }
    }
    Ok(joined_keys(values.iter().map(Vec::as_slice)))
}

/// The type of a window's column: lists, and what else is neither integers nor doubles, is text.
fn form(view: &ViewDefinition, selector: &Selector) -> DataType {
    let Some((_, feature)) = view.feature(&selector.feature) else { return DataType::Utf8 };
    let column = feature.expression.column.as_ref().and_then(|name| view.column(name));
    match (feature.expression.function, column.map(|(_, column)| column.kind)) {
        (Function::CountRows | Function::Count | Function::ApproxCountDistinct(_), _) => {
            DataType::Int64
        }
        (Function::Mean | Function::VarPop | Function::VarSamp, _)
        | (Function::StddevPop | Function::StddevSamp, _) => DataType::Float64,
        (Function::FirstN(_) | Function::LastN(_) | Function::TopN(_), _)
        | (Function::FirstDistinctN(_) | Function::LastDistinctN(_), _) => DataType::Utf8,
        (_, Some(ColumnType::I64)) => DataType::Int64,
        (_, Some(ColumnType::F64)) => DataType::Float64,
        (_, Some(ColumnType::Str) | None) => DataType::Utf8,
    }
}

/// The answers of a column; an error comes with its row.
fn array(column: &Answers<'_>, kind: &DataType) -> Result<ArrayRef, (usize, String)> {
    let values = column.values().enumerate();
    Ok(match kind {
        DataType::Int64 => {
            let integer = |(row, value)| match value {
                Value::Nil => Ok(None),
                Value::Int(value) => Ok(Some(value)),
                other => {
                    let shown = render::value(&other);
                    Err((row, format!("{shown} is past 64 bits, which a column of integers holds")))
                }
            };
            Arc::new(values.map(integer).collect::<Result<Int64Array, _>>()?)
        }
        DataType::Float64 => {
            let double = |(_, value)| match value {
                Value::Double(value) => Some(value),
                _ => None,
            };
            Arc::new(values.map(double).collect::<Float64Array>())
        }
        _ => {
            let text = |(_, value)| match value {
                Value::Nil => None,
                list @ Value::List(_) => Some(render::json(&list).to_string()),
                other => Some(render::value(&other)),
            };
            Arc::new(values.map(text).collect::<StringArray>())
        }
    })
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

//! Rows as clients send them, as text or typed, now and then with a flaw. It knows nothing of
//! where the rows come from.

use crate::simulation::aggregate::float;
use crate::simulation::dice::Dice;
use crate::simulation::model::{Cell, ModelView, Row};
use bytes::Bytes;
use std::sync::Arc;
use tilekv_tile::{Cells, ColumnType, Identifier, Rows, TypedColumn};

/// The rows over these columns of a view as a client sends them, and the code with which they
/// are refused where a flaw was put in.
pub fn rows_of(
    dice: &mut Dice,
    view: &ModelView,
    columns: &[usize],
    rows: &[(Bytes, Arc<Row>)],
) -> (Rows, Option<&'static str>) {
    let definition = &view.definition;
    let mut sent = Rows {
        columns: columns.iter().map(|at| definition.columns[*at].name.clone()).collect(),
        entities: rows.iter().map(|(entity, _)| entity.clone()).collect(),
        timestamps: rows.iter().map(|(_, row)| row.timestamp).collect(),
        cells: if dice.one_in(2) {
            typed(view, columns, rows)
        } else {
            text(dice, view, columns, rows)
        },
    };
    let flaw = if dice.one_in(100) { spoil(dice, &mut sent) } else { None };
    (sent, flaw)
}

fn spoil(dice: &mut Dice, sent: &mut Rows) -> Option<&'static str> {
    if sent.is_empty() {
        return None;
    }
    let row = dice.count(0, sent.len() - 1);
    if let (Cells::Typed(columns), false) = (&mut sent.cells, dice.one_in(2)) {
        for column in columns {
            if let TypedColumn::F64 { values, valid } = column {
                values[row] = f64::NAN;
                *valid = None;
                return Some("BADVALUE");
            }
        }
    }
    if !sent.columns.is_empty() && dice.one_in(2) {
        sent.columns[0] = Identifier::parse(b"unknown").ok()?;
        return Some("ERR");
    }
    sent.timestamps[row] = i64::MAX;
    Some("BADVALUE")
}

fn text(dice: &mut Dice, view: &ModelView, columns: &[usize], rows: &[(Bytes, Arc<Row>)]) -> Cells {
    let cells = rows.iter().flat_map(|(_, row)| columns.iter().map(|at| row.cell(*at)));
    let is_text = |at: usize| view.definition.columns[at].kind == ColumnType::Str;
    let has_null_text = rows
        .iter()
        .any(|(_, row)| columns.iter().any(|at| is_text(*at) && row.cell(*at).is_none()));
    // Without a token the empty text is a null number, and a string is never null.
    let null = (has_null_text || dice.one_in(2)).then(|| Bytes::from_static(NULL));
    let token = null.clone().unwrap_or_default();
    let cells = cells.map(|cell| cell.map_or(token.clone(), |cell| text_of(dice, cell))).collect();
    Cells::Text { null, cells }
}

fn text_of(dice: &mut Dice, cell: &Cell) -> Bytes {
    match cell {
        Cell::Integer(integer) => Bytes::from(integer.to_string()),
        Cell::Halves(0) if dice.one_in(2) => Bytes::from_static(b"-0.0"),
        Cell::Halves(halves) if dice.one_in(4) => Bytes::from(format!("{}e-1", halves * 5)),
        Cell::Halves(halves) => Bytes::from((float(i128::from(*halves)) / 2.0).to_string()),
        Cell::Text(text) => text.clone(),
    }
}

fn typed(view: &ModelView, columns: &[usize], rows: &[(Bytes, Arc<Row>)]) -> Cells {
    Cells::Typed(columns.iter().map(|at| typed_column(view, *at, rows)).collect())
}

fn typed_column(view: &ModelView, at: usize, rows: &[(Bytes, Arc<Row>)]) -> TypedColumn {
    let cells = || rows.iter().map(move |(_, row)| row.cell(at));
    let valid: Vec<bool> = cells().map(|cell| cell.is_some()).collect();
    let valid = valid.contains(&false).then_some(valid);
    match view.definition.columns[at].kind {
        ColumnType::I64 => {
            let value = |cell: Option<&Cell>| match cell {
                Some(Cell::Integer(integer)) => *integer,
                _ => 7,
            };
            TypedColumn::I64 { values: cells().map(value).collect(), valid }
        }
        ColumnType::F64 => {
            let value = |cell: Option<&Cell>| match cell {
                Some(Cell::Halves(halves)) => float(i128::from(*halves)) / 2.0,
                _ => 7.0,
            };
            TypedColumn::F64 { values: cells().map(value).collect(), valid }
        }
        ColumnType::Str => {
            let value = |cell: Option<&Cell>| match cell {
                Some(Cell::Text(text)) => text.clone(),
                _ => Bytes::from_static(b"not counted"),
            };
            TypedColumn::Str { values: cells().map(value).collect(), valid }
        }
    }
}

/// What stands for null in text; no text of the rows is the same.
const NULL: &[u8] = b"\\N";

//! The tiles of a PUT: partials as typed columns, one for each part of a feature's partial. Knows
//! nothing of which features a view has, nor of what their partials mean.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tilekv_tile::{Identifier, TypedColumn};

use crate::command::{JobTile, check_job_tile};
use crate::error::ErrorReply;

/// Tiles as columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobTiles {
    /// The entity of each tile.
    pub entities: Vec<Bytes>,
    /// The start of each tile.
    pub starts: Vec<i64>,
    /// The columns, named `feature` or `feature.part` ([NAT-46]).
    pub columns: Vec<(String, TypedColumn)>,
}

impl JobTiles {
    /// Adds a tile whose partials are JSON.
    ///
    /// # Panics
    /// Where a column is of a part, or holds no JSON.
    pub fn push(&mut self, entity: &Bytes, start: i64, partials: &[(Identifier, Bytes)]) {
        let row = self.entities.len();
        self.entities.push(entity.clone());
        self.starts.push(start);
        for (feature, partial) in partials {
            let (values, valid) = self.json_column(feature);
            values.resize(row, Bytes::new());
            valid.resize(row, false);
            values.push(partial.clone());
            valid.push(true);
        }
        for (_, column) in &mut self.columns {
            if let TypedColumn::Str { values, valid: Some(valid) } = column {
                values.resize(row + 1, Bytes::new());
                valid.resize(row + 1, false);
            }
        }
    }

    fn json_column(&mut self, feature: &Identifier) -> (&mut Vec<Bytes>, &mut Vec<bool>) {
        let known = self.columns.iter().position(|(name, _)| name == feature.as_str());
        let index = known.unwrap_or_else(|| {
            let column = TypedColumn::Str { values: Vec::new(), valid: Some(Vec::new()) };
            self.columns.push((feature.as_str().to_owned(), column));
            self.columns.len() - 1
        });
        match &mut self.columns[index].1 {
            TypedColumn::Str { values, valid: Some(valid) } => (values, valid),
            _ => panic!("tiles whose partials are JSON are pushed to columns of JSON alone"),
        }
    }

    /// A copy of the tiles of a range; strings and entities share their bytes.
    ///
    /// # Panics
    /// Where there is no such range.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let part =
            |(name, column): &(String, TypedColumn)| (name.clone(), column.slice(range.clone()));
        Self {
            entities: self.entities[range.clone()].to_vec(),
            starts: self.starts[range.clone()].to_vec(),
            columns: self.columns.iter().map(part).collect(),
        }
    }
}

/// A part of a partial, as the end of its column's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// All of it: a number, or JSON.
    Whole,
    /// A value that stands alone or behind `At`.
    Value,
    At,
    Sum,
    Count,
    N,
    Mean,
    M2,
}

const PARTS: [(&[u8], Part); 7] = [
    (b"value", Part::Value),
    (b"at", Part::At),
    (b"sum", Part::Sum),
    (b"count", Part::Count),
    (b"n", Part::N),
    (b"mean", Part::Mean),
    (b"m2", Part::M2),
];

/// How the parts of a feature make its partial.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// The only part.
    Single,
    /// A list.
    List,
    /// A map.
    Map,
}

/// The columns of one feature.
struct Feature<'a> {
    name: Identifier,
    form: Form,
    /// Before each value stands this text, or the list's.
    parts: Vec<(&'static str, Part, &'a TypedColumn)>,
}

/// [NAT-46]
pub(super) fn read(
    entities: Vec<Bytes>,
    starts: &[i64],
    columns: &[(&[u8], TypedColumn)],
) -> Result<Vec<JobTile>, ErrorReply> {
    let features = features(columns)?;
    let mut tiles = Vec::with_capacity(entities.len());
    for (row, (entity, start)) in entities.into_iter().zip(starts).enumerate() {
        check_job_tile(row, &entity, *start)?;
        let partials = Vec::with_capacity(features.len());
        tiles.push(JobTile { entity, start: *start, partials });
    }
    // One buffer for a feature, of which each partial is a part, in place of one for each partial.
    for feature in &features {
        let mut text = BytesMut::with_capacity(tiles.len() * PARTIAL_BYTES_EXPECTED);
        for (row, tile) in tiles.iter_mut().enumerate() {
            let problem = |problem: &str| bad_cell(row, &feature.name, problem);
            if feature.print(row, &mut text).map_err(problem)? {
                tile.partials.push((feature.name.clone(), text.split().freeze()));
            }
        }
    }
    Ok(tiles)
}

const PARTIAL_BYTES_EXPECTED: usize = 12;

fn features<'a>(columns: &'a [(&[u8], TypedColumn)]) -> Result<Vec<Feature<'a>>, ErrorReply> {
    let mut found: Vec<(Identifier, Vec<(Part, &TypedColumn)>)> = Vec::new();
    for (name, column) in columns {
        let (feature, part) = split(name)?;
        let feature = Identifier::parse(feature)?;
        match found.iter_mut().find(|(known, _)| *known == feature) {
            Some((_, parts)) => parts.push((part, column)),
            None => found.push((feature, vec![(part, column)])),
        }
    }
    found.into_iter().map(|(name, parts)| Feature::new(name, &parts)).collect()
}

fn split(name: &[u8]) -> Result<(&[u8], Part), ErrorReply> {
    let Some(dot) = name.iter().position(|byte| *byte == b'.') else {
        return Ok((name, Part::Whole));
    };
    let (feature, part) = (&name[..dot], &name[dot + 1..]);
    match PARTS.iter().find(|(word, _)| *word == part) {
        Some((_, part)) => Ok((feature, *part)),
        None => Err(ErrorReply::usage(format!(
            "column \"{}\" of a tile: expected a feature's name, or one followed by .value, .at, \
             .sum, .count, .n, .mean or .m2",
            tilekv_tile::printable(name)
        ))),
    }
}

impl<'a> Feature<'a> {
    fn new(name: Identifier, given: &[(Part, &'a TypedColumn)]) -> Result<Self, ErrorReply> {
        let column = |wanted: Part| {
            let found = given.iter().find(|(part, _)| *part == wanted);
            found.map(|(_, column)| *column)
        };
        let forms: [(Form, &[(&'static str, Part)]); 5] = [
            (Form::Single, &[("", Part::Whole)]),
            (Form::Single, &[("", Part::Value)]),
            (Form::List, &[("", Part::At), ("", Part::Value)]),
            (Form::Map, &[("sum", Part::Sum), ("count", Part::Count)]),
            (Form::Map, &[("n", Part::N), ("mean", Part::Mean), ("m2", Part::M2)]),
        ];
        for (form, wanted) in forms {
            if wanted.len() != given.len() {
                continue;
            }
            let parts: Option<Vec<_>> =
                wanted.iter().map(|(key, part)| Some((*key, *part, column(*part)?))).collect();
            if let Some(parts) = parts {
                return Ok(Self { name, form, parts });
            }
        }
        Err(ErrorReply::usage(format!(
            "the columns of feature \"{name}\": expected {name} alone, .value alone, .at and \
             .value, .sum and .count, or .n, .mean and .m2"
        )))
    }

    /// Prints the partial of a row; false where the row has none.
    fn print(&self, row: usize, text: &mut BytesMut) -> Result<bool, &'static str> {
        let is_null = |(_, _, column): &(_, _, &TypedColumn)| is_null(column, row);
        if self.parts.iter().all(is_null) {
            let is_json = matches!(self.parts[..], [(_, Part::Whole, TypedColumn::Str { .. })]);
            text.extend_from_slice(if is_json { b"" } else { b"null" });
            return Ok(!is_json);
        }
        let (open, close) = match self.form {
            Form::Single => ("", ""),
            Form::List => ("[", "]"),
            Form::Map => ("{", "}"),
        };
        text.extend_from_slice(open.as_bytes());
        for (index, (key, part, column)) in self.parts.iter().enumerate() {
            if index > 0 {
                text.extend_from_slice(b",");
            }
            if !key.is_empty() {
                print_string(key.as_bytes(), text);
                text.extend_from_slice(b":");
            }
            print_cell(*part, column, row, text)?;
        }
        text.extend_from_slice(close.as_bytes());
        Ok(true)
    }
}

fn is_null(column: &TypedColumn, row: usize) -> bool {
    column.valid().is_some_and(|valid| !valid[row])
}

fn print_cell(
    part: Part,
    column: &TypedColumn,
    row: usize,
    text: &mut BytesMut,
) -> Result<(), &'static str> {
    if is_null(column, row) {
        text.extend_from_slice(b"null");
        return Ok(());
    }
    match (column, part) {
        (TypedColumn::I64 { values, .. }, _) => {
            text.extend_from_slice(itoa::Buffer::new().format(values[row]).as_bytes());
        }
        (TypedColumn::F64 { values, .. }, _) => {
            if !values[row].is_finite() {
                return Err("expected a finite number");
            }
            text.extend_from_slice(ryu::Buffer::new().format_finite(values[row]).as_bytes());
        }
        (TypedColumn::Str { values, .. }, Part::Whole) => text.extend_from_slice(&values[row]),
        (TypedColumn::Str { values, .. }, Part::Value) => print_string(&values[row], text),
        (TypedColumn::Str { .. }, _) => return Err("expected a number in this part"),
    }
    Ok(())
}

/// A JSON string of any bytes; whether they are UTF-8 is for who reads it to judge.
fn print_string(bytes: &[u8], text: &mut BytesMut) {
    text.extend_from_slice(b"\"");
    for byte in bytes {
        match byte {
            b'"' => text.extend_from_slice(b"\\\""),
            b'\\' => text.extend_from_slice(b"\\\\"),
            0..0x20 => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => text.extend_from_slice(&[*byte]),
        }
    }
    text.extend_from_slice(b"\"");
}

fn bad_cell(row: usize, feature: &Identifier, problem: &str) -> ErrorReply {
    let tile = row + 1;
    ErrorReply::bad_value(format!("tile {tile} (counted from 1), feature \"{feature}\": {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partials(columns: &[(&'static [u8], TypedColumn)]) -> Result<Vec<Vec<String>>, String> {
        let rows = columns[0].1.len();
        let entities = vec![Bytes::from_static(b"e"); rows];
        let tiles = read(entities, &vec![0; rows], columns);
        let shown = |(name, text): &(Identifier, Bytes)| {
            format!("{name}={}", String::from_utf8_lossy(text))
        };
        let tiles = tiles.map_err(|error| error.to_string())?;
        Ok(tiles.iter().map(|tile| tile.partials.iter().map(shown).collect()).collect())
    }

    fn i64s(values: Vec<i64>, valid: Option<Vec<bool>>) -> TypedColumn {
        TypedColumn::I64 { values, valid }
    }

    fn f64s(values: Vec<f64>, valid: Option<Vec<bool>>) -> TypedColumn {
        TypedColumn::F64 { values, valid }
    }

    fn strs(values: &[&'static str], valid: Option<Vec<bool>>) -> TypedColumn {
        let values = values.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        TypedColumn::Str { values, valid }
    }

    #[test]
    fn parts_make_the_partials_that_range_prints() {
        let second = Some(vec![true, false]);
        let columns: [(&'static [u8], TypedColumn); 12] = [
            (b"n", i64s(vec![3, 4], None)),
            (b"s", f64s(vec![1.5, 0.0], second.clone())),
            (b"a.count", i64s(vec![2, 0], None)),
            (b"a.sum", f64s(vec![0.1, 0.0], second.clone())),
            (b"v.n", i64s(vec![2, 0], second.clone())),
            (b"v.mean", f64s(vec![1e300, 0.0], second.clone())),
            (b"v.m2", f64s(vec![0.0, 0.0], second.clone())),
            (b"l.value", strs(&["a\"\\\n", "x"], None)),
            (b"l.at", i64s(vec![7, 8], None)),
            (b"top.value", strs(&["tea", ""], second.clone())),
            (b"j", strs(&["{\"b64\":\"\"}", "?"], second)),
            (b"m.value", i64s(vec![-5, 6], None)),
        ];
        let printed = partials(&columns).unwrap();
        let first = ["n=3", "s=1.5", "a={\"sum\":0.1,\"count\":2}"];
        let rest = ["v={\"n\":2,\"mean\":1e300,\"m2\":0.0}", "l=[7,\"a\\\"\\\\\\u000a\"]"];
        let last = ["top=\"tea\"", "j={\"b64\":\"\"}", "m=-5"];
        assert_eq!(printed[0], [&first[..], &rest[..], &last[..]].concat());
        let first = ["n=4", "s=null", "a={\"sum\":null,\"count\":0}", "v=null"];
        assert_eq!(printed[1], [&first[..], &["l=[8,\"x\"]", "top=null", "m=6"]].concat());
    }

    #[test]
    fn tiles_of_json_are_pushed_one_by_one() {
        let name = |text: &str| Identifier::parse(text.as_bytes()).unwrap();
        let json = |text: &'static str| Bytes::from_static(text.as_bytes());
        let entity = Bytes::from_static(b"e");
        let mut tiles = JobTiles::default();
        tiles.push(&entity, 0, &[(name("a"), json("1"))]);
        tiles.push(&entity, 10, &[(name("b"), json("[]")), (name("a"), json("2"))]);
        tiles.push(&entity, 20, &[]);
        let slice = tiles.slice(1..3);
        assert_eq!(slice.starts, [10, 20]);
        let columns: Vec<(&[u8], TypedColumn)> =
            tiles.columns.iter().map(|(name, column)| (name.as_bytes(), column.clone())).collect();
        let read = read(tiles.entities.clone(), &tiles.starts, &columns).unwrap();
        let a = |text: &'static str| (name("a"), json(text));
        let wanted = [vec![a("1")], vec![a("2"), (name("b"), json("[]"))], vec![]];
        assert_eq!(read.into_iter().map(|tile| tile.partials).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn columns_that_make_no_partial_are_refused() {
        let refused = |columns: &[(&'static [u8], TypedColumn)]| partials(columns).unwrap_err();
        let numbers = || i64s(vec![1], None);
        let alone = refused(&[(b"a.sum", numbers())]);
        assert!(alone.contains("feature \"a\"") && alone.contains(".sum and .count"), "{alone}");
        refused(&[(b"a", numbers()), (b"a.value", numbers())]);
        refused(&[(b"a", numbers()), (b"a", numbers())]);
        let unknown = refused(&[(b"a.total", numbers())]);
        assert!(unknown.contains("\"a.total\""), "{unknown}");
        let infinite = refused(&[(b"a", f64s(vec![f64::INFINITY], None))]);
        assert!(infinite.starts_with("BADVALUE tile 1 (counted from 1), feature \"a\""));
        let text = refused(&[(b"a.sum", strs(&["1"], None)), (b"a.count", numbers())]);
        assert!(text.contains("expected a number"), "{text}");
    }
}

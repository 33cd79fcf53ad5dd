//! The definition of a view and changes to it, with every rule that a definition must keep.
//! It knows nothing of wire or file text, nor of what a view stores.

use crate::component::components_of;
use crate::error::{TileError, printable};
use crate::expression::{Expression, Function};
use crate::limits::{COLUMN_COUNT_MAX, FEATURE_COUNT_MAX, KEY_COUNT_MAX, LEVEL_COUNT_MAX};
use crate::name::{Identifier, Name};
use crate::rows::check_entity;
use crate::scalar::ColumnType;
use crate::time::Span;
use std::collections::HashSet;

/// Where a window ends by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Edge {
    /// Before the tile that holds the time of the read: only tiles that have ended.
    #[default]
    Closed,
    /// After that tile, so that an event is visible in the next read.
    Live,
}

/// What tells that time is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SealMode {
    /// The clock.
    #[default]
    Off,
    /// Seals: a window never slides over time that is not sealed.
    Required,
}

/// What happens to an event in a sealed range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LateMode {
    /// It is applied.
    #[default]
    Add,
    /// It is acknowledged and counted, not applied.
    Drop,
}

/// An input column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: Identifier,
    /// The type of its values.
    pub kind: ColumnType,
}

/// A feature of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureDefinition {
    /// Its name.
    pub name: Identifier,
    /// The aggregate that it is.
    pub expression: Expression,
}

/// All that defines a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewDefinition {
    /// Its name.
    pub name: Name,
    /// The tile size, above zero.
    pub tile: Span,
    /// How long tiles are readable and writable; none is for ever.
    pub retention: Option<Span>,
    /// Where windows end unless a read says otherwise.
    pub edge: Edge,
    /// What tells that time is complete.
    pub seal: SealMode,
    /// The lag beyond which values are stale; none is never.
    pub max_lag: Option<Span>,
    /// What happens to events in sealed ranges.
    pub late: LateMode,
    /// The rows below which a job's commit is refused; 0 is no such rule.
    pub min_rows: u64,
    /// The coarser tile sizes to keep, ascending; none leaves the choice to the store.
    pub levels: Option<Vec<Span>>,
    /// The names of the join keys.
    pub keys: Vec<Identifier>,
    /// The input columns.
    pub columns: Vec<ColumnDefinition>,
    /// The features.
    pub features: Vec<FeatureDefinition>,
}

/// A change to a view: what is none or empty stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewChange {
    /// Columns to add.
    pub add_columns: Vec<ColumnDefinition>,
    /// Features to add.
    pub add_features: Vec<FeatureDefinition>,
    /// The new retention; an inner none removes it.
    pub retention: Option<Option<Span>>,
    /// The new default edge.
    pub edge: Option<Edge>,
    /// The new seal mode.
    pub seal: Option<SealMode>,
    /// The new lag limit; an inner none removes it.
    pub max_lag: Option<Option<Span>>,
    /// The new treatment of late events.
    pub late: Option<LateMode>,
    /// The new least number of rows of a job.
    pub min_rows: Option<u64>,
}

/// The byte between the values of a view's keys within an entity.
pub const KEY_SEPARATOR: u8 = 0x1F;

impl ViewDefinition {
    /// A view with default settings, one key `entity`, columns given as (name, type) and features
    /// as (name, expression). For programs that embed a store; it is not validated.
    pub fn of(
        name: &str,
        tile: &str,
        columns: &[(&str, ColumnType)],
        features: &[(&str, &str)],
    ) -> Result<Self, TileError> {
        let column = |&(name, kind): &(&str, ColumnType)| {
            Ok(ColumnDefinition { name: Identifier::parse(name.as_bytes())?, kind })
        };
        let feature = |&(name, expression): &(&str, &str)| {
            Ok(FeatureDefinition {
                name: Identifier::parse(name.as_bytes())?,
                expression: Expression::parse(expression.as_bytes())?,
            })
        };
        Ok(Self {
            name: Name::parse(name.as_bytes())?,
            tile: Span::parse(tile.as_bytes())?,
            retention: None,
            edge: Edge::Closed,
            seal: SealMode::Off,
            max_lag: None,
            late: LateMode::Add,
            min_rows: 0,
            levels: None,
            keys: vec![Identifier::parse(b"entity")?],
            columns: columns.iter().map(column).collect::<Result<_, TileError>>()?,
            features: features.iter().map(feature).collect::<Result<_, TileError>>()?,
        })
    }

    /// Checks every rule of a definition; the error names the first one broken.
    pub fn validate(&self) -> Result<(), TileError> {
        self.check_settings()?;
        self.check_levels()?;
        check_names("key", "keys", KEY_COUNT_MAX, self.keys.iter())?;
        check_names(
            "column",
            "columns",
            COLUMN_COUNT_MAX,
            self.columns.iter().map(|column| &column.name),
        )?;
        check_names(
            "feature",
            "features",
            FEATURE_COUNT_MAX,
            self.features.iter().map(|feature| &feature.name),
        )?;
        check_present("keys", self.keys.is_empty(), "at least one name, such as entity")?;
        check_present(
            "features",
            self.features.is_empty(),
            "at least one, such as rows_seen=count()",
        )?;
        self.features.iter().try_for_each(|feature| self.check_feature(feature))
    }

    /// Checks that the view takes this entity: 1 to 65,535 bytes, and for more than one key the
    /// keys' values joined by the byte 0x1F.
    pub fn entity_check(&self, entity: &[u8]) -> Result<(), TileError> {
        check_entity(entity)?;
        let key_count = self.keys.len();
        if key_count == 1 {
            return Ok(());
        }
        let separator_count = entity.iter().filter(|byte| **byte == KEY_SEPARATOR).count();
        if separator_count + 1 == key_count {
            return Ok(());
        }
        let names: Vec<&str> = self.keys.iter().map(Identifier::as_str).collect();
        let expected =
            format!("the values of {} joined by \\x1F, {key_count} values", names.join(", "));
        Err(TileError::Entity { entity: printable(entity), expected })
    }

    /// The index of a column, and its definition.
    pub fn column(&self, name: &Identifier) -> Option<(usize, &ColumnDefinition)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == *name)
    }

    /// The index of a feature, and its definition.
    pub fn feature(&self, name: &Identifier) -> Option<(usize, &FeatureDefinition)> {
        self.features.iter().enumerate().find(|(_, feature)| feature.name == *name)
    }

    fn check_settings(&self) -> Result<(), TileError> {
        for (option, span) in [("tile", Some(self.tile)), ("retention", self.retention)] {
            if span == Some(Span::ZERO) {
                let expected = "a duration above zero, such as 1h".to_owned();
                return Err(TileError::Setting { option, found: Span::ZERO.to_string(), expected });
            }
        }
        match self.retention {
            Some(retention) if retention < self.tile => Err(TileError::Setting {
                option: "retention",
                found: retention.to_string(),
                expected: format!("at least the tile size {}", self.tile),
            }),
            _ => Ok(()),
        }
    }

    /// Checks that each level is made of whole tiles of the one below it.
    fn check_levels(&self) -> Result<(), TileError> {
        let levels = self.levels.as_deref().unwrap_or_default();
        check_count("levels", levels.len(), LEVEL_COUNT_MAX)?;
        let mut below = self.tile;
        for level in levels {
            if *level <= below || !level.is_multiple_of(below) {
                let expected = format!("a multiple of {below}, the size below it, and larger");
                return Err(TileError::Setting {
                    option: "level",
                    found: level.to_string(),
                    expected,
                });
            }
            below = *level;
        }
        Ok(())
    }

    fn check_feature(&self, feature: &FeatureDefinition) -> Result<(), TileError> {
        let expression = &feature.expression;
        let about =
            |error| TileError::Feature { feature: feature.name.clone(), source: Box::new(error) };
        if expression.column.is_none() != (expression.function == Function::CountRows) {
            let expected = "a column, but for count() alone".to_owned();
            return Err(about(TileError::Expression { text: expression.to_string(), expected }));
        }
        let Some(name) = &expression.column else {
            return Ok(());
        };
        let Some((index, column)) = self.column(name) else {
            return Err(self.unknown_column(&feature.name, name));
        };
        let Ok(index) = u16::try_from(index) else {
            unreachable!("the limit on columns fits 16 bits");
        };
        components_of(expression.function, Some((index, column.kind))).map_err(about)?;
        Ok(())
    }

    fn unknown_column(&self, feature: &Identifier, column: &Identifier) -> TileError {
        let names: Vec<&str> = self.columns.iter().map(|known| known.name.as_str()).collect();
        let known =
            if names.is_empty() { "none, as there is none".to_owned() } else { names.join(", ") };
        TileError::UnknownColumn { feature: feature.clone(), column: column.clone(), known }
    }
}

impl ViewChange {
    /// The definition after this change, or why the view cannot be changed so. Columns and features
    /// only ever join at the end, so that what is stored keeps its meaning.
    pub fn apply(&self, definition: &ViewDefinition) -> Result<ViewDefinition, TileError> {
        let mut changed = definition.clone();
        changed.columns.extend(self.add_columns.iter().cloned());
        changed.features.extend(self.add_features.iter().cloned());
        changed.retention = self.retention.unwrap_or(definition.retention);
        changed.edge = self.edge.unwrap_or(definition.edge);
        changed.seal = self.seal.unwrap_or(definition.seal);
        changed.max_lag = self.max_lag.unwrap_or(definition.max_lag);
        changed.late = self.late.unwrap_or(definition.late);
        changed.min_rows = self.min_rows.unwrap_or(definition.min_rows);
        changed.validate()?;
        Ok(changed)
    }
}

fn check_names<'a>(
    what: &'static str,
    plural: &'static str,
    limit: usize,
    names: impl ExactSizeIterator<Item = &'a Identifier>,
) -> Result<(), TileError> {
    check_count(plural, names.len(), limit)?;
    let mut seen = HashSet::with_capacity(names.len());
    for name in names {
        if !seen.insert(name) {
            return Err(TileError::Duplicate { what, name: name.clone() });
        }
    }
    Ok(())
}

fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), TileError> {
    if count <= limit { Ok(()) } else { Err(TileError::TooMany { what, count, limit }) }
}

fn check_present(option: &'static str, is_empty: bool, expected: &str) -> Result<(), TileError> {
    if !is_empty {
        return Ok(());
    }
    Err(TileError::Setting { option, found: "none".to_owned(), expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(text: &str) -> Identifier {
        Identifier::parse(text.as_bytes()).unwrap()
    }

    fn span(text: &str) -> Span {
        Span::parse(text.as_bytes()).unwrap()
    }

    fn column(name: &str, kind: ColumnType) -> ColumnDefinition {
        ColumnDefinition { name: identifier(name), kind }
    }

    fn feature(name: &str, function: Function, column: Option<&str>) -> FeatureDefinition {
        let expression = Expression { function, column: column.map(identifier) };
        FeatureDefinition { name: identifier(name), expression }
    }

    fn likes() -> ViewDefinition {
        ViewDefinition {
            name: Name::parse(b"shop.likes").unwrap(),
            tile: span("1h"),
            retention: Some(span("90d")),
            edge: Edge::Closed,
            seal: SealMode::Off,
            max_lag: None,
            late: LateMode::Add,
            min_rows: 0,
            levels: None,
            keys: vec![identifier("entity")],
            columns: vec![column("amount", ColumnType::F64), column("item", ColumnType::Str)],
            features: vec![
                feature("likes", Function::CountRows, None),
                feature("spent", Function::Sum, Some("amount")),
                feature("newest", Function::Last, Some("item")),
            ],
        }
    }

    /// Changes the definition and gives the error that it then has.
    fn refused(change: impl FnOnce(&mut ViewDefinition)) -> String {
        let mut definition = likes();
        change(&mut definition);
        definition.validate().unwrap_err().to_string()
    }

    #[test]
    fn a_sound_definition_is_taken() {
        assert_eq!(likes().validate(), Ok(()));
        let mut rows_only = likes();
        rows_only.columns.clear();
        rows_only.features.truncate(1);
        assert_eq!(rows_only.validate(), Ok(()));
    }

    #[test]
    fn names_are_distinct_within_their_kind() {
        assert_eq!(
            refused(|view| view.columns.push(column("item", ColumnType::Str))),
            "column \"item\" is defined twice: expected distinct names"
        );
        assert_eq!(
            refused(|view| view.features.push(feature("likes", Function::CountRows, None))),
            "feature \"likes\" is defined twice: expected distinct names"
        );
        assert_eq!(
            refused(|view| view.keys.push(identifier("entity"))),
            "key \"entity\" is defined twice: expected distinct names"
        );
        let mut shared = likes();
        shared.features.push(feature("amount", Function::Max, Some("amount")));
        assert_eq!(shared.validate(), Ok(()), "a feature may bear a column's name");
    }

    #[test]
    fn a_feature_needs_its_column() {
        assert_eq!(
            refused(|view| view.features.push(feature("x", Function::Min, Some("price")))),
            "feature \"x\" aggregates column \"price\": expected one of amount, item"
        );
        assert_eq!(
            refused(|view| view.features.push(feature("x", Function::Min, None))),
            "feature \"x\": expression \"min()\": expected a column, but for count() alone"
        );
        let rows_of_column = feature("x", Function::CountRows, Some("amount"));
        assert!(refused(|view| view.features.push(rows_of_column)).contains("count(amount)"));
    }

    #[test]
    fn arithmetic_needs_numbers() {
        assert_eq!(
            refused(|view| view.features.push(feature("x", Function::Mean, Some("item")))),
            "feature \"x\": mean over a column of type str: \
             expected a column of type i64 or f64"
        );
    }

    #[test]
    fn durations_are_above_zero() {
        assert!(refused(|view| view.tile = Span::ZERO).starts_with("tile 0ms: expected"));
        let error = refused(|view| view.retention = Some(Span::ZERO));
        assert!(error.starts_with("retention 0ms: expected"), "{error}");
    }

    #[test]
    fn a_retention_keeps_a_tile_at_least() {
        let mut exact = likes();
        exact.retention = Some(exact.tile);
        assert_eq!(exact.validate(), Ok(()));
        let error = refused(|view| view.retention = Some(span("59m")));
        assert_eq!(error, "retention 59m: expected at least the tile size 1h");
        let change = ViewChange { retention: Some(Some(span("59m"))), ..ViewChange::default() };
        assert!(change.apply(&likes()).is_err(), "nor does a change make it shorter");
    }

    #[test]
    fn levels_ascend_in_multiples() {
        let mut declared = likes();
        declared.levels = Some(vec![span("4h"), span("1d")]);
        assert_eq!(declared.validate(), Ok(()));
        for levels in [["1h", "1d"], ["90m", "3h"], ["1d", "4h"], ["4h", "4h"], ["4h", "6h"]] {
            let error = refused(|view| view.levels = Some(levels.map(span).to_vec()));
            assert!(error.contains("expected a multiple of"), "{levels:?}: {error}");
        }
    }

    #[test]
    fn a_view_has_keys_and_features() {
        assert!(refused(|view| view.keys.clear()).starts_with("keys none: expected"));
        assert!(refused(|view| view.features.clear()).starts_with("features none: expected"));
    }

    #[test]
    fn counts_end_at_their_limits() {
        let mut full = likes();
        let more = |from: usize, to| (from..to).map(|index| format!("c{index}"));
        full.columns.extend(more(2, COLUMN_COUNT_MAX).map(|name| column(&name, ColumnType::I64)));
        full.features.extend(
            more(3, FEATURE_COUNT_MAX).map(|name| feature(&name, Function::CountRows, None)),
        );
        full.keys.extend(more(1, KEY_COUNT_MAX).map(|name| identifier(&name)));
        full.levels =
            Some((1..=LEVEL_COUNT_MAX).map(|level| span(&format!("{}h", 1 << level))).collect());
        assert_eq!(full.validate(), Ok(()));
        let refused = |change: &dyn Fn(&mut ViewDefinition)| {
            let mut definition = full.clone();
            change(&mut definition);
            definition.validate().unwrap_err().to_string()
        };
        let column = column("one_more", ColumnType::I64);
        let too_many = refused(&|view| view.columns.push(column.clone()));
        assert_eq!(too_many, "1025 columns: expected at most 1024");
        let feature = feature("one_more", Function::CountRows, None);
        let too_many = refused(&|view| view.features.push(feature.clone()));
        assert_eq!(too_many, "1025 features: expected at most 1024");
        let too_many = refused(&|view| view.keys.push(identifier("one_more")));
        assert_eq!(too_many, "17 keys: expected at most 16");
        let too_many = refused(&|view| view.levels.as_mut().unwrap().push(span("512h")));
        assert_eq!(too_many, "9 levels: expected at most 8");
    }

    #[test]
    fn an_entity_of_one_key_is_any_bytes() {
        let view = likes();
        for entity in [&b"u:42"[..], b"\x1f", &[0xFF; 65_535]] {
            assert_eq!(view.entity_check(entity), Ok(()));
        }
        assert!(view.entity_check(b"").is_err(), "an entity is not empty");
        assert!(view.entity_check(&[b'x'; 65_536]).is_err(), "65,536 bytes are too many");
    }

    #[test]
    fn an_entity_of_two_keys_joins_two_values() {
        let mut view = likes();
        view.keys = vec![identifier("user"), identifier("shop")];
        assert_eq!(view.entity_check(b"42\x1f7"), Ok(()));
        assert_eq!(view.entity_check(b"\x1f"), Ok(()), "values may be empty");
        for entity in [&b"42"[..], b"42\x1f7\x1f9"] {
            let error = view.entity_check(entity).unwrap_err().to_string();
            assert!(
                error.ends_with("the values of user, shop joined by \\x1F, 2 values"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_change_touches_what_it_names_alone() {
        let before = likes();
        assert_eq!(ViewChange::default().apply(&before).as_ref(), Ok(&before));
        let change = ViewChange {
            add_columns: vec![column("price", ColumnType::I64)],
            add_features: vec![feature("dearest", Function::Max, Some("price"))],
            retention: Some(None),
            late: Some(LateMode::Drop),
            ..ViewChange::default()
        };
        let mut expected = before.clone();
        expected.columns.push(column("price", ColumnType::I64));
        expected.features.push(feature("dearest", Function::Max, Some("price")));
        expected.retention = None;
        expected.late = LateMode::Drop;
        assert_eq!(change.apply(&before), Ok(expected));
    }

    #[test]
    fn a_change_does_not_redefine_what_is_there() {
        let retyped = vec![column("amount", ColumnType::I64)];
        let change = ViewChange { add_columns: retyped, ..ViewChange::default() };
        assert!(change.apply(&likes()).is_err(), "a column keeps its type");
        let redefined = vec![feature("spent", Function::Max, Some("amount"))];
        let change = ViewChange { add_features: redefined, ..ViewChange::default() };
        assert!(change.apply(&likes()).is_err(), "a feature keeps its expression");
    }
}

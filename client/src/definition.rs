//! Definitions of views as the arguments of commands, and back from VIEW.INFO. Knows nothing of
//! connections.

use bytes::Bytes;
use tilekv_protocol::Reply;
use tilekv_tile::{
    ColumnDefinition, ColumnType, Edge, Expression, FeatureDefinition, Identifier, LateMode, Name,
    SealMode, Span, TileError, ViewChange, ViewDefinition,
};

use crate::error::ClientError;
use crate::reply::{Fields, text, unexpected};

/// `VIEW.CREATE` with everything that the definition says.
pub(crate) fn create_arguments(definition: &ViewDefinition) -> Vec<String> {
    let mut list = words(["VIEW.CREATE", definition.name.as_str(), "TILE"]);
    list.push(definition.tile.to_string());
    push_span(&mut list, "RETENTION", definition.retention);
    list.extend(words(["EDGE", edge_word(definition.edge)]));
    list.extend(words(["SEAL", seal_word(definition.seal)]));
    push_span(&mut list, "MAXLAG", definition.max_lag);
    list.extend(words(["LATE", late_word(definition.late)]));
    list.extend(["MINROWS".to_owned(), definition.min_rows.to_string()]);
    if let Some(levels) = &definition.levels {
        push_list(&mut list, "LEVELS", levels);
    }
    push_list(&mut list, "KEYS", &definition.keys);
    push_list(&mut list, "COLUMNS", columns(&definition.columns));
    push_list(&mut list, "FEATURES", features(&definition.features));
    list
}

/// `VIEW.ALTER` with what the change says.
pub(crate) fn alter_arguments(view: &Name, change: &ViewChange) -> Vec<String> {
    let mut list = words(["VIEW.ALTER", view.as_str()]);
    if !change.add_columns.is_empty() {
        list.push("ADD".to_owned());
        push_list(&mut list, "COLUMNS", columns(&change.add_columns));
    }
    if !change.add_features.is_empty() {
        list.push("ADD".to_owned());
        push_list(&mut list, "FEATURES", features(&change.add_features));
    }
    for (keyword, span) in [("RETENTION", change.retention), ("MAXLAG", change.max_lag)] {
        if let Some(span) = span {
            let shown = span.map_or_else(|| "none".to_owned(), |span| span.to_string());
            list.extend([keyword.to_owned(), shown]);
        }
    }
    if let Some(edge) = change.edge {
        list.extend(words(["EDGE", edge_word(edge)]));
    }
    if let Some(seal) = change.seal {
        list.extend(words(["SEAL", seal_word(seal)]));
    }
    if let Some(late) = change.late {
        list.extend(words(["LATE", late_word(late)]));
    }
    if let Some(min_rows) = change.min_rows {
        list.extend(["MINROWS".to_owned(), min_rows.to_string()]);
    }
    list
}

/// The definition among the fields of VIEW.INFO.
pub(crate) fn from_fields(fields: &mut Fields) -> Result<ViewDefinition, ClientError> {
    Ok(ViewDefinition {
        name: Name::parse(fields.text("name")?.as_bytes())?,
        tile: Span::parse(fields.text("tile")?.as_bytes())?,
        retention: optional_span(fields, "retention")?,
        edge: choice(fields, "edge", &[Edge::Closed, Edge::Live], edge_word)?,
        seal: choice(fields, "seal", &[SealMode::Off, SealMode::Required], seal_word)?,
        max_lag: optional_span(fields, "max_lag")?,
        late: choice(fields, "late", &[LateMode::Add, LateMode::Drop], late_word)?,
        min_rows: fields.unsigned("min_rows")?,
        levels: levels(fields)?,
        keys: fields.list("keys", |reply| Ok(Identifier::parse(text(reply)?.as_bytes())?))?,
        columns: fields.list("columns", |reply| Ok(parse_column(&text(reply)?)?))?,
        features: fields.list("features", |reply| Ok(parse_feature(&text(reply)?)?))?,
    })
}

/// Reads `name:type`.
///
/// # Errors
/// Text without a colon, a name that is none, or a type other than i64, f64 and str.
pub fn parse_column(text: &str) -> Result<ColumnDefinition, TileError> {
    let malformed = || TileError::Setting {
        option: "column",
        found: text.to_owned(),
        expected: "name:type with a type of i64, f64 or str, such as amount:f64".to_owned(),
    };
    let (name, kind) = text.split_once(':').ok_or_else(malformed)?;
    let kinds = [ColumnType::I64, ColumnType::F64, ColumnType::Str];
    let kind = kinds.into_iter().find(|known| known.as_str() == kind);
    Ok(ColumnDefinition {
        name: Identifier::parse(name.as_bytes())?,
        kind: kind.ok_or_else(malformed)?,
    })
}

/// Reads `name=expression`.
///
/// # Errors
/// Text without an equals sign, a name that is none, or an unknown expression.
pub fn parse_feature(text: &str) -> Result<FeatureDefinition, TileError> {
    let malformed = || TileError::Setting {
        option: "feature",
        found: text.to_owned(),
        expected: "name=expression, such as spend=sum(amount)".to_owned(),
    };
    let (name, expression) = text.split_once('=').ok_or_else(malformed)?;
    Ok(FeatureDefinition {
        name: Identifier::parse(name.as_bytes())?,
        expression: Expression::parse(expression.as_bytes())?,
    })
}

/// The word of an edge in commands and replies: `closed` or `live`.
pub(crate) fn edge_word(edge: Edge) -> &'static str {
    match edge {
        Edge::Closed => "closed",
        Edge::Live => "live",
    }
}

fn seal_word(seal: SealMode) -> &'static str {
    match seal {
        SealMode::Off => "off",
        SealMode::Required => "required",
    }
}

fn late_word(late: LateMode) -> &'static str {
    match late {
        LateMode::Add => "add",
        LateMode::Drop => "drop",
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

fn push_span(list: &mut Vec<String>, keyword: &str, span: Option<Span>) {
    if let Some(span) = span {
        list.extend([keyword.to_owned(), span.to_string()]);
    }
}

fn push_list<T: ToString>(
    list: &mut Vec<String>,
    keyword: &str,
    items: impl IntoIterator<Item = T>,
) {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    list.extend([keyword.to_owned(), items.len().to_string()]);
    list.extend(items);
}

fn columns(columns: &[ColumnDefinition]) -> impl Iterator<Item = String> {
    columns.iter().map(|column| format!("{}:{}", column.name, column.kind.as_str()))
}

fn features(features: &[FeatureDefinition]) -> impl Iterator<Item = String> {
    features.iter().map(|feature| format!("{}={}", feature.name, feature.expression))
}

fn optional_span(fields: &mut Fields, name: &str) -> Result<Option<Span>, ClientError> {
    let text = fields.optional_text(name)?;
    Ok(text.map(|text| Span::parse(text.as_bytes())).transpose()?)
}

fn levels(fields: &mut Fields) -> Result<Option<Vec<Span>>, ClientError> {
    let span = |reply| Ok(Span::parse(text(reply)?.as_bytes())?);
    crate::reply::optional(fields.take("levels"), |reply| crate::reply::list(reply, span))
}

fn choice<T: Copy>(
    fields: &mut Fields,
    name: &str,
    known: &[T],
    word: impl Fn(T) -> &'static str,
) -> Result<T, ClientError> {
    let found = fields.text(name)?;
    let choice = known.iter().copied().find(|choice| word(*choice) == found);
    let bytes = || Reply::Bulk(Bytes::from(found.clone()));
    choice.ok_or_else(|| unexpected("a known setting", &bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilekv_protocol::{Arguments, Command, ViewCommand};

    fn definition() -> ViewDefinition {
        let span = |text: &str| Span::parse(text.as_bytes()).unwrap();
        ViewDefinition {
            name: Name::parse(b"shop.likes").unwrap(),
            tile: span("1h"),
            retention: Some(span("90d")),
            edge: Edge::Live,
            seal: SealMode::Required,
            max_lag: Some(span("3h")),
            late: LateMode::Drop,
            min_rows: 7,
            levels: Some(vec![span("1d")]),
            keys: vec![Identifier::parse(b"user").unwrap()],
            columns: vec![parse_column("amount:f64").unwrap()],
            features: vec![
                parse_feature("likes=count()").unwrap(),
                parse_feature("spent=sum(amount)").unwrap(),
            ],
        }
    }

    fn command(list: &[String]) -> Command {
        Command::from_arguments(&Arguments::from_list(list).unwrap()).unwrap()
    }

    #[test]
    fn a_definition_is_understood_by_the_server() {
        let list = create_arguments(&definition());
        let expected = Command::View(ViewCommand::Create(Box::new(definition())));
        assert_eq!(command(&list), expected);
    }

    #[test]
    fn a_change_is_understood_by_the_server() {
        let change = ViewChange {
            add_columns: vec![parse_column("item:str").unwrap()],
            add_features: vec![parse_feature("newest=last(item)").unwrap()],
            retention: Some(None),
            edge: Some(Edge::Closed),
            seal: Some(SealMode::Off),
            max_lag: Some(Some(Span::parse(b"1d").unwrap())),
            late: Some(LateMode::Add),
            min_rows: Some(0),
        };
        let view = Name::parse(b"shop.likes").unwrap();
        let list = alter_arguments(&view, &change);
        let change = Box::new(change);
        assert_eq!(command(&list), Command::View(ViewCommand::Alter { view, change }));
    }

    #[test]
    fn malformed_columns_and_features_are_named() {
        assert!(parse_column("amount").unwrap_err().to_string().contains("amount"));
        assert!(parse_column("amount:float").unwrap_err().to_string().contains("i64"));
        assert!(parse_feature("likes").unwrap_err().to_string().contains("likes"));
    }
}

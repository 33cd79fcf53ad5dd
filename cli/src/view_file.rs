//! Definitions of views in a TOML file: one `[[view]]` table per view, in the words of
//! VIEW.CREATE. Knows nothing of the server.

use std::path::Path;

use serde::Deserialize;
use tilekv_client::{
    Edge, Identifier, LateMode, Name, SealMode, Span, TileError, ViewDefinition, parse_column,
    parse_feature,
};

use crate::failure::CliError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewFile {
    view: Vec<ViewTable>,
}

/// One view; what is left out is as VIEW.CREATE has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewTable {
    name: String,
    tile: String,
    retention: Option<String>,
    #[serde(default)]
    edge: EdgeWord,
    #[serde(default)]
    seal: SealWord,
    max_lag: Option<String>,
    #[serde(default)]
    late: LateWord,
    #[serde(default)]
    min_rows: u64,
    levels: Option<Vec<String>>,
    #[serde(default = "default_keys")]
    keys: Vec<String>,
    #[serde(default)]
    columns: Vec<String>,
    features: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EdgeWord {
    #[default]
    Closed,
    Live,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SealWord {
    #[default]
    Off,
    Required,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LateWord {
    #[default]
    Add,
    Drop,
}

fn default_keys() -> Vec<String> {
    vec!["entity".to_owned()]
}

/// Reads and checks all definitions of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<ViewDefinition>, CliError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| CliError::File {
        verb: "read",
        path: shown.clone(),
        source,
    })?;
    parse(&text).map_err(|problem| CliError::Content { path: shown, problem })
}

fn parse(text: &str) -> Result<Vec<ViewDefinition>, String> {
    let file: ViewFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let definition = |table: ViewTable| {
        let name = table.name.clone();
        definition(table).map_err(|error| format!("view \"{name}\": {error}"))
    };
    file.view.into_iter().map(definition).collect()
}

fn definition(table: ViewTable) -> Result<ViewDefinition, TileError> {
    let span = |text: &String| Span::parse(text.as_bytes());
    let definition = ViewDefinition {
        name: Name::parse(table.name.as_bytes())?,
        tile: span(&table.tile)?,
        retention: table.retention.as_ref().map(span).transpose()?,
        edge: match table.edge {
            EdgeWord::Closed => Edge::Closed,
            EdgeWord::Live => Edge::Live,
        },
        seal: match table.seal {
            SealWord::Off => SealMode::Off,
            SealWord::Required => SealMode::Required,
        },
        max_lag: table.max_lag.as_ref().map(span).transpose()?,
        late: match table.late {
            LateWord::Add => LateMode::Add,
            LateWord::Drop => LateMode::Drop,
        },
        min_rows: table.min_rows,
        levels: table
            .levels
            .map(|levels| levels.iter().map(span).collect::<Result<_, _>>())
            .transpose()?,
        keys: all(&table.keys, |key| Identifier::parse(key.as_bytes()))?,
        columns: all(&table.columns, parse_column)?,
        features: all(&table.features, parse_feature)?,
    };
    definition.validate()?;
    Ok(definition)
}

fn all<T>(
    texts: &[String],
    read: impl Fn(&str) -> Result<T, TileError>,
) -> Result<Vec<T>, TileError> {
    texts.iter().map(|text| read(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIKES: &str = r#"
        [[view]]
        name = "shop.likes"
        tile = "1h"
        retention = "90d"
        seal = "required"
        levels = ["1d"]
        columns = ["amount:f64"]
        features = ["likes=count()", "spent=sum(amount)"]
    "#;

    #[test]
    fn a_view_is_read_with_its_defaults() {
        let views = parse(LIKES).unwrap();
        let [view] = &views[..] else { panic!("one view, not {}", views.len()) };
        assert_eq!(view.name.as_str(), "shop.likes");
        assert_eq!(view.seal, SealMode::Required);
        assert_eq!(view.edge, Edge::Closed);
        assert_eq!(view.keys[0].as_str(), "entity");
        assert_eq!(view.features[1].expression.to_string(), "sum(amount)");
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = parse(&LIKES.replace("retention", "retain")).unwrap_err();
        assert!(unknown.contains("retain"), "{unknown}");
        let column = parse(&LIKES.replace("sum(amount)", "sum(price)")).unwrap_err();
        assert!(column.contains("shop.likes") && column.contains("price"), "{column}");
        let edge = parse(&LIKES.replace("\"required\"", "\"maybe\"")).unwrap_err();
        assert!(edge.contains("maybe"), "{edge}");
    }
}

//! Definitions in a TOML file: a `[[view]]` table per view, in the words of VIEW.CREATE, and a
//! `[[service]]` table per service. Knows nothing of the server.

use std::path::Path;

use serde::Deserialize;
use tilekv_client::{
    Edge, Identifier, LateMode, Name, SealMode, Span, TileError, ViewDefinition, ViewSelector,
    parse_column, parse_feature,
};

use crate::failure::CliError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewFile {
    #[serde(default)]
    view: Vec<ViewTable>,
    #[serde(default)]
    service: Vec<ServiceTable>,
}

/// One feature service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTable {
    name: String,
    selectors: Vec<String>,
}

/// What a file declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Declared {
    /// Views, each of another name.
    pub(crate) views: Vec<ViewDefinition>,
    /// Services and their selectors, each of another name.
    pub(crate) services: Vec<(Name, Vec<ViewSelector>)>,
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
pub(crate) fn read(path: &Path) -> Result<Declared, CliError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| CliError::File {
        verb: "read",
        path: shown.clone(),
        source,
    })?;
    parse(&text).map_err(|problem| CliError::Content { path: shown, problem })
}

pub(crate) fn parse(text: &str) -> Result<Declared, String> {
    let file: ViewFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut declared = Declared::default();
    for table in file.view {
        let name = table.name.clone();
        let view = definition(table).map_err(|error| format!("view \"{name}\": {error}"))?;
        if declared.views.iter().any(|known| known.name == view.name) {
            return Err(format!("view \"{name}\" is declared twice, expected once"));
        }
        declared.views.push(view);
    }
    for table in file.service {
        let about = |error: TileError| format!("service \"{}\": {error}", table.name);
        let name = Name::parse(table.name.as_bytes()).map_err(about)?;
        let selectors = all(&table.selectors, |text| ViewSelector::parse(text.as_bytes()));
        let selectors = selectors.map_err(about)?;
        if selectors.is_empty() {
            return Err(format!("service \"{name}\" has no selectors, expected at least one"));
        }
        if declared.services.iter().any(|(known, _)| *known == name) {
            return Err(format!("service \"{name}\" is declared twice, expected once"));
        }
        declared.services.push((name, selectors));
    }
    if declared == Declared::default() {
        return Err("declares nothing, expected [[view]] or [[service]] tables".to_owned());
    }
    Ok(declared)
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
        let views = parse(LIKES).unwrap().views;
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
        let twice = parse(&[LIKES, LIKES].concat()).unwrap_err();
        assert!(twice.contains("shop.likes\" is declared twice"), "{twice}");
        assert!(parse("").unwrap_err().contains("declares nothing"));
    }

    #[test]
    fn services_are_read_beside_views() {
        let service = |selector: &str| {
            format!("{LIKES}\n[[service]]\nname = \"ranking\"\nselectors = [{selector}]\n")
        };
        let declared = parse(&service("\"shop.likes.spent@7d\"")).unwrap();
        let [(name, selectors)] = &declared.services[..] else { panic!("one service") };
        assert_eq!((name.as_str(), selectors[0].view.as_str()), ("ranking", "shop.likes"));
        let wrong = parse(&service("\"spent@7d\"")).unwrap_err();
        assert!(wrong.contains("ranking") && wrong.contains("spent@7d"), "{wrong}");
        assert!(parse(&service("")).unwrap_err().contains("at least one"));
    }
}

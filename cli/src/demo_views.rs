//! The views of the demonstration and what is asked of them. Knows nothing of the server.

use std::path::Path;

use tilekv_client::{
    Edge, Identifier, LateMode, Name, SealMode, Span, TileError, ViewDefinition, parse_column,
    parse_feature,
};

use crate::arguments::{AsJob, Load, TimeForm};

/// One view of the demonstration: who is counted, and which CSV columns say so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DemoView {
    pub(crate) name: &'static str,
    /// What an entity is, for people.
    pub(crate) entity: &'static str,
    /// The names of the keys and the CSV columns that fill them.
    pub(crate) keys: &'static [(&'static str, &'static str)],
}

pub(crate) const CARRIERS: DemoView =
    DemoView { name: "demo.carriers", entity: "airline", keys: &[("carrier", "carrier")] };
pub(crate) const PLANES: DemoView =
    DemoView { name: "demo.planes", entity: "plane", keys: &[("tailnum", "tailnum")] };
pub(crate) const ROUTES: DemoView = DemoView {
    name: "demo.routes",
    entity: "route",
    keys: &[("origin", "origin"), ("dest", "dest")],
};

/// All of them.
pub(crate) const VIEWS: [DemoView; 3] = [CARRIERS, PLANES, ROUTES];

/// The times asked for: after two weeks, in a storm of March, in a holiday week, on the last day.
pub(crate) const TIMES: [&str; 4] =
    ["2013-01-15T00:00", "2013-03-09T00:00", "2013-07-05T12:00", "2013-12-31T12:00"];

/// The windows asked for.
pub(crate) const WINDOWS: [&str; 5] = ["1h", "1d", "7d", "30d", "90d"];

/// Rows of one batch of the load.
const BATCH_ROWS: usize = 4_000;

impl DemoView {
    /// Hourly tiles of delays and distances.
    pub(crate) fn definition(&self) -> Result<ViewDefinition, TileError> {
        let key = |(key, _): &(&str, &str)| Identifier::parse(key.as_bytes());
        let columns = ["dep_delay:f64", "distance:i64"].map(parse_column);
        let features = [
            "flights=count()",
            "departed=count(dep_delay)",
            "delay=mean(dep_delay)",
            "spread=stddev_pop(dep_delay)",
            "worst=max(dep_delay)",
            "miles=sum(distance)",
        ];
        Ok(ViewDefinition {
            name: Name::parse(self.name.as_bytes())?,
            tile: Span::parse(b"1h")?,
            retention: None,
            edge: Edge::Closed,
            seal: SealMode::Off,
            max_lag: None,
            late: LateMode::Add,
            min_rows: 0,
            levels: None,
            keys: self.keys.iter().map(key).collect::<Result<_, _>>()?,
            columns: columns.into_iter().collect::<Result<_, _>>()?,
            features: features.map(parse_feature).into_iter().collect::<Result<_, _>>()?,
        })
    }

    /// How the flights are loaded into the view.
    pub(crate) fn load(&self, file: &Path) -> Load {
        Load {
            file: file.to_owned(),
            view: self.name.to_owned(),
            entity: self.keys.iter().map(|(_, csv)| (*csv).to_owned()).collect(),
            time: "time".to_owned(),
            time_form: TimeForm::Millis,
            map: Vec::new(),
            null: None,
            skip_missing: true,
            delimiter: ',',
            batch: BATCH_ROWS,
            in_flight: 16,
            producer: None,
            as_job: AsJob::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_and_times_are_sound() {
        for view in VIEWS {
            view.definition().unwrap().validate().unwrap();
        }
        for time in TIMES {
            crate::clock_time::parse(time).unwrap();
        }
    }
}

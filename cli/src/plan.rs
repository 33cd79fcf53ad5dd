//! What must change for a store to be as a file declares, as steps and as text: the one is shown
//! before the other is done. Knows nothing of servers and files.

use tilekv_client::{
    Edge, FeatureDefinition, Identifier, LateMode, Name, SealMode, Selector, Span, ViewChange,
    ViewDefinition, ViewSelector,
};

use crate::view_file::Declared;

/// What is to be done, in order, and what cannot be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// What the file declares and the store cannot become, each with the reason.
    pub(crate) refusals: Vec<String>,
    /// What the store has, the file has not, and stays.
    pub(crate) kept: Vec<String>,
}

/// One command, and how it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) change: Change,
    pub(crate) lines: Vec<String>,
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    CreateView(ViewDefinition),
    AlterView(Name, ViewChange),
    DropView(Name),
    CreateService(Name, Vec<ViewSelector>),
    /// Dropped and created again.
    ReplaceService(Name, Vec<ViewSelector>),
    DropService(Name),
}

/// What becomes of views and services that the file does not declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undeclared {
    Kept,
    Dropped,
}

impl Plan {
    /// The way from `found` to `wanted`.
    pub(crate) fn new(found: &Declared, wanted: &Declared, undeclared: Undeclared) -> Self {
        let mut plan = Self::default();
        for view in &wanted.views {
            match found.views.iter().find(|known| known.name == view.name) {
                None => plan.step(Change::CreateView(view.clone()), created(view)),
                Some(known) => plan.alter(known, view),
            }
        }
        let is_declared = |name: &Name| wanted.views.iter().any(|view| view.name == *name);
        let others = found.views.iter().filter(|view| !is_declared(&view.name));
        let (mut after, mut drops) = (wanted.views.clone(), Vec::new());
        for view in others {
            match undeclared {
                Undeclared::Kept => {
                    plan.kept.push(format!("view {}", view.name));
                    after.push(view.clone());
                }
                Undeclared::Dropped => drops.push(view.name.clone()),
            }
        }
        plan.services(found, wanted, undeclared, &after);
        for name in drops {
            let lines = vec![
                format!("- view {name}"),
                "    its tiles, seals and producers go with it".to_owned(),
            ];
            plan.step(Change::DropView(name), lines);
        }
        plan
    }

    /// The text of the plan: every step, what is refused, what is kept, and a summary.
    pub(crate) fn render(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for step in &self.steps {
            lines.extend(step.lines.iter().cloned());
        }
        lines.extend(self.refusals.iter().map(|refusal| format!("! {refusal}")));
        for kept in &self.kept {
            lines.push(format!("  {kept} is not in the file and stays (--delete drops it)"));
        }
        lines.push(self.summary());
        lines.join("\n")
    }

    fn summary(&self) -> String {
        if self.steps.is_empty() && self.refusals.is_empty() {
            return "Nothing to change.".to_owned();
        }
        let count =
            |mark: char| self.steps.iter().filter(|step| step.lines[0].starts_with(mark)).count();
        let mut summary =
            format!("{} to create, {} to change, {} to drop", count('+'), count('~'), count('-'));
        if !self.refusals.is_empty() {
            summary.push_str(&format!(", {} that cannot be", self.refusals.len()));
        }
        summary + "."
    }

    fn step(&mut self, change: Change, lines: Vec<String>) {
        self.steps.push(Step { change, lines });
    }

    fn refuse(&mut self, view: &ViewDefinition, what: impl std::fmt::Display) {
        self.refusals.push(format!("view {}: {what}", view.name));
    }

    /// The way from one definition of a view to another.
    fn alter(&mut self, known: &ViewDefinition, wanted: &ViewDefinition) {
        let refused = self.refusals.len();
        self.check_meaning(known, wanted);
        if refused < self.refusals.len() {
            return;
        }
        let (change, lines) = difference(known, wanted);
        if change == ViewChange::default() {
            return;
        }
        let head = format!("~ view {}", wanted.name);
        let lines = std::iter::once(head).chain(lines).collect();
        self.step(Change::AlterView(wanted.name.clone(), change), lines);
    }

    /// Refuses what would give stored tiles another meaning, or none.
    fn check_meaning(&mut self, known: &ViewDefinition, wanted: &ViewDefinition) {
        const AS_NEW: &str = "declare a view of another name and backfill it";
        if known.tile != wanted.tile {
            let (old, new) = (known.tile, wanted.tile);
            self.refuse(
                wanted,
                format!("tile {old} -> {new}: stored tiles hold {old} each; {AS_NEW}"),
            );
        }
        if known.keys != wanted.keys {
            let (old, new) = (joined(&known.keys), joined(&wanted.keys));
            self.refuse(
                wanted,
                format!("keys {old} -> {new}: stored entities are values of {old}; {AS_NEW}"),
            );
        }
        if known.levels != wanted.levels {
            let (old, new) = (levels(known), levels(wanted));
            self.refuse(
                wanted,
                format!("levels {old} -> {new}: they are set at creation; {AS_NEW}"),
            );
        }
        for column in &known.columns {
            let name = &column.name;
            match wanted.column(name) {
                None => self.refuse(
                    wanted,
                    format!("column {name} is missing: writers may send it; leave it declared"),
                ),
                Some((_, found)) if found.kind != column.kind => self.refuse(
                    wanted,
                    format!(
                        "column {name}: {} -> {}: stored tiles were made of {0}; add a column of \
                         another name",
                        column.kind.as_str(),
                        found.kind.as_str()
                    ),
                ),
                Some(_) => {}
            }
        }
        for feature in &known.features {
            let name = &feature.name;
            match wanted.feature(name) {
                None => self.refuse(
                    wanted,
                    format!("feature {name} is missing: readers may ask for it; leave it declared"),
                ),
                Some((_, found)) if found.expression != feature.expression => self.refuse(
                    wanted,
                    format!(
                        "feature {name}: {} -> {}: stored tiles hold {0}; add a feature of \
                         another name",
                        feature.expression, found.expression
                    ),
                ),
                Some(_) => {}
            }
        }
    }

    fn services(
        &mut self,
        found: &Declared,
        wanted: &Declared,
        undeclared: Undeclared,
        views: &[ViewDefinition],
    ) {
        // Drops come first, so that a view may be dropped that only they read.
        for (name, _) in &found.services {
            let is_declared = wanted.services.iter().any(|(wanted, _)| wanted == name);
            match (is_declared, undeclared) {
                (true, _) => {}
                (false, Undeclared::Kept) => self.keep_service(found, name, views),
                (false, Undeclared::Dropped) => {
                    let lines = vec![format!("- service {name}")];
                    self.step(Change::DropService(name.clone()), lines);
                }
            }
        }
        for (name, selectors) in &wanted.services {
            if let Some(problem) = selectors.iter().find_map(|window| unreadable(window, views)) {
                self.refusals.push(format!("service {name}: {problem}"));
                continue;
            }
            let known = found.services.iter().find(|(known, _)| known == name);
            match known {
                Some((_, known)) if known == selectors => {}
                Some((_, known)) => {
                    let change = Change::ReplaceService(name.clone(), selectors.clone());
                    self.step(change, replaced(name, known, selectors));
                }
                None => {
                    let change = Change::CreateService(name.clone(), selectors.clone());
                    let head = format!("+ service {name}");
                    let windows = selectors.iter().map(|window| format!("    + {window}"));
                    self.step(change, std::iter::once(head).chain(windows).collect());
                }
            }
        }
    }

    fn keep_service(&mut self, found: &Declared, name: &Name, views: &[ViewDefinition]) {
        let selectors = found.services.iter().find(|(known, _)| known == name);
        let windows = selectors.map(|(_, windows)| &windows[..]).unwrap_or_default();
        match windows.iter().find_map(|window| unreadable(window, views)) {
            None => self.kept.push(format!("service {name}")),
            Some(problem) => self.refusals.push(format!("service {name}: {problem}")),
        }
    }
}

/// Why a window cannot be read from these views, if it cannot.
fn unreadable(window: &ViewSelector, views: &[ViewDefinition]) -> Option<String> {
    let ViewSelector { view, selector } = window;
    let Some(definition) = views.iter().find(|known| known.name == *view) else {
        return Some(format!("{window}: there is no view {view}"));
    };
    if definition.feature(&selector.feature).is_none() {
        return Some(format!("{window}: view {view} has no feature {}", selector.feature));
    }
    Selector::check(selector, definition.tile).err().map(|error| error.to_string())
}

fn replaced(name: &Name, known: &[ViewSelector], wanted: &[ViewSelector]) -> Vec<String> {
    let mut lines = vec![format!("~ service {name}")];
    let gone = known.iter().filter(|window| !wanted.contains(window));
    lines.extend(gone.map(|window| format!("    - {window}")));
    let new = wanted.iter().filter(|window| !known.contains(window));
    lines.extend(new.map(|window| format!("    + {window}")));
    if lines.len() == 1 {
        lines.push("    ~ the order of its windows".to_owned());
    }
    lines.push(
        "    it is dropped and created again: a read between the two is refused, and columns \
         move"
            .to_owned(),
    );
    lines
}

/// A new view, a line for each part that is not the default.
fn created(view: &ViewDefinition) -> Vec<String> {
    let mut lines = vec![format!("+ view {}", view.name), format!("    + tile {}", view.tile)];
    let defaults = ViewDefinition {
        retention: None,
        edge: Edge::Closed,
        seal: SealMode::Off,
        max_lag: None,
        late: LateMode::Add,
        min_rows: 0,
        ..view.clone()
    };
    let settings = settings(&defaults, view);
    lines.extend(settings.into_iter().map(|(name, _, new, _)| format!("    + {name} {new}")));
    if view.levels.is_some() {
        lines.push(format!("    + levels {}", levels(view)));
    }
    lines.push(format!("    + keys {}", joined(&view.keys)));
    lines.extend(
        view.columns
            .iter()
            .map(|column| format!("    + column {}:{}", column.name, column.kind.as_str())),
    );
    lines.extend(view.features.iter().map(|feature| shown_feature(feature, "")));
    lines
}

fn shown_feature(feature: &FeatureDefinition, note: &str) -> String {
    format!("    + feature {}={}{note}", feature.name, feature.expression)
}

/// Settings that differ: name, old and new value, and what follows from it.
fn settings(
    known: &ViewDefinition,
    wanted: &ViewDefinition,
) -> Vec<(&'static str, String, String, &'static str)> {
    let span = |span: Option<Span>| span.map_or_else(|| "none".to_owned(), |span| span.to_string());
    let longest = |span: Option<Span>| span.map_or(i64::MAX, Span::millis);
    let is_shorter = longest(wanted.retention) < longest(known.retention);
    let retention = if is_shorter {
        "older tiles are unreadable at once and reclaimed after a day"
    } else {
        "windows that reach behind the old horizon are incomplete until a job replaces that time"
    };
    let seal = match wanted.seal {
        SealMode::Required => "windows end at the newest seal from now on",
        SealMode::Off => "windows end by the clock from now on, sealed or not",
    };
    let all = [
        ("retention", span(known.retention), span(wanted.retention), retention),
        ("edge", edge(known.edge).to_owned(), edge(wanted.edge).to_owned(), ""),
        ("seal", seal_word(known.seal).to_owned(), seal_word(wanted.seal).to_owned(), seal),
        ("max lag", span(known.max_lag), span(wanted.max_lag), ""),
        ("late", late(known.late).to_owned(), late(wanted.late).to_owned(), ""),
        ("min rows", known.min_rows.to_string(), wanted.min_rows.to_string(), ""),
    ];
    all.into_iter().filter(|(_, old, new, _)| old != new).collect()
}

/// The change of a view whose stored tiles keep their meaning, and its lines.
fn difference(known: &ViewDefinition, wanted: &ViewDefinition) -> (ViewChange, Vec<String>) {
    let columns = wanted.columns.iter().filter(|column| known.column(&column.name).is_none());
    let features = wanted.features.iter().filter(|feature| known.feature(&feature.name).is_none());
    let change = ViewChange {
        add_columns: columns.cloned().collect(),
        add_features: features.cloned().collect(),
        retention: (known.retention != wanted.retention).then_some(wanted.retention),
        edge: (known.edge != wanted.edge).then_some(wanted.edge),
        seal: (known.seal != wanted.seal).then_some(wanted.seal),
        max_lag: (known.max_lag != wanted.max_lag).then_some(wanted.max_lag),
        late: (known.late != wanted.late).then_some(wanted.late),
        min_rows: (known.min_rows != wanted.min_rows).then_some(wanted.min_rows),
    };
    let mut lines = Vec::new();
    for (name, old, new, note) in settings(known, wanted) {
        let note = if note.is_empty() { String::new() } else { format!("  ({note})") };
        lines.push(format!("    ~ {name} {old} -> {new}{note}"));
    }
    for column in &change.add_columns {
        lines.push(format!("    + column {}:{}", column.name, column.kind.as_str()));
    }
    let note = "  (complete from the next tile on; replace older time by a job)";
    lines.extend(change.add_features.iter().map(|feature| shown_feature(feature, note)));
    (change, lines)
}

fn edge(edge: Edge) -> &'static str {
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

fn late(late: LateMode) -> &'static str {
    match late {
        LateMode::Add => "add",
        LateMode::Drop => "drop",
    }
}

fn joined(keys: &[Identifier]) -> String {
    keys.iter().map(Identifier::as_str).collect::<Vec<_>>().join(", ")
}

fn levels(view: &ViewDefinition) -> String {
    match &view.levels {
        None => "derived".to_owned(),
        Some(levels) => levels.iter().map(Span::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view_file::parse;

    const STORE: &str = r#"
        [[view]]
        name = "shop.likes"
        tile = "1h"
        retention = "90d"
        columns = ["amount:f64"]
        features = ["likes=count()", "spent=sum(amount)"]
        [[service]]
        name = "ranking"
        selectors = ["shop.likes.likes@7d", "shop.likes.spent@30d"]
    "#;

    fn plan(wanted: &str, undeclared: Undeclared) -> Plan {
        Plan::new(&parse(STORE).unwrap(), &parse(wanted).unwrap(), undeclared)
    }

    #[test]
    fn the_same_file_changes_nothing() {
        let plan = plan(STORE, Undeclared::Dropped);
        assert_eq!(plan, Plan::default());
        assert_eq!(plan.render(), "Nothing to change.");
    }

    #[test]
    fn an_empty_store_gets_everything() {
        let wanted = parse(STORE).unwrap();
        let plan = Plan::new(&Declared::default(), &wanted, Undeclared::Kept);
        let expected = "\
+ view shop.likes
    + tile 1h
    + retention 90d
    + keys entity
    + column amount:f64
    + feature likes=count()
    + feature spent=sum(amount)
+ service ranking
    + shop.likes.likes@7d
    + shop.likes.spent@30d
2 to create, 0 to change, 0 to drop.";
        assert_eq!(plan.render(), expected, "\n{}", plan.render());
    }

    #[test]
    fn a_change_is_shown_with_what_follows_from_it() {
        let wanted = STORE
            .replace("retention = \"90d\"", "retention = \"30d\"\n        seal = \"required\"")
            .replace("\"amount:f64\"", "\"amount:f64\", \"units:i64\"")
            .replace("\"likes=count()\"", "\"likes=count()\", \"units=sum(units)\"")
            .replace("\"shop.likes.spent@30d\"", "\"shop.likes.units@1d\"");
        let plan = plan(&wanted, Undeclared::Kept);
        let expected = "\
~ view shop.likes
    ~ retention 90d -> 30d  (older tiles are unreadable at once and reclaimed after a day)
    ~ seal off -> required  (windows end at the newest seal from now on)
    + column units:i64
    + feature units=sum(units)  (complete from the next tile on; replace older time by a job)
~ service ranking
    - shop.likes.spent@30d
    + shop.likes.units@1d
    it is dropped and created again: a read between the two is refused, and columns move
0 to create, 2 to change, 0 to drop.";
        assert_eq!(plan.render(), expected, "\n{}", plan.render());
        let Change::AlterView(_, change) = &plan.steps[0].change else { panic!("{plan:?}") };
        assert_eq!(change.add_features.len(), 1);
        assert_eq!((change.edge, change.seal), (None, Some(SealMode::Required)));
        let longer = STORE.replace("retention = \"90d\"\n", "");
        let shown = self::plan(&longer, Undeclared::Kept).render();
        assert!(shown.contains("~ retention 90d -> none  (windows that reach behind"), "{shown}");
    }

    #[test]
    fn what_would_change_the_meaning_of_tiles_is_refused() {
        for (from, to, expected) in [
            ("tile = \"1h\"", "tile = \"30m\"", "tile 1h -> 30m: stored tiles hold 1h each"),
            ("tile = \"1h\"", "tile = \"1h\"\nkeys = [\"user\"]", "keys entity -> user: stored"),
            ("tile = \"1h\"", "tile = \"1h\"\nlevels = [\"1d\"]", "levels derived -> 1d: they are"),
            (
                "amount:f64",
                "amount:i64",
                "column amount: f64 -> i64: stored tiles were made of f64",
            ),
            ("\"amount:f64\"", "\"amount:f64\"", ""),
            ("=sum(amount)", "=max(amount)", "feature spent: sum(amount) -> max(amount): stored"),
            ("likes=count()", "hearts=count()", "feature likes is missing: readers may"),
        ] {
            let plan = plan(&STORE.replace(from, to), Undeclared::Kept);
            let is_refused = plan.render().contains(&format!("! view shop.likes: {expected}"));
            assert_eq!(is_refused, !expected.is_empty(), "{to}: {}", plan.render());
            assert!(plan.steps.is_empty(), "{to}: {plan:?}");
        }
        let wanted = STORE.replace("columns = [\"amount:f64\"]", "columns = [\"price:f64\"]");
        let shown = plan(&wanted.replace("sum(amount)", "sum(price)"), Undeclared::Kept).render();
        assert!(shown.contains("! view shop.likes: column amount is missing"), "{shown}");
    }

    #[test]
    fn what_the_file_does_not_declare_stays_unless_it_is_to_be_dropped() {
        let other = "[[view]]\nname = \"v\"\ntile = \"1d\"\nfeatures = [\"n=count()\"]\n";
        let kept = plan(other, Undeclared::Kept);
        assert_eq!(kept.kept, ["view shop.likes", "service ranking"]);
        assert_eq!(kept.steps.len(), 1);
        let dropped = plan(other, Undeclared::Dropped);
        let shown = dropped.render();
        assert!(shown.ends_with("1 to create, 0 to change, 2 to drop."), "{shown}");
        let order: Vec<&str> = shown.lines().filter(|line| line.starts_with('-')).collect();
        assert_eq!(order, ["- service ranking", "- view shop.likes"], "views go last");
    }

    #[test]
    fn a_service_needs_the_views_that_there_will_be() {
        let service = |selector: &str| {
            format!("[[service]]\nname = \"other\"\nselectors = [\"{selector}\"]\n")
        };
        let kept = plan(&service("shop.likes.likes@2h"), Undeclared::Kept);
        assert!(kept.refusals.is_empty() && kept.steps.len() == 1, "{kept:?}");
        for (selector, undeclared, expected) in [
            ("shop.likes.likes@90m", Undeclared::Kept, "not a multiple of the tile size 1h"),
            ("shop.likes.hearts@2h", Undeclared::Kept, "view shop.likes has no feature hearts"),
            ("shops.likes@2h", Undeclared::Kept, "there is no view shops"),
            ("shop.likes.likes@2h", Undeclared::Dropped, "there is no view shop.likes"),
        ] {
            let refused = plan(&service(selector), undeclared);
            assert!(refused.refusals[0].contains(expected), "{:?}", refused.refusals);
        }
    }
}

//! Compares what a store answers with what the model holds. It knows nothing of how either came
//! about.

use crate::simulation::aggregate::aggregate;
use crate::simulation::dice::Dice;
use crate::simulation::judge::{number, takes_entity};
use crate::simulation::model::{Entry, Model, ModelView};
use crate::simulation::partials;
use crate::simulation::totals::Totals;
use crate::simulation::windows::{Fault, Moment, Window, pieces, place};
use bytes::Bytes;
use tilekv_engine::{
    EngineError, PinnedPages, Plan, ReadOutcome, ReadRequest, ReadTime, Reader, Version,
};
use tilekv_tile::{Answers, Name, Selector, Status, WindowLength};

/// A store's readers and the model that it should agree with.
#[derive(Debug)]
pub struct Check<'a> {
    /// What answers.
    pub reader: &'a Reader,
    /// The state that is read.
    pub version: &'a Version,
    /// What should be answered.
    pub model: &'a Model,
    /// The clock.
    pub now: i64,
    /// Whether pages on the disk may be damaged: then a read may be refused, and never be wrong.
    pub is_damaged: bool,
}

/// A window read.
#[derive(Debug, Clone)]
pub struct Question {
    /// Views and selectors.
    pub request: ReadRequest,
    /// The time or times asked for.
    pub time: ReadTime,
    /// The entities.
    pub entities: Vec<Bytes>,
}

/// What differed, as a sentence.
pub type Difference = String;

impl Check<'_> {
    /// Asks a question, with a plan made for it earlier or with a new one, and compares every
    /// answer.
    ///
    /// # Errors
    /// The first difference.
    pub fn question(
        &self,
        question: &Question,
        plan: Option<&Plan>,
        totals: &mut Totals,
    ) -> Result<(), Difference> {
        let entities: Vec<&[u8]> = question.entities.iter().map(|entity| &entity[..]).collect();
        let made;
        let planned = match plan {
            Some(plan) => Ok(plan),
            None => {
                made = self.reader.plan(self.version, &question.request);
                made.as_ref()
            }
        };
        let refusal = self.refusal(question);
        let answers = match planned {
            Ok(plan) => {
                let ask = |pinned| {
                    let time = &question.time;
                    self.reader.try_read(self.version, plan, self.now, time, &entities, pinned)
                };
                patiently(ask, totals).map_err(|error| error.code())
            }
            Err(error) => Err(error.code()),
        };
        match (refusal, answers) {
            (_, Err(DAMAGED)) if self.is_damaged => Ok(()),
            (Some(expected), Err(found)) if expected == found => {
                totals.add("reads refused");
                Ok(())
            }
            (None, Ok(answers)) => self.answers(question, &answers, totals),
            (expected, found) => Err(format!(
                "{question:?} should be refused with {expected:?}, found {:?}",
                found.map(|_| "an answer")
            )),
        }
    }

    /// Compares views, seals, figures, every tile and every producer.
    ///
    /// # Errors
    /// The first difference.
    pub fn everything(&self, entities: &[Bytes], totals: &mut Totals) -> Result<(), Difference> {
        let names: Vec<Name> = self.model.views.keys().cloned().collect();
        same("the views", &self.reader.view_names(self.version), &names)?;
        for (name, view) in &self.model.views {
            self.view(name, view, totals)?;
            let known: Vec<&Bytes> = view.entities.keys().collect();
            let others = entities.iter().filter(|entity| takes_entity(view, entity));
            for entity in
                known.into_iter().chain(others.filter(|e| !view.entities.contains_key(*e)))
            {
                self.range(name, view, entity, (-FAR, FAR), totals)?;
            }
        }
        for (view, id) in self.model.producers.keys() {
            self.producer(view, id, totals)?;
        }
        Ok(())
    }

    /// Compares a producer's last sequence.
    ///
    /// # Errors
    /// The difference.
    pub fn producer(&self, view: &Name, id: &Bytes, totals: &mut Totals) -> Result<(), Difference> {
        let found = self.reader.producer(self.version, view, id, self.now);
        let expected = self.model.last_sequence(view, id, self.now);
        totals.add("producers looked up");
        match (self.model.views.contains_key(view), found) {
            (true, Ok(found)) => same(&format!("producer {id:?} of {view}"), &found, &expected),
            (false, Err(EngineError::NoView(_))) => Ok(()),
            (_, found) => Err(format!("producer {id:?} of {view}: found {found:?}")),
        }
    }

    /// Compares a view's definition, seals and figures.
    ///
    /// # Errors
    /// The difference.
    pub fn view(
        &self,
        name: &Name,
        view: &ModelView,
        totals: &mut Totals,
    ) -> Result<(), Difference> {
        let ask = |_| {
            let info = self.reader.view_info(self.version, name, self.now);
            info.map(ReadOutcome::Ready)
        };
        let info = patiently(ask, totals);
        if self.is_damaged && matches!(&info, Err(error) if error.code() == DAMAGED) {
            return Ok(());
        }
        let info = info.map_err(|error| format!("the figures of {name}: {error}"))?;
        let horizon = view.horizon(self.now).unwrap_or(i64::MIN);
        let readable = |entity: &Bytes| view.entities[entity].range(horizon..).count();
        let tiles: Vec<usize> = view.entities.keys().map(readable).collect();
        let entities = tiles.iter().filter(|count| 0 < **count).count();
        let seals = pieces(&view.seals);
        same(&format!("the definition of {name}"), &info.definition, &view.definition)?;
        same(&format!("the seals of {name}"), &info.seals, &seals)?;
        same(
            &format!("entities, tiles, late and old rows of {name}"),
            &(info.entities, info.tiles, info.late_dropped, info.too_old),
            &(number(entities), number(tiles.iter().sum()), view.late_dropped, view.too_old),
        )?;
        same(&format!("the newest event of {name}"), &info.newest_event, &view.newest_event)?;
        let lag = seals.last().map(|(_, to, _)| self.now - to);
        same(&format!("the seal lag of {name}"), &info.seal_lag, &lag)?;
        totals.add_many("values compared", 8);
        Ok(())
    }

    /// Compares the tiles of an entity between two times, partial by partial.
    ///
    /// # Errors
    /// The first difference.
    pub fn range(
        &self,
        name: &Name,
        view: &ModelView,
        entity: &Bytes,
        (from, to): (i64, i64),
        totals: &mut Totals,
    ) -> Result<(), Difference> {
        let ask = |pinned| {
            let range = (&entity[..], from..to);
            self.reader.try_range(self.version, name, range, None, self.now, pinned)
        };
        let found = match patiently(ask, totals) {
            Err(error) if self.is_damaged && error.code() == DAMAGED => return Ok(()),
            Ok(found) if takes_entity(view, entity) => found,
            Err(error) if !takes_entity(view, entity) && error.code() == "BADVALUE" => {
                return Ok(());
            }
            found => return Err(format!("tiles of {entity:?} in {name}: found {found:?}")),
        };
        let horizon = view.horizon(self.now).unwrap_or(i64::MIN);
        let tiles = view.entities.get(entity).into_iter().flatten();
        let tiles: Vec<(&i64, &Vec<Entry>)> =
            tiles.filter(|(start, _)| from.max(horizon) <= **start && **start < to).collect();
        let starts: Vec<i64> = tiles.iter().map(|(start, _)| **start).collect();
        let found_starts: Vec<i64> = found.iter().map(|(start, _)| *start).collect();
        same(&format!("tile starts of {entity:?} in {name}"), &found_starts, &starts)?;
        for ((start, entries), (_, partials)) in tiles.into_iter().zip(&found) {
            let entries: Vec<&Entry> = entries.iter().collect();
            same("partials of a tile", &partials.len(), &view.definition.features.len())?;
            for (feature, partial) in partials.iter().enumerate() {
                let (function, column, kind) = view.feature(feature);
                totals.add("partials compared");
                if !partials::admits(function, column, kind, &entries, partial) {
                    return Err(format!(
                        "tile {start} of {entity:?} in {name}: {} is {partial}, not that of {}",
                        view.definition.features[feature].expression,
                        shown(&entries)
                    ));
                }
            }
        }
        Ok(())
    }

    /// The code with which a question should be refused.
    fn refusal(&self, question: &Question) -> Option<&'static str> {
        let mut entity_refusal = None;
        for (name, selectors) in &question.request.groups {
            let Some(view) = self.model.views.get(name) else {
                return Some("NOVIEW");
            };
            for selector in selectors {
                if view.feature_at(&selector.feature).is_none() {
                    return Some("NOFEATURE");
                }
                if !is_aligned(view, selector) {
                    return Some("BADWINDOW");
                }
            }
            if !question.entities.iter().all(|entity| takes_entity(view, entity)) {
                entity_refusal = Some("BADVALUE");
            }
        }
        entity_refusal
    }

    fn answers(
        &self,
        question: &Question,
        answers: &Answers,
        totals: &mut Totals,
    ) -> Result<(), Difference> {
        same("rows", &answers.rows, &question.entities.len())?;
        let selectors =
            question.request.groups.iter().flat_map(|(name, selectors)| {
                selectors.iter().map(move |selector| (name, selector))
            });
        let mut columns = answers.columns.iter();
        for (name, selector) in selectors {
            let Some(column) = columns.next() else {
                return Err(format!("no column for {selector} of {name}"));
            };
            for (row, entity) in question.entities.iter().enumerate() {
                let asked = Asked { question, name, selector, entity, row };
                let found = Answer {
                    value: column.values.get(row),
                    status: column.statuses[row],
                    bounds: column.bounds_of(row),
                    tiles_read: column.tiles_read[row],
                };
                self.answer(&asked, &found, totals)?;
            }
        }
        if columns.next().is_some() { Err("too many columns".to_owned()) } else { Ok(()) }
    }

    fn answer(
        &self,
        asked: &Asked<'_>,
        found: &Answer,
        totals: &mut Totals,
    ) -> Result<(), Difference> {
        let view = &self.model.views[asked.name];
        let request = &asked.question.request;
        let Some(feature) = view.feature_at(&asked.selector.feature) else {
            return Err("an answer for an unknown feature".to_owned());
        };
        let at = match &asked.question.time {
            ReadTime::Now => None,
            ReadTime::At(at) => Some(*at),
            ReadTime::Each(times) => Some(times[asked.row]),
        };
        let moment = Moment { at, now: self.now, known: request.known };
        let edge = request.edge.unwrap_or(view.definition.edge);
        let window = place(view, feature, asked.selector, edge, moment);
        let entries = entries_of(view, asked.entity, window, self.now);
        let status = status(view, asked.entity, window, self.now, entries.is_some());
        let is_read = entries.is_some();
        let entries = entries.unwrap_or_default();
        let (function, column, kind) = view.feature(feature);
        let expected = aggregate(function, column, kind, &entries);
        totals.add("values compared");
        totals.add(STATUS_NAMES[status_place(status)]);
        let bounds = (found.bounds.start, found.bounds.end);
        if status == found.status
            && bounds == (window.start, window.end)
            && expected.admits(&found.value)
            && is_read == (0 < found.tiles_read)
        {
            return Ok(());
        }
        let whole = self.range(asked.name, view, asked.entity, (-FAR, FAR), totals);
        Err(format!(
            "{} = {} of {:?} in {} (tile {}, edge {edge:?}, {moment:?}): found {found:?}, \
             expected {expected:?}, {status}, {window:?}; seals {:?} {:?}, gaps of the \
             feature {:?}, horizon {:?}, all \
             tiles {whole:?}; over {}",
            asked.selector,
            view.definition.features[feature].expression,
            asked.entity,
            asked.name,
            view.definition.tile,
            view.definition.seal,
            pieces(&view.seals),
            view.gaps[feature],
            view.horizon(self.now),
            shown(&entries)
        ))
    }
}

/// Asks until there is an answer, loading what is needed in between. A disk that fails once is
/// asked again.
pub fn patiently<T>(
    mut ask: impl FnMut(PinnedPages) -> Result<ReadOutcome<T>, EngineError>,
    totals: &mut Totals,
) -> Result<T, EngineError> {
    let mut pinned = PinnedPages::default();
    let mut refusals = 0;
    loop {
        let outcome = ask(pinned).and_then(|outcome| match outcome {
            ReadOutcome::Ready(answer) => Ok(Ok(answer)),
            ReadOutcome::Needs(request) => {
                totals.add("reads that needed pages");
                totals.add_many("pages needed", number(request.page_count()));
                request.load().map(Err)
            }
        });
        match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(loaded)) => pinned = loaded,
            Err(error) if error.code() != DAMAGED || REFUSALS_MAX <= refusals => {
                return Err(error);
            }
            Err(_) => {
                totals.add("pages that could not be read");
                refusals += 1;
                pinned = PinnedPages::default();
            }
        }
    }
}

/// Random tiles to look at: most of a view's, or few.
pub fn some_range(dice: &mut Dice, view: &ModelView, around: i64) -> (i64, i64) {
    if dice.one_in(3) {
        return (-FAR, FAR);
    }
    let from = around - view.span() * dice.within(0, 20);
    (from, from + view.span() * dice.within(0, 40))
}

struct Asked<'a> {
    question: &'a Question,
    name: &'a Name,
    selector: &'a Selector,
    entity: &'a Bytes,
    row: usize,
}

#[derive(Debug)]
struct Answer {
    value: tilekv_tile::Value,
    status: Status,
    bounds: tilekv_tile::WindowBounds,
    tiles_read: u32,
}

fn is_aligned(view: &ModelView, selector: &Selector) -> bool {
    let is_whole = |millis: i64| millis % view.span() == 0;
    let window = match selector.window {
        WindowLength::Span(window) => window.millis(),
        WindowLength::Lifetime => 0,
    };
    is_whole(window) && is_whole(selector.offset.millis())
}

/// The rows in the readable tiles of a window; none where there is no such tile.
fn entries_of<'a>(
    view: &'a ModelView,
    entity: &Bytes,
    window: Window,
    now: i64,
) -> Option<Vec<&'a Entry>> {
    let from = window.start.unwrap_or(i64::MIN).max(view.horizon(now).unwrap_or(i64::MIN));
    let tiles = view.entities.get(entity)?;
    let mut tiles = tiles.range(from..window.end.max(from)).peekable();
    tiles.peek()?;
    Some(tiles.flat_map(|(_, entries)| entries).collect())
}

fn status(view: &ModelView, entity: &Bytes, window: Window, now: i64, is_read: bool) -> Status {
    match window.fault {
        Some(Fault::Expired) => return Status::Expired,
        Some(Fault::Incomplete) => return Status::Incomplete,
        Some(Fault::Stale) => return Status::Stale,
        None if is_read => return Status::Ok,
        None => {}
    }
    let horizon = view.horizon(now).unwrap_or(i64::MIN);
    let tiles = view.entities.get(entity).into_iter().flatten();
    let mut seen = tiles.filter(|(start, _)| horizon <= **start && **start <= window.floor);
    if seen.next().is_some() { Status::Empty } else { Status::Unseen }
}

fn status_place(status: Status) -> usize {
    Status::ALL.iter().position(|known| *known == status).unwrap_or(0)
}

fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &T,
    expected: &T,
) -> Result<(), Difference> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}"))
}

fn shown(entries: &[&Entry]) -> String {
    let rows = entries.iter().take(SHOWN_MAX).map(|entry| format!("{entry:?}"));
    format!("{} rows: {}", entries.len(), rows.collect::<Vec<_>>().join(", "))
}

/// The counts of answers by status, in the order of [`Status::ALL`].
pub const STATUS_NAMES: [&str; 6] = [
    "values expired",
    "values incomplete",
    "values stale",
    "values unseen",
    "values empty",
    "values ok",
];

/// Beyond every tile.
const FAR: i64 = 1 << 55;
const SHOWN_MAX: usize = 12;
/// The code of a page that cannot be read back.
const DAMAGED: &str = "DAMAGED";
/// A disk fails at one operation of a kind at a time.
const REFUSALS_MAX: usize = 2;

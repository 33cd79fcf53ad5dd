//! Owns the catalog: which views exist, under which ids and component layouts, how far each
//! feature is complete, and what is sealed. Values only; the log and the manifest carry them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use hashbrown::HashMap;
use tilekv_tile::{
    ColumnType, Component, ComponentId, Coverage, FeatureBinding, Identifier, Layout, Name, Rows,
    SealSet, ViewDefinition, components_of,
};

use crate::error::EngineError;
use crate::ranges::{TimeRange, add_range, remove_range};
use crate::service::Service;
use crate::write::Partials;

/// The identity of a view for the life of a store: assigned through the log, never reused
/// ([RECORD-3]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewId(pub(crate) u32);

/// Which of a view's layouts a tile was written under: 0 is the one the view was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LayoutId(pub(crate) u16);

/// A feature as the engine serves it.
#[derive(Debug, Clone)]
pub(crate) struct Feature {
    /// Its name, function and resolved input column.
    pub(crate) binding: FeatureBinding,
    /// Half-open ranges of time for which the feature has no complete data, ascending
    /// ([MANIFEST-5]).
    pub(crate) incomplete: Vec<TimeRange>,
}

/// The time for which a change of a view leaves features without complete data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AlterGaps {
    /// For features that the change adds: what was written before they existed.
    pub(crate) new_features: Option<TimeRange>,
    /// For all features: what a shorter retention may have reclaimed.
    pub(crate) all_features: Option<TimeRange>,
}

/// Running figures of a view; shared by every catalog that holds the view.
#[derive(Debug)]
pub(crate) struct ViewCounters {
    newest_event: AtomicI64,
    oldest_tile: AtomicI64,
    late_dropped: AtomicU64,
    too_old: AtomicU64,
}

impl ViewCounters {
    pub(crate) fn new(
        newest_event: Option<i64>,
        oldest_tile: Option<i64>,
        late_dropped: u64,
        too_old: u64,
    ) -> Self {
        Self {
            newest_event: AtomicI64::new(newest_event.unwrap_or(i64::MIN)),
            oldest_tile: AtomicI64::new(oldest_tile.unwrap_or(i64::MAX)),
            late_dropped: AtomicU64::new(late_dropped),
            too_old: AtomicU64::new(too_old),
        }
    }

    /// The greatest timestamp written, in milliseconds, or none before the first write.
    pub(crate) fn newest_event(&self) -> Option<i64> {
        Some(self.newest_event.load(Ordering::Relaxed)).filter(|&newest| newest != i64::MIN)
    }

    /// Rows that were acknowledged and not applied because their range was sealed.
    pub(crate) fn late_dropped(&self) -> u64 {
        self.late_dropped.load(Ordering::Relaxed)
    }

    /// Rows that were skipped because they lay before the retention horizon.
    pub(crate) fn too_old(&self) -> u64 {
        self.too_old.load(Ordering::Relaxed)
    }

    /// The least tile start ever written, in milliseconds, or none before the first write.
    pub(crate) fn oldest_tile(&self) -> Option<i64> {
        Some(self.oldest_tile.load(Ordering::Relaxed)).filter(|&oldest| oldest != i64::MAX)
    }

    /// Notes a write to tiles from `oldest_start` on, with timestamps up to `newest`.
    pub(crate) fn saw_write(&self, oldest_start: i64, newest: i64) {
        self.oldest_tile.fetch_min(oldest_start, Ordering::Relaxed);
        self.newest_event.fetch_max(newest, Ordering::Relaxed);
    }

    pub(crate) fn skipped(&self, too_old: u64, late_dropped: u64) {
        self.too_old.fetch_add(too_old, Ordering::Relaxed);
        self.late_dropped.fetch_add(late_dropped, Ordering::Relaxed);
    }
}

/// One feature view.
#[derive(Debug, Clone)]
pub struct View {
    pub(crate) id: ViewId,
    /// Grows with every change of the definition, so that a plan knows when it is out of date.
    pub(crate) revision: u64,
    pub(crate) definition: ViewDefinition,
    /// The types of the definition's columns.
    pub(crate) kinds: Vec<ColumnType>,
    /// Every layout the view has had. Components are only ever appended, so that layout k is a
    /// prefix of layout k + 1 ([MANIFEST-4]).
    pub(crate) layouts: Vec<Arc<Layout>>,
    pub(crate) features: Vec<Feature>,
    /// The lengths of the coarser tiles that segments keep above the view's own, ascending, in
    /// milliseconds.
    pub(crate) levels: Arc<[i64]>,
    pub(crate) seals: Arc<SealSet>,
    /// What the seals cover now.
    pub(crate) coverage: Arc<Coverage>,
    pub(crate) counters: Arc<ViewCounters>,
}

impl View {
    /// A view as `definition` says, empty.
    pub(crate) fn create(id: ViewId, definition: ViewDefinition) -> Result<Self, EngineError> {
        let levels = levels_of(&definition);
        let mut view = Self {
            id,
            revision: 0,
            definition,
            kinds: Vec::new(),
            layouts: Vec::new(),
            features: Vec::new(),
            levels,
            seals: Arc::new(SealSet::default()),
            coverage: Arc::new(Coverage::default()),
            counters: Arc::new(ViewCounters::new(None, None, 0, 0)),
        };
        view.extend_features(None)?;
        Ok(view)
    }

    /// Takes over `definition`. `gaps` is the time for which features lack data from now on.
    pub(crate) fn alter(
        &mut self,
        definition: ViewDefinition,
        gaps: AlterGaps,
    ) -> Result<(), EngineError> {
        self.definition = definition;
        self.revision += 1;
        self.extend_features(gaps.new_features)?;
        if let Some((from, to)) = gaps.all_features {
            for feature in &mut self.features {
                add_range(&mut feature.incomplete, from, to);
            }
        }
        Ok(())
    }

    /// The definition as it was created and altered.
    #[must_use]
    pub fn definition(&self) -> &ViewDefinition {
        &self.definition
    }

    /// The tile size in milliseconds.
    pub(crate) fn span(&self) -> i64 {
        self.definition.tile.millis()
    }

    /// The layout that writes use now.
    pub(crate) fn layout(&self) -> &Arc<Layout> {
        let Some(layout) = self.layouts.last() else {
            unreachable!("a view has a layout from its creation");
        };
        layout
    }

    /// The id of [`View::layout`].
    pub(crate) fn layout_id(&self) -> LayoutId {
        let Ok(id) = u16::try_from(self.layouts.len() - 1) else {
            unreachable!("limits bound the layouts of a view");
        };
        LayoutId(id)
    }

    /// The position of the feature `name`, or an error that names the view's features.
    pub(crate) fn feature_index(&self, name: &Identifier) -> Result<usize, EngineError> {
        self.features.iter().position(|feature| feature.binding.name == *name).ok_or_else(|| {
            EngineError::NoFeature {
                view: self.definition.name.clone(),
                feature: name.to_string(),
                known: self.features.iter().map(|known| known.binding.name.to_string()).collect(),
            }
        })
    }

    /// Partials by the positions of their features.
    pub(crate) fn given_partials<'a>(
        &self,
        partials: &'a Partials,
    ) -> Result<Vec<(usize, &'a [u8])>, EngineError> {
        let resolve = |(feature, partial): &'a (Identifier, bytes::Bytes)| {
            Ok((self.feature_index(feature)?, &partial[..]))
        };
        partials.iter().map(resolve).collect()
    }

    /// The features, resolved.
    pub(crate) fn bindings(&self) -> Vec<FeatureBinding> {
        self.features.iter().map(|feature| feature.binding.clone()).collect()
    }

    /// The index and type of the input column `name`.
    pub(crate) fn column(&self, name: &Identifier) -> Result<(u16, ColumnType), EngineError> {
        let columns = &self.definition.columns;
        columns
            .iter()
            .position(|column| column.name == *name)
            .and_then(|index| Some((u16::try_from(index).ok()?, columns[index].kind)))
            .ok_or_else(|| EngineError::NoColumn {
                view: self.definition.name.clone(),
                column: name.to_string(),
                known: columns.iter().map(|known| known.name.to_string()).collect(),
            })
    }

    /// The index and type of each column that `rows` name.
    pub(crate) fn columns_of(&self, rows: &Rows) -> Result<Vec<(u16, ColumnType)>, EngineError> {
        rows.columns.iter().map(|column| self.column(column)).collect()
    }

    /// The first readable instant at `now`: tiles that start before it have expired.
    pub(crate) fn horizon(&self, now: i64) -> Option<i64> {
        let retention = self.definition.retention?;
        Some(tilekv_tile::horizon(now, retention, self.definition.tile))
    }

    /// Seals `[from, to)` at `at`.
    pub(crate) fn add_seal(&mut self, from: i64, to: i64, at: i64) {
        let mut seals = SealSet::clone(&self.seals);
        seals.add(from, to, at);
        self.set_seals(seals);
    }

    /// Withdraws the seals of `[from, to)` at `at`.
    pub(crate) fn remove_seal(&mut self, from: i64, to: i64, at: i64) {
        let mut seals = SealSet::clone(&self.seals);
        seals.remove(from, to, at);
        self.set_seals(seals);
    }

    /// Says that `[from, to)` is complete for the first `features` of the view's features: a job
    /// has replaced it.
    pub(crate) fn complete(&mut self, features: usize, from: i64, to: i64) {
        for feature in self.features.iter_mut().take(features) {
            remove_range(&mut feature.incomplete, from, to);
        }
    }

    /// Replaces the seals and what follows from them.
    pub(crate) fn set_seals(&mut self, seals: SealSet) {
        self.coverage = Arc::new(seals.coverage());
        self.seals = Arc::new(seals);
    }

    fn extend_features(&mut self, gap: Option<TimeRange>) -> Result<(), EngineError> {
        self.kinds = self.definition.columns.iter().map(|column| column.kind).collect();
        let mut components: Vec<(ComponentId, Component)> =
            self.layouts.last().map(|layout| layout.components().to_vec()).unwrap_or_default();
        let known = components.len();
        for index in self.features.len()..self.definition.features.len() {
            let feature = self.bind(index, gap)?;
            for component in components_of(feature.binding.function, feature.binding.column)? {
                append_component(&mut components, component)?;
            }
            self.features.push(feature);
        }
        if self.layouts.is_empty() || known < components.len() {
            self.layouts.push(Arc::new(Layout::new(components)));
        }
        Ok(())
    }

    fn bind(&self, index: usize, gap: Option<TimeRange>) -> Result<Feature, EngineError> {
        let feature = &self.definition.features[index];
        let column = match &feature.expression.column {
            Some(name) => Some(self.column(name)?),
            None => None,
        };
        Ok(Feature {
            binding: FeatureBinding {
                function: feature.expression.function,
                column,
                name: feature.name.clone(),
            },
            incomplete: gap.into_iter().collect(),
        })
    }
}

/// The levels that a view declares, or those that suit its tile: of a second, a minute, an hour
/// and a day those that are at least four of its tiles and a whole number of them.
fn levels_of(definition: &ViewDefinition) -> Arc<[i64]> {
    let tile = definition.tile.millis();
    match &definition.levels {
        Some(declared) => declared.iter().map(|level| level.millis()).collect(),
        None => DERIVED_LEVELS_MS
            .into_iter()
            .filter(|level| level % tile == 0 && 4 <= level / tile)
            .collect(),
    }
}

const DERIVED_LEVELS_MS: [i64; 4] = [1_000, 60_000, 3_600_000, 86_400_000];

fn append_component(
    components: &mut Vec<(ComponentId, Component)>,
    component: Component,
) -> Result<(), EngineError> {
    if components.iter().any(|(_, known)| *known == component) {
        return Ok(());
    }
    let id = u16::try_from(components.len())
        .map_err(|_| EngineError::Limit("a view holds at most 65,535 partials".to_owned()))?;
    components.push((ComponentId::new(id), component));
    Ok(())
}

/// Every view and service of a store. Cheap to clone: they are shared.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    views: HashMap<ViewId, Arc<View>>,
    names: BTreeMap<Name, ViewId>,
    next_view_id: u32,
    services: BTreeMap<Name, Arc<Service>>,
}

impl Catalog {
    /// A catalog from stored parts.
    pub(crate) fn from_parts(next_view_id: u32, views: Vec<View>, services: Vec<Service>) -> Self {
        let mut catalog = Self { next_view_id, ..Self::default() };
        for view in views {
            catalog.insert(view);
        }
        for service in services {
            catalog.insert_service(service);
        }
        catalog
    }

    /// The id that the next view gets.
    pub(crate) fn next_view_id(&self) -> ViewId {
        ViewId(self.next_view_id)
    }

    /// The view with this id, unless it was dropped.
    pub(crate) fn view(&self, id: ViewId) -> Option<&Arc<View>> {
        self.views.get(&id)
    }

    /// The view with this name.
    pub(crate) fn named(&self, name: &Name) -> Result<&Arc<View>, EngineError> {
        self.names
            .get(name)
            .and_then(|id| self.views.get(id))
            .ok_or_else(|| EngineError::NoView(name.to_string()))
    }

    /// Whether a view has this name.
    pub(crate) fn contains(&self, name: &Name) -> bool {
        self.names.contains_key(name)
    }

    /// Every view, by name.
    pub(crate) fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.names.values().filter_map(|id| self.views.get(id))
    }

    /// How many views there are.
    pub(crate) fn len(&self) -> usize {
        self.views.len()
    }

    /// Puts `view` in, or in place of the view with its id.
    pub(crate) fn insert(&mut self, view: View) {
        self.next_view_id = self.next_view_id.max(view.id.0 + 1);
        self.names.insert(view.definition.name.clone(), view.id);
        self.views.insert(view.id, Arc::new(view));
    }

    /// Takes the view out. Its id is never used again.
    pub(crate) fn remove(&mut self, id: ViewId) {
        if let Some(view) = self.views.remove(&id) {
            self.names.remove(&view.definition.name);
        }
    }

    /// The service with this name.
    pub(crate) fn service(&self, name: &Name) -> Result<&Arc<Service>, EngineError> {
        self.services.get(name).ok_or_else(|| EngineError::NoService(name.to_string()))
    }

    /// Every service, by name.
    pub(crate) fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// Puts `service` in.
    pub(crate) fn insert_service(&mut self, service: Service) {
        self.services.insert(service.name.clone(), Arc::new(service));
    }

    /// Takes the service out.
    pub(crate) fn remove_service(&mut self, name: &Name) {
        self.services.remove(name);
    }

    /// Changes the view in place; readers of older catalogs keep what they have.
    pub(crate) fn update(&mut self, id: ViewId, change: impl FnOnce(&mut View)) {
        if let Some(view) = self.views.get_mut(&id) {
            change(Arc::make_mut(view));
        }
    }
}

//! Owns plans: a read request resolved against the catalog, so that a row costs no lookup of a
//! name. Knows nothing of overlays, segments or clocks.

use std::sync::Arc;

use parking_lot::Mutex;
use tilekv_tile::{
    ColumnType, ComponentId, Edge, FeatureBinding, Finisher, Function, Identifier, Layout,
    ListKind, Name, Selector, components_of,
};

use crate::catalog::{Catalog, Feature, View, ViewId};
use crate::error::EngineError;
use crate::frame::Frame;
use crate::limits::{GROUP_COUNT_MAX, SELECTOR_COUNT_MAX};
use crate::rollup::Workspace;

/// What to read: groups of (view, selectors) over shared keys.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// The views, and the selectors to answer from each.
    pub groups: Vec<(Name, Vec<Selector>)>,
    /// The right edge; a view's own where none is given.
    pub edge: Option<Edge>,
    /// Whether only seals count that had been made by the time asked for.
    pub known: bool,
}

/// One selector of a plan.
#[derive(Debug)]
pub(crate) struct PlannedSelector {
    pub(crate) selector: Selector,
    /// The feature's position in the view.
    pub(crate) feature: usize,
    pub(crate) finisher: Finisher,
    pub(crate) form: ColumnForm,
}

/// The form of an answer column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnForm {
    Ints,
    Doubles,
    Lists(ListKind),
    Any,
}

/// What a read works with and leaves for the next one of the same plan.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The view and the clock that `frame` was made for.
    pub(crate) view: Arc<View>,
    pub(crate) now_ms: i64,
    pub(crate) frame: Frame,
    pub(crate) workspace: Workspace,
}

/// The part of a plan that reads one view.
#[derive(Debug)]
pub(crate) struct ViewPlan {
    pub(crate) id: ViewId,
    revision: u64,
    pub(crate) edge: Edge,
    /// The components that the selectors need, and no others.
    pub(crate) projection: Layout,
    pub(crate) selectors: Vec<PlannedSelector>,
    /// Guards what the last read left; a read takes it away while it runs.
    bench: Mutex<Option<Box<Bench>>>,
}

/// A read request, resolved. It stays valid until one of its views is altered or dropped.
#[derive(Debug)]
pub struct Plan {
    pub(crate) groups: Vec<ViewPlan>,
    pub(crate) known: bool,
    columns: usize,
}

impl Plan {
    /// Resolves `request`.
    pub(crate) fn new(catalog: &Catalog, request: &ReadRequest) -> Result<Self, EngineError> {
        let columns = request.groups.iter().map(|(_, selectors)| selectors.len()).sum();
        if GROUP_COUNT_MAX < request.groups.len() || SELECTOR_COUNT_MAX < columns {
            return Err(EngineError::Limit(format!(
                "a read takes at most {GROUP_COUNT_MAX} groups and {SELECTOR_COUNT_MAX} selectors"
            )));
        }
        let groups = request
            .groups
            .iter()
            .map(|(name, selectors)| plan_view(catalog.named(name)?, selectors, request.edge))
            .collect::<Result<Vec<ViewPlan>, EngineError>>()?;
        Ok(Self { groups, known: request.known, columns })
    }

    /// How many columns an answer has: one per selector.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn is_current(&self, catalog: &Catalog) -> bool {
        self.groups
            .iter()
            .all(|group| catalog.view(group.id).is_some_and(|view| view.revision == group.revision))
    }
}

impl ViewPlan {
    /// What to work with for a read at the clock's time: nobody else has it meanwhile.
    pub(crate) fn take_bench(&self, view: &Arc<View>, now_ms: i64) -> Box<Bench> {
        let left = self.bench.lock().take();
        let workspace = match left {
            Some(bench) if bench.now_ms == now_ms && Arc::ptr_eq(&bench.view, view) => {
                return bench;
            }
            Some(bench) => bench.workspace,
            None => Workspace::default(),
        };
        let frame = Frame::at_now(view, self, now_ms);
        Box::new(Bench { view: Arc::clone(view), now_ms, frame, workspace })
    }

    /// Leaves it for the next read.
    pub(crate) fn leave_bench(&self, bench: Box<Bench>) {
        *self.bench.lock() = Some(bench);
    }
}

fn plan_view(
    view: &Arc<View>,
    selectors: &[Selector],
    edge: Option<Edge>,
) -> Result<ViewPlan, EngineError> {
    let mut features = Vec::with_capacity(selectors.len());
    let mut needed: Vec<ComponentId> = Vec::new();
    for selector in selectors {
        let index = view.feature_index(&selector.feature)?;
        selector.check(view.definition.tile)?;
        needed.extend(needed_components(view, &view.features[index])?);
        features.push(index);
    }
    needed.sort_unstable();
    needed.dedup();
    let projection = view.layout().project(&needed);
    let selectors = selectors
        .iter()
        .zip(features)
        .map(|(selector, feature)| plan_selector(view, &projection, selector, feature))
        .collect();
    Ok(ViewPlan {
        id: view.id,
        revision: view.revision,
        edge: edge.unwrap_or(view.definition.edge),
        projection,
        selectors,
        bench: Mutex::new(None),
    })
}

fn plan_selector(
    view: &View,
    projection: &Layout,
    selector: &Selector,
    feature: usize,
) -> PlannedSelector {
    let binding = &view.features[feature].binding;
    let column = binding.column.map(|(index, _)| index);
    let form = column_form(binding);
    let Some(finisher) = Finisher::new(projection, binding.function, column) else {
        unreachable!("the projection holds what the selected features need");
    };
    PlannedSelector { selector: selector.clone(), feature, finisher, form }
}

/// The form of what the feature's function answers with.
fn column_form(binding: &FeatureBinding) -> ColumnForm {
    let kind = binding.column.map(|(_, kind)| kind);
    match (binding.function, kind) {
        (Function::CountRows | Function::Count | Function::ApproxCountDistinct(_), _) => {
            ColumnForm::Ints
        }
        (Function::FirstN(_) | Function::LastN(_), Some(items))
        | (Function::FirstDistinctN(_) | Function::LastDistinctN(_), Some(items)) => {
            ColumnForm::Lists(ListKind { items, counted: false })
        }
        (Function::TopN(_), Some(items)) => ColumnForm::Lists(ListKind { items, counted: true }),
        (Function::Mean, _)
        | (Function::VarPop | Function::VarSamp, _)
        | (Function::StddevPop | Function::StddevSamp, _) => ColumnForm::Doubles,
        (_, Some(ColumnType::I64)) => ColumnForm::Ints,
        (_, Some(ColumnType::F64)) => ColumnForm::Doubles,
        (_, Some(ColumnType::Str) | None) => ColumnForm::Any,
    }
}

fn needed_components(view: &View, feature: &Feature) -> Result<Vec<ComponentId>, EngineError> {
    let components = components_of(feature.binding.function, feature.binding.column)?;
    let ids = components.iter().filter_map(|needed| {
        let known = view.layout().components().iter().find(|(_, known)| known == needed);
        known.map(|(id, _)| *id)
    });
    Ok(ids.collect())
}

/// Which features of a view a range read prints.
pub(crate) fn selected_features(
    view: &View,
    names: Option<&[Identifier]>,
) -> Result<Vec<usize>, EngineError> {
    match names {
        None => Ok((0..view.features.len()).collect()),
        Some(names) => names.iter().map(|name| view.feature_index(name)).collect(),
    }
}

//! Owns plans: a read request resolved against the catalog, so that a row costs no lookup of a
//! name. Knows nothing of overlays, segments or clocks.

use std::sync::Arc;

use parking_lot::Mutex;
use tilekv_tile::{
    AnswerColumn, ColumnType, ComponentId, Edge, FeatureBinding, Finisher, Function, Identifier,
    Layout, ListKind, Name, Selector, components_of,
};

use crate::catalog::{Catalog, Feature, View, ViewId};
use crate::error::EngineError;
use crate::frame::Frame;
use crate::limits::{GROUP_COUNT_MAX, SELECTOR_COUNT_MAX};
use crate::rollup::Workspace;
use crate::service::{RowKey, Service};

/// What to read: groups of (view, selectors) over shared keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReadRequest {
    /// The views, and the selectors to answer from each.
    pub groups: Vec<(Name, Vec<Selector>)>,
    /// The right edge; a view's own where none is given.
    pub edge: Option<Edge>,
    /// Whether only seals count that had been made by the time asked for.
    pub known: bool,
}

/// What to read: the vector of a feature service, for rows of key values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceRequest {
    /// The service.
    pub service: Name,
    /// The names of the key values of a row: those that the service's views are joined by, in
    /// any order.
    pub keys: Vec<Identifier>,
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
    /// What a row is to this view.
    pub(crate) row_key: RowKey,
    /// Guards what the last read left; a read takes it away while it runs.
    bench: Mutex<Option<Box<Bench>>>,
}

/// A read request, resolved. It stays valid until one of its views is altered or dropped, or its
/// service is dropped.
#[derive(Debug)]
pub struct Plan {
    pub(crate) groups: Vec<ViewPlan>,
    pub(crate) known: bool,
    columns: usize,
    /// How many key values a row has.
    width: usize,
    service: Option<PlannedService>,
}

/// The service that a plan reads.
#[derive(Debug)]
struct PlannedService {
    service: Arc<Service>,
    /// For each window of the vector, the column of the groups that answers it; none where that
    /// is the same.
    order: Option<Box<[usize]>>,
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
        Ok(Self { groups, known: request.known, columns, width: 1, service: None })
    }

    /// Resolves a request for a service's vector.
    pub(crate) fn for_service(
        catalog: &Catalog,
        request: &ServiceRequest,
    ) -> Result<Self, EngineError> {
        let service = catalog.service(&request.service)?;
        check_keys(catalog, service, &request.keys)?;
        let mut groups = Vec::new();
        let mut positions = vec![0; service.windows.len()];
        let mut columns = 0;
        for id in service.view_ids() {
            let Some(view) = catalog.view(id) else {
                unreachable!("a view that a service reads cannot be dropped");
            };
            let mut selectors = Vec::new();
            for (window, (_, selector)) in
                service.windows.iter().enumerate().filter(|(_, (of, _))| *of == id)
            {
                selectors.push(selector.clone());
                positions[window] = columns;
                columns += 1;
            }
            let row_key = RowKey::of(&service.name, view, &request.keys)?;
            groups.push(ViewPlan { row_key, ..plan_view(view, &selectors, None)? });
        }
        let is_in_order = positions.is_sorted();
        let order = (!is_in_order).then(|| positions.into_boxed_slice());
        let service = Some(PlannedService { service: Arc::clone(service), order });
        Ok(Self { groups, known: request.known, columns, width: request.keys.len(), service })
    }

    /// How many key values a row has: one for a plan of views, the entity; for a plan of a service
    /// as many as keys were named.
    #[must_use]
    pub fn values_per_row(&self) -> usize {
        self.width
    }

    /// Whether the plan reads a service.
    #[must_use]
    pub fn is_of_service(&self) -> bool {
        self.service.is_some()
    }

    /// Puts the columns of the groups in the order of the service's vector.
    pub(crate) fn arrange(&self, columns: &mut Vec<AnswerColumn>) {
        let order = self.service.as_ref().and_then(|service| service.order.as_ref());
        if let Some(order) = order {
            *columns = order.iter().map(|from| std::mem::take(&mut columns[*from])).collect();
        }
    }

    /// How many columns an answer has: one per selector.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn is_current(&self, catalog: &Catalog) -> bool {
        let is_same = |planned: &PlannedService| {
            let known = catalog.service(&planned.service.name);
            known.is_ok_and(|service| Arc::ptr_eq(service, &planned.service))
        };
        self.service.as_ref().is_none_or(is_same)
            && self.groups.iter().all(|group| {
                catalog.view(group.id).is_some_and(|view| view.revision == group.revision)
            })
    }
}

/// Checks that the keys named are those of the service's views, each once.
fn check_keys(
    catalog: &Catalog,
    service: &Service,
    given: &[Identifier],
) -> Result<(), EngineError> {
    let wanted = service.info(catalog).keys;
    let names: Vec<&str> = wanted.iter().map(Identifier::as_str).collect();
    for (index, key) in given.iter().enumerate() {
        if !wanted.contains(key) {
            return Err(EngineError::NoKey(format!(
                "service `{}` has no key `{key}`; its keys are {}",
                service.name,
                names.join(", ")
            )));
        }
        if given[..index].contains(key) {
            return Err(EngineError::NoKey(format!("key `{key}` is named twice, expected once")));
        }
    }
    Ok(())
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
        row_key: RowKey::Whole,
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

//! Owns plans: a read request resolved against the catalog, so that a row costs no lookup of a
//! name. Knows nothing of overlays, segments or clocks.

use std::sync::Arc;

use tilekv_tile::{ComponentId, Edge, Finisher, Identifier, Layout, Name, Selector, components_of};

use crate::catalog::{Catalog, Feature, View, ViewId};
use crate::error::EngineError;
use crate::limits::{GROUP_COUNT_MAX, SELECTOR_COUNT_MAX};

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
    let Some(finisher) = Finisher::new(projection, binding.function, column) else {
        unreachable!("the projection holds what the selected features need");
    };
    PlannedSelector { selector: selector.clone(), feature, finisher }
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

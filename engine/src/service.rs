//! Owns feature services: windows of one view or several under one name, and how the key values
//! of a row make the entities of each view. Knows nothing of how windows are read.

use tilekv_tile::limits::ENTITY_BYTES_MAX;
use tilekv_tile::{Identifier, KEY_SEPARATOR, Name, Selector, ViewSelector};

use crate::catalog::{Catalog, View, ViewId};
use crate::codec::{FieldError, Fields, PutFields, count_u32};
use crate::error::EngineError;
use crate::limits::{GROUP_COUNT_MAX, SELECTOR_COUNT_MAX};

/// A feature service: one vector of windows, of one view or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub(crate) name: Name,
    /// The windows in the order of the vector, at least one.
    pub(crate) windows: Vec<(ViewId, Selector)>,
}

/// What there is to know of a feature service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInfo {
    /// The windows in the order of the vector.
    pub selectors: Vec<ViewSelector>,
    /// The keys that its views are joined by, in the order in which the views first need them.
    pub keys: Vec<Identifier>,
    /// The views that it reads, in the order of their first windows.
    pub views: Vec<Name>,
}

impl Service {
    /// A service of these windows; each must be one that its view has.
    pub(crate) fn create(
        catalog: &Catalog,
        name: Name,
        selectors: &[ViewSelector],
    ) -> Result<Self, EngineError> {
        if selectors.is_empty() || SELECTOR_COUNT_MAX < selectors.len() {
            return Err(EngineError::Limit(format!(
                "service `{name}` of {} selectors, expected 1 to {SELECTOR_COUNT_MAX}",
                selectors.len()
            )));
        }
        let mut windows = Vec::with_capacity(selectors.len());
        for ViewSelector { view, selector } in selectors {
            let view = catalog.named(view)?;
            view.feature_index(&selector.feature)?;
            selector.check(view.definition.tile)?;
            windows.push((view.id, selector.clone()));
        }
        let service = Self { name, windows };
        let views = service.view_ids().len();
        if GROUP_COUNT_MAX < views {
            return Err(EngineError::Limit(format!(
                "service `{}` of {views} views, expected at most {GROUP_COUNT_MAX}",
                service.name
            )));
        }
        Ok(service)
    }

    /// The views of its windows, each once, in the order of their first windows.
    pub(crate) fn view_ids(&self) -> Vec<ViewId> {
        let mut ids = Vec::new();
        for (id, _) in &self.windows {
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        ids
    }

    /// Whether it has a window of this view.
    pub(crate) fn reads(&self, view: ViewId) -> bool {
        self.windows.iter().any(|(id, _)| *id == view)
    }

    /// What there is to know of it.
    pub(crate) fn info(&self, catalog: &Catalog) -> ServiceInfo {
        let view = |id: ViewId| -> &View {
            let Some(view) = catalog.view(id) else {
                unreachable!("a view that a service reads cannot be dropped");
            };
            view
        };
        let ids = self.view_ids();
        let selectors = self.windows.iter().map(|(id, selector)| ViewSelector {
            view: view(*id).definition.name.clone(),
            selector: selector.clone(),
        });
        let mut keys: Vec<Identifier> = Vec::new();
        for key in ids.iter().flat_map(|id| &view(*id).definition.keys) {
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        ServiceInfo {
            selectors: selectors.collect(),
            keys,
            views: ids.iter().map(|id| view(*id).definition.name.clone()).collect(),
        }
    }

    /// Appends its stored form ([RECORD-10]).
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_short(self.name.as_str().as_bytes());
        out.put_u32(count_u32(self.windows.len()));
        for (view, selector) in &self.windows {
            out.put_u32(view.0);
            out.put_short(selector.to_string().as_bytes());
        }
    }

    /// Reads it back.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        let name = Name::parse(fields.short()?).map_err(|_| FieldError::Value("service name"))?;
        let count = fields.u32()?;
        let mut windows = Vec::new();
        for _ in 0..count {
            let view = ViewId(fields.u32()?);
            let selector = Selector::parse(fields.short()?);
            windows.push((view, selector.map_err(|_| FieldError::Value("selector"))?));
        }
        if windows.is_empty() {
            return Err(FieldError::Value("selector count"));
        }
        Ok(Self { name, windows })
    }
}

/// Where among the key values of a row the values of a view's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RowKey {
    /// The row is the entity itself.
    Whole,
    /// The entity is the values at these positions.
    Parts(Box<[usize]>),
}

impl RowKey {
    /// Where `view` finds the values of its keys in rows that have a value for each of `given`.
    pub(crate) fn of(
        service: &Name,
        view: &View,
        given: &[Identifier],
    ) -> Result<Self, EngineError> {
        let find = |key: &Identifier| {
            given.iter().position(|name| name == key).ok_or_else(|| {
                EngineError::NoKey(format!(
                    "service `{service}` needs key `{key}` for view `{}`; name it behind KEYS",
                    view.definition.name
                ))
            })
        };
        view.definition.keys.iter().map(find).collect::<Result<_, _>>().map(Self::Parts)
    }

    /// The view's entity of every row. `values` are the rows' key values, `width` of them a row;
    /// entities that must be joined stand in `joined`.
    pub(crate) fn entities<'a>(
        &self,
        view: &View,
        values: &[&'a [u8]],
        width: usize,
        joined: &'a mut Vec<u8>,
    ) -> Result<Vec<&'a [u8]>, EngineError> {
        let Self::Parts(parts) = self else { return Ok(values.to_vec()) };
        if let [part] = parts[..] {
            let picked: Vec<&[u8]> = values.chunks_exact(width).map(|row| row[part]).collect();
            picked.iter().enumerate().try_for_each(|(row, entity)| check(view, row, entity))?;
            return Ok(picked);
        }
        let mut ends = Vec::with_capacity(values.len() / width);
        for (number, row) in values.chunks_exact(width).enumerate() {
            let start = joined.len();
            for (index, part) in parts.iter().enumerate() {
                if 0 < index {
                    joined.push(KEY_SEPARATOR);
                }
                check_part(view, number, index, row[*part])?;
                joined.extend_from_slice(row[*part]);
            }
            check(view, number, &joined[start..])?;
            ends.push(joined.len());
        }
        let joined: &'a [u8] = joined;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        Ok(starts.zip(&ends).map(|(start, end)| &joined[start..*end]).collect())
    }
}

/// A value that is empty stands for a key that the row does not have: no view holds it.
fn check(view: &View, row: usize, entity: &[u8]) -> Result<(), EngineError> {
    if entity.len() <= ENTITY_BYTES_MAX {
        return Ok(());
    }
    Err(EngineError::BadValue(format!(
        "row {}: the keys of view `{}` come to {} bytes, expected at most {ENTITY_BYTES_MAX}",
        row + 1,
        view.definition.name,
        entity.len()
    )))
}

fn check_part(view: &View, row: usize, key: usize, value: &[u8]) -> Result<(), EngineError> {
    if !value.contains(&KEY_SEPARATOR) {
        return Ok(());
    }
    Err(EngineError::BadValue(format!(
        "row {}: the value of key `{}` holds the byte 0x1F, which joins the keys of view `{}`",
        row + 1,
        view.definition.keys[key],
        view.definition.name
    )))
}

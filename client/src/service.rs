//! Feature services: defined, listed, and read as one vector for rows of key values. Knows
//! nothing of how plans travel.

use tilekv_protocol::native::{Request, ServicePlanRequest};
use tilekv_tile::{Identifier, Name, Selector, TileError, ViewSelector};

use crate::client::{Client, Resend};
use crate::error::ClientError;
use crate::plan::{Batch, Plan, ReadOptions};
use crate::reply::{Fields, done, list, text};

/// What SERVICE.INFO tells of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInfo {
    /// Its windows, in the order of its vector.
    pub selectors: Vec<ViewSelector>,
    /// The keys that its views are joined by.
    pub keys: Vec<Identifier>,
    /// The views that it reads.
    pub views: Vec<Name>,
}

/// A prepared read of a service: vectors for rows of key values. Like [`Plan`], it is cheap to
/// clone and prepared again where it must be.
#[derive(Debug, Clone)]
pub struct ServicePlan {
    plan: Plan,
    keys: Vec<Identifier>,
}

/// Which seals a plan of a service counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SealsCounted {
    /// Those that stand now.
    #[default]
    Current,
    /// Those that were known at the time of the read (`KNOWN`).
    KnownThen,
}

impl ServicePlan {
    /// Reads the service's vector for rows of key values, in one request. A value of no bytes
    /// stands for a key that the row does not have: the windows of views joined by it are unseen.
    ///
    /// # Errors
    /// `Input` for a row with another number of values than there are keys; `Refused` where the
    /// service is gone; `BadValue` for values that cannot be joined; failures on the way.
    pub async fn read<R, K>(&self, rows: &[R], options: &ReadOptions) -> Result<Batch, ClientError>
    where
        R: AsRef<[K]>,
        K: AsRef<[u8]>,
    {
        let mut values: Vec<&[u8]> = Vec::with_capacity(rows.len() * self.keys.len());
        for (number, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            if row.len() != self.keys.len() {
                return Err(ClientError::Input(TileError::Setting {
                    option: "row",
                    found: format!("{} of {} key values", number + 1, row.len()),
                    expected: format!("a value for each of {}", joined(&self.keys)),
                }));
            }
            values.extend(row.iter().map(AsRef::as_ref));
        }
        self.plan.read_rows(&values, options).await
    }

    /// The keys whose values make a row, in order.
    pub fn keys(&self) -> &[Identifier] {
        &self.keys
    }

    /// The columns of a batch: view and selector, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&Name, &Selector)> {
        self.plan.columns()
    }
}

impl Client {
    /// Creates a service: windows of several views as one vector.
    ///
    /// # Errors
    /// `NoView`, `NoFeature` or `BadWindow` for what the views do not have, `Refused` where the
    /// service exists already, failures on the way.
    pub async fn create_service(
        &self,
        service: &Name,
        selectors: &[ViewSelector],
    ) -> Result<(), ClientError> {
        let mut arguments = vec!["SERVICE.CREATE".to_owned(), service.to_string()];
        arguments.extend(["SELECTORS".to_owned(), selectors.len().to_string()]);
        arguments.extend(selectors.iter().map(ToString::to_string));
        done(self.run(&arguments, Resend::IfNotSent).await?)
    }

    /// Drops a service; its views stay.
    ///
    /// # Errors
    /// `Refused` where there is none of that name, failures on the way.
    pub async fn drop_service(&self, service: &Name) -> Result<(), ClientError> {
        done(self.run(&["SERVICE.DROP", service.as_str()], Resend::IfNotSent).await?)
    }

    /// The names of all services.
    ///
    /// # Errors
    /// Failures on the way.
    pub async fn service_names(&self) -> Result<Vec<Name>, ClientError> {
        let reply = self.run(&["SERVICE.LIST"], Resend::Always).await?;
        list(reply, |item| Ok(Name::parse(text(item)?.as_bytes())?))
    }

    /// What a service reads, and by which keys.
    ///
    /// # Errors
    /// `Refused` where there is none of that name, failures on the way.
    pub async fn service_info(&self, service: &Name) -> Result<ServiceInfo, ClientError> {
        let reply = self.run(&["SERVICE.INFO", service.as_str()], Resend::Always).await?;
        let mut fields = Fields::of(reply)?;
        Ok(ServiceInfo {
            selectors: fields
                .list("selectors", |item| Ok(ViewSelector::parse(text(item)?.as_bytes())?))?,
            keys: fields.list("keys", |item| Ok(Identifier::parse(text(item)?.as_bytes())?))?,
            views: fields.list("views", |item| Ok(Name::parse(text(item)?.as_bytes())?))?,
        })
    }

    /// Prepares a read of a service, whose rows hold the values of `keys` in that order: every key
    /// of its views, each once.
    ///
    /// # Errors
    /// `Refused` for a service or keys that there are not, failures on the way.
    pub async fn prepare_service(
        &self,
        service: &Name,
        keys: &[Identifier],
        seals: SealsCounted,
    ) -> Result<ServicePlan, ClientError> {
        let info = self.service_info(service).await?;
        let request = ServicePlanRequest {
            service: service.clone(),
            keys: keys.to_vec(),
            known: seals == SealsCounted::KnownThen,
        };
        let columns = info.selectors.into_iter().map(|window| (window.view, window.selector));
        let width = keys.len().max(1);
        let request = Request::PrepareService(request);
        let plan = Plan::new(self.clone(), request, columns.collect(), width);
        Ok(ServicePlan { plan: self.prepare_now(plan).await?, keys: keys.to_vec() })
    }
}

fn joined(keys: &[Identifier]) -> String {
    keys.iter().map(Identifier::as_str).collect::<Vec<_>>().join(", ")
}

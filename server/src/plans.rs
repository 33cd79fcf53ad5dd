//! Read plans that a network thread has made, kept for the next read of the same shape. Serving
//! traffic repeats few shapes, and a plan costs more than a short read.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use tilekv_engine::{Plan, ReadRequest};
use tilekv_protocol::ErrorReply;
use tilekv_tile::{Edge, Name, Selector};

use crate::dispatch::Context;
use crate::limits::PLAN_COUNT_MAX;
use crate::refuse;

/// The plans of one thread.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    plans: RefCell<HashMap<Shape, Rc<Plan>>>,
}

/// What a plan depends on beside the views.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shape {
    groups: Vec<(Name, Vec<Selector>)>,
    edge: Option<Edge>,
    known: bool,
}

impl Plans {
    /// The plan of a request, made now if there is none that fits the views as they are.
    pub(crate) fn find(
        &self,
        context: &Context<'_>,
        request: ReadRequest,
    ) -> Result<Rc<Plan>, ErrorReply> {
        let (reader, version) = (&context.shared.reader, &context.version);
        let ReadRequest { groups, edge, known } = request;
        let shape = Shape { groups, edge, known };
        if let Some(plan) = self.plans.borrow().get(&shape)
            && reader.is_current(version, plan)
        {
            return Ok(Rc::clone(plan));
        }
        let request = ReadRequest { groups: shape.groups.clone(), edge, known };
        let plan = reader.plan(version, &request).map_err(|error| refuse::engine_error(&error))?;
        let plan = Rc::new(plan);
        self.keep(shape, Rc::clone(&plan));
        Ok(plan)
    }

    /// Shapes beyond the limit start the table anew: traffic that repeats fills it again at once.
    fn keep(&self, shape: Shape, plan: Rc<Plan>) {
        let mut plans = self.plans.borrow_mut();
        if PLAN_COUNT_MAX <= plans.len() {
            plans.clear();
        }
        plans.insert(shape, plan);
    }
}

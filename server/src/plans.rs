//! Read plans that a network thread has made, kept for the next read of the same shape. Serving
//! traffic repeats few shapes, and a plan costs more than a short read. The memory of answers is
//! kept with them.

use std::cell::RefCell;
use std::sync::Arc;

use hashbrown::HashMap;
use tilekv_engine::{Plan, ReadRequest, ServiceRequest};
use tilekv_protocol::ErrorReply;
use tilekv_tile::Answers;

use crate::dispatch::Context;
use crate::limits::{ANSWER_VALUE_COUNT_KEPT_MAX, PLAN_COUNT_MAX};
use crate::refuse;

/// The plans of one thread.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    plans: RefCell<HashMap<Shape, Arc<Plan>>>,
    answers: RefCell<Answers>,
}

/// What a plan depends on beside the views.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// Windows of views, for entities.
    Windows(ReadRequest),
    /// The vector of a service, for rows of key values.
    Service(ServiceRequest),
}

impl Plans {
    /// The plan of a request, made now if there is none that fits the views as they are.
    pub(crate) fn find(
        &self,
        context: &Context<'_>,
        shape: Shape,
    ) -> Result<Arc<Plan>, ErrorReply> {
        let (reader, version) = (&context.shared.reader, &context.version);
        if let Some(plan) = self.plans.borrow().get(&shape)
            && reader.is_current(version, plan)
        {
            return Ok(Arc::clone(plan));
        }
        let plan = match &shape {
            Shape::Windows(request) => reader.plan(version, request),
            Shape::Service(request) => reader.plan_service(version, request),
        };
        let plan = Arc::new(plan.map_err(|error| refuse::engine_error(&error))?);
        self.keep(shape, Arc::clone(&plan));
        Ok(plan)
    }

    /// Memory to answer a read in.
    pub(crate) fn lend_answers(&self) -> Answers {
        self.answers.take()
    }

    /// Takes back what [`Plans::lend_answers`] gave, unless it has grown large.
    pub(crate) fn return_answers(&self, answers: Answers) {
        if answers.rows.saturating_mul(answers.columns.len()) <= ANSWER_VALUE_COUNT_KEPT_MAX {
            self.answers.replace(answers);
        }
    }

    /// Shapes beyond the limit start the table anew: traffic that repeats fills it again at once.
    fn keep(&self, shape: Shape, plan: Arc<Plan>) {
        let mut plans = self.plans.borrow_mut();
        if PLAN_COUNT_MAX <= plans.len() {
            plans.clear();
        }
        plans.insert(shape, plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tilekv_tile::AnswerColumn;

    #[test]
    fn the_memory_of_large_answers_is_given_up() {
        for (rows, is_kept) in
            [(ANSWER_VALUE_COUNT_KEPT_MAX, true), (ANSWER_VALUE_COUNT_KEPT_MAX + 1, false)]
        {
            let plans = Plans::default();
            plans.return_answers(Answers { rows, columns: vec![AnswerColumn::default()] });
            assert_eq!(plans.lend_answers().columns.len() == 1, is_kept, "{rows} values");
        }
    }
}

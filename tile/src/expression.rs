//! A feature's expression: a function over a column.

use crate::name::Identifier;

/// An aggregate function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// Rows.
    CountRows,
    /// Values that are not null.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The population variance.
    VarPop,
    /// The sample variance.
    VarSamp,
    /// The population standard deviation.
    StddevPop,
    /// The sample standard deviation.
    StddevSamp,
    /// The value of the earliest row.
    First,
    /// The value of the latest row.
    Last,
}

/// A function and the column that it aggregates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expression {
    /// The function.
    pub function: Function,
    /// The column, which only `count()` does without.
    pub column: Option<Identifier>,
}

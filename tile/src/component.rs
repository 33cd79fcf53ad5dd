//! Components: the parts of a tile's state, and which of them a function needs. A view stores
//! each component once, however many features share it. It knows nothing of where they lie.

use crate::error::TileError;
use crate::expression::Function;
use crate::scalar::ColumnType;
use smallvec::{SmallVec, smallvec};

/// The number of a component within its view: assigned in order of definition, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(u16);

/// A component: what is kept, of which column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Component {
    /// The index of the column within the view; [`ComponentKind::Rows`] alone has none.
    pub column: Option<u16>,
    /// What is kept of it.
    pub kind: ComponentKind,
}

/// What a component keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ComponentKind {
    /// The number of rows.
    Rows,
    /// The number of values that are not null.
    Count,
    /// The exact sum of integers.
    SumI64,
    /// The sum of doubles, to about 106 bits.
    SumF64,
    /// The least value.
    Min(ColumnType),
    /// The greatest value.
    Max(ColumnType),
    /// Mean and sum of squared distances from it; the number of values is the column's
    /// [`ComponentKind::Count`], which stands in the same layout.
    Moments,
    /// The entry with the least timestamp, of equal ones the one with the least value.
    First(ColumnType),
    /// The entry with the greatest timestamp, of equal ones the one with the greatest value.
    Last(ColumnType),
    /// The first so many entries.
    FirstN(ColumnType, u16),
    /// The last so many entries.
    LastN(ColumnType, u16),
    /// The first entries of the so many distinct values that come first.
    FirstDistinctN(ColumnType, u16),
    /// The last entries of the so many distinct values that come last.
    LastDistinctN(ColumnType, u16),
    /// A sketch of the distinct values, over two to this power of registers.
    Distinct(u8),
    /// A sketch of the distribution, of this k.
    Quantiles(ColumnType, u16),
    /// Counters for a list of the so many most frequent values.
    Top(ColumnType, u16),
}

impl ComponentId {
    /// The component with this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The components that a function over a column needs: `column` is the column's index within the
/// view and its type, none for `count()`. Refuses arithmetic on strings.
pub fn components_of(
    function: Function,
    column: Option<(u16, ColumnType)>,
) -> Result<SmallVec<[Component; 2]>, TileError> {
    let Some((index, kind)) = column else {
        assert!(function == Function::CountRows, "only count() has no column");
        return Ok(smallvec![Component { column: None, kind: ComponentKind::Rows }]);
    };
    if needs_number(function) && !kind.is_numeric() {
        return Err(TileError::FunctionType { function: function.as_str(), found: kind.as_str() });
    }
    let kinds: SmallVec<[ComponentKind; 2]> = match function {
        Function::CountRows => smallvec![ComponentKind::Rows],
        Function::Count => smallvec![ComponentKind::Count],
        Function::Sum | Function::Mean => smallvec![ComponentKind::Count, sum_kind(kind)],
        Function::Min => smallvec![ComponentKind::Min(kind)],
        Function::Max => smallvec![ComponentKind::Max(kind)],
        Function::VarPop | Function::VarSamp | Function::StddevPop | Function::StddevSamp => {
            smallvec![ComponentKind::Count, ComponentKind::Moments]
        }
        Function::First => smallvec![ComponentKind::First(kind)],
        Function::Last => smallvec![ComponentKind::Last(kind)],
        Function::FirstN(n) => smallvec![ComponentKind::FirstN(kind, n)],
        Function::LastN(n) => smallvec![ComponentKind::LastN(kind, n)],
        Function::FirstDistinctN(n) => smallvec![ComponentKind::FirstDistinctN(kind, n)],
        Function::LastDistinctN(n) => smallvec![ComponentKind::LastDistinctN(kind, n)],
        Function::ApproxCountDistinct(precision) => smallvec![ComponentKind::Distinct(precision)],
        Function::ApproxPercentile(_, k) => smallvec![ComponentKind::Quantiles(kind, k)],
        Function::TopN(n) => smallvec![ComponentKind::Top(kind, n)],
    };
    let of_column = |kind| Component { column: Some(index), kind };
    Ok(kinds.into_iter().map(of_column).collect())
}

/// Whether the function computes with its values rather than counting or comparing them.
fn needs_number(function: Function) -> bool {
    match function {
        Function::CountRows
        | Function::Count
        | Function::Min
        | Function::Max
        | Function::First
        | Function::Last
        | Function::FirstN(_)
        | Function::LastN(_)
        | Function::FirstDistinctN(_)
        | Function::LastDistinctN(_)
        | Function::ApproxCountDistinct(_)
        | Function::TopN(_) => false,
        Function::Sum
        | Function::Mean
        | Function::VarPop
        | Function::VarSamp
        | Function::StddevPop
        | Function::StddevSamp
        | Function::ApproxPercentile(..) => true,
    }
}

fn sum_kind(kind: ColumnType) -> ComponentKind {
    match kind {
        ColumnType::I64 => ComponentKind::SumI64,
        ColumnType::F64 => ComponentKind::SumF64,
        ColumnType::Str => unreachable!("strings are refused before their sum is asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_over_one_column_share_their_count() {
        let count = Component { column: Some(3), kind: ComponentKind::Count };
        for function in
            [Function::Count, Function::Sum, Function::Mean, Function::VarPop, Function::StddevSamp]
        {
            let components = components_of(function, Some((3, ColumnType::F64))).unwrap();
            assert_eq!(components.first(), Some(&count), "{function:?}");
        }
    }

    #[test]
    fn arithmetic_on_strings_is_refused() {
        for function in [Function::Sum, Function::Mean, Function::VarPop, Function::StddevSamp] {
            let error = components_of(function, Some((0, ColumnType::Str))).unwrap_err();
            assert!(error.to_string().contains(function.as_str()), "{error}");
        }
        for function in [Function::Count, Function::Min, Function::Last] {
            let components = components_of(function, Some((0, ColumnType::Str)));
            assert!(components.is_ok(), "{function:?} takes strings");
        }
    }
}

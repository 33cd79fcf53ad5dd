//! A feature's expression: a function over a column, as it is written and printed.
//! It knows nothing of views, and so nothing of the column's type.

use crate::error::{TileError, printable};
use crate::name::Identifier;
use std::fmt;

/// An aggregate function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `count()`: rows.
    CountRows,
    /// `count(c)`: values that are not null.
    Count,
    /// `sum(c)`.
    Sum,
    /// `mean(c)`.
    Mean,
    /// `min(c)`.
    Min,
    /// `max(c)`.
    Max,
    /// `var_pop(c)`: the variance over n.
    VarPop,
    /// `var_samp(c)`: the variance over n - 1.
    VarSamp,
    /// `stddev_pop(c)`: the root of the variance over n.
    StddevPop,
    /// `stddev_samp(c)`: the root of the variance over n - 1.
    StddevSamp,
    /// `first(c)`: the value with the least timestamp.
    First,
    /// `last(c)`: the value with the greatest timestamp.
    Last,
}

/// A function and the column that it aggregates, such as `sum(amount)` or `count()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Expression {
    /// The function.
    pub function: Function,
    /// The column; `count()` alone has none.
    pub column: Option<Identifier>,
}

impl Function {
    /// The word before the parenthesis. `count()` and `count(c)` share theirs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CountRows | Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::VarPop => "var_pop",
            Self::VarSamp => "var_samp",
            Self::StddevPop => "stddev_pop",
            Self::StddevSamp => "stddev_samp",
            Self::First => "first",
            Self::Last => "last",
        }
    }

    /// The function over a column that goes by this word.
    fn over_column(word: &[u8]) -> Option<Self> {
        OVER_COLUMN.into_iter().find(|function| function.as_str().as_bytes() == word)
    }
}

impl Expression {
    /// Reads an expression such as `sum(amount)`.
    pub fn parse(text: &[u8]) -> Result<Self, TileError> {
        read(text)
            .ok_or_else(|| TileError::Expression { text: printable(text), expected: expectation() })
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.as_ref().map_or("", Identifier::as_str);
        write!(formatter, "{}({column})", self.function.as_str())
    }
}

fn read(text: &[u8]) -> Option<Expression> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let (word, rest) = text.split_at(open);
    let argument = rest.strip_prefix(b"(")?.strip_suffix(b")")?.trim_ascii();
    if argument.is_empty() {
        return (word == b"count")
            .then_some(Expression { function: Function::CountRows, column: None });
    }
    Some(Expression {
        function: Function::over_column(word)?,
        column: Some(Identifier::parse(argument).ok()?),
    })
}

fn expectation() -> String {
    let words: Vec<_> = OVER_COLUMN.map(Function::as_str).into();
    format!("count() or one of {} over a column, such as sum(amount)", words.join(", "))
}

/// Every function that takes a column.
const OVER_COLUMN: [Function; 11] = [
    Function::Count,
    Function::Sum,
    Function::Mean,
    Function::Min,
    Function::Max,
    Function::VarPop,
    Function::VarSamp,
    Function::StddevPop,
    Function::StddevSamp,
    Function::First,
    Function::Last,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_prints_and_reads_back() {
        for function in OVER_COLUMN {
            let text = format!("{}(amount)", function.as_str());
            let expression = Expression::parse(text.as_bytes()).unwrap();
            assert_eq!(expression.function, function);
            assert_eq!(expression.to_string(), text);
        }
        let rows = Expression::parse(b"count()").unwrap();
        assert_eq!(rows.function, Function::CountRows);
        assert_eq!(rows.to_string(), "count()");
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "sum",
            "sum()",
            "sum(a",
            "suma)",
            "sum(a,b)",
            "sum(9)",
            "SUM(a)",
            "median(a)",
            "count(a)x",
            "sum((a))",
            "sum(rows)",
        ] {
            assert!(Expression::parse(text.as_bytes()).is_err(), "{text:?} is no expression");
        }
    }

    #[test]
    fn an_error_names_the_functions_there_are() {
        let error = Expression::parse(b"median(a)").unwrap_err().to_string();
        assert!(error.contains("\"median(a)\""), "{error}");
        assert!(error.contains("stddev_samp"), "{error}");
    }
}

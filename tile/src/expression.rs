//! A feature's expression: a function over a column, as it is written and printed.
//! It knows nothing of views, and so nothing of the column's type.

use crate::error::{TileError, printable};
use crate::limits::{
    LIST_LEN_MAX, PERCENTILE_K_DEFAULT, PERCENTILE_K_MAX, PERCENTILE_K_MIN, PRECISION_DEFAULT,
    PRECISION_MAX, PRECISION_MIN,
};
use crate::name::Identifier;
use crate::quantile::Quantile;
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
    /// `first_n(c,n)`: the values of the n first entries.
    FirstN(u16),
    /// `last_n(c,n)`: the values of the n last entries.
    LastN(u16),
    /// `first_distinct_n(c,n)`: the n distinct values that came first.
    FirstDistinctN(u16),
    /// `last_distinct_n(c,n)`: the n distinct values that came last.
    LastDistinctN(u16),
    /// `approx_count_distinct(c,p)`: distinct values, over 2^p registers.
    ApproxCountDistinct(u8),
    /// `approx_percentile(c,q,k)`: the value of rank q among all.
    ApproxPercentile(Quantile, u16),
    /// `top_n(c,n)`: the n most frequent values with their counts.
    TopN(u16),
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
            Self::FirstN(_) => "first_n",
            Self::LastN(_) => "last_n",
            Self::FirstDistinctN(_) => "first_distinct_n",
            Self::LastDistinctN(_) => "last_distinct_n",
            Self::ApproxCountDistinct(_) => "approx_count_distinct",
            Self::ApproxPercentile(..) => "approx_percentile",
            Self::TopN(_) => "top_n",
        }
    }

    /// The function over a column that goes by this word, with these parameters.
    fn over_column(word: &[u8], parameters: &[&[u8]]) -> Option<Self> {
        let list_len = || match parameters {
            [n] => number_within(n, 1, LIST_LEN_MAX),
            _ => None,
        };
        match word {
            b"first_n" => list_len().map(Self::FirstN),
            b"last_n" => list_len().map(Self::LastN),
            b"first_distinct_n" => list_len().map(Self::FirstDistinctN),
            b"last_distinct_n" => list_len().map(Self::LastDistinctN),
            b"top_n" => list_len().map(Self::TopN),
            b"approx_count_distinct" => match parameters {
                [] => Some(Self::ApproxCountDistinct(PRECISION_DEFAULT)),
                [p] => {
                    number_within(p, PRECISION_MIN, PRECISION_MAX).map(Self::ApproxCountDistinct)
                }
                _ => None,
            },
            b"approx_percentile" => match parameters {
                [q] => Some(Self::ApproxPercentile(Quantile::parse(q)?, PERCENTILE_K_DEFAULT)),
                [q, k] => Some(Self::ApproxPercentile(
                    Quantile::parse(q)?,
                    number_within(k, PERCENTILE_K_MIN, PERCENTILE_K_MAX)?,
                )),
                _ => None,
            },
            _ if parameters.is_empty() => {
                OVER_COLUMN.into_iter().find(|function| function.as_str().as_bytes() == word)
            }
            _ => None,
        }
    }

    /// What stands after the column, each after a comma; parameters that have their default are
    /// left out.
    fn parameters(self) -> String {
        match self {
            Self::FirstN(n)
            | Self::LastN(n)
            | Self::FirstDistinctN(n)
            | Self::LastDistinctN(n)
            | Self::TopN(n) => format!(",{n}"),
            Self::ApproxCountDistinct(precision) if precision != PRECISION_DEFAULT => {
                format!(",{precision}")
            }
            Self::ApproxPercentile(quantile, PERCENTILE_K_DEFAULT) => format!(",{quantile}"),
            Self::ApproxPercentile(quantile, k) => format!(",{quantile},{k}"),
            _ => String::new(),
        }
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
        write!(formatter, "{}({column}{})", self.function.as_str(), self.function.parameters())
    }
}

fn read(text: &[u8]) -> Option<Expression> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let (word, rest) = text.split_at(open);
    let inside = rest.strip_prefix(b"(")?.strip_suffix(b")")?;
    let mut arguments = inside.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let column = arguments.next()?;
    let parameters: Vec<&[u8]> = arguments.collect();
    if column.is_empty() && parameters.is_empty() {
        return (word == b"count")
            .then_some(Expression { function: Function::CountRows, column: None });
    }
    Some(Expression {
        function: Function::over_column(word, &parameters)?,
        column: Some(Identifier::parse(column).ok()?),
    })
}

/// Reads a plain number within bounds.
fn number_within<T: std::str::FromStr + PartialOrd>(text: &[u8], least: T, most: T) -> Option<T> {
    if !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: T = std::str::from_utf8(text).ok()?.parse().ok()?;
    (least <= number && number <= most).then_some(number)
}

fn expectation() -> String {
    let words: Vec<_> = OVER_COLUMN.map(Function::as_str).into();
    format!(
        "count() or one of {} over a column, such as sum(amount), or {}(c,n) or top_n(c,n) with n \
         from 1 to {LIST_LEN_MAX}, approx_count_distinct(c,p) with p from {PRECISION_MIN} to \
         {PRECISION_MAX} or without, approx_percentile(c,q,k) with q from 0 to 1 and k from \
         {PERCENTILE_K_MIN} to {PERCENTILE_K_MAX} or without",
        words.join(", "),
        ["first_n", "last_n", "first_distinct_n", "last_distinct_n"].join("(c,n), "),
    )
}

/// Every function of a column alone.
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
    fn parameters_print_and_read_back_up_to_their_limits() {
        for (text, printed) in [
            ("first_n(a,1)", "first_n(a,1)"),
            ("last_n( a , 1024 )", "last_n(a,1024)"),
            ("first_distinct_n(a,3)", "first_distinct_n(a,3)"),
            ("last_distinct_n(a,3)", "last_distinct_n(a,3)"),
            ("top_n(a,010)", "top_n(a,10)"),
            ("approx_count_distinct(a)", "approx_count_distinct(a)"),
            ("approx_count_distinct(a,12)", "approx_count_distinct(a)"),
            ("approx_count_distinct(a,4)", "approx_count_distinct(a,4)"),
            ("approx_count_distinct(a,16)", "approx_count_distinct(a,16)"),
            ("approx_percentile(a,0.50)", "approx_percentile(a,0.5)"),
            ("approx_percentile(a,1,200)", "approx_percentile(a,1)"),
            ("approx_percentile(a,0.99,8)", "approx_percentile(a,0.99,8)"),
            ("approx_percentile(a,0,16384)", "approx_percentile(a,0,16384)"),
        ] {
            let expression = Expression::parse(text.as_bytes()).unwrap();
            assert_eq!(expression.to_string(), printed);
            assert_eq!(Expression::parse(printed.as_bytes()), Ok(expression));
        }
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
            "first_n(a)",
            "first_n(a,0)",
            "first_n(a,1025)",
            "first_n(a,+1)",
            "first_n(,1)",
            "first_n(a,1,2)",
            "count(,)",
            "top_n(a,x)",
            "approx_count_distinct(a,3)",
            "approx_count_distinct(a,17)",
            "approx_percentile(a)",
            "approx_percentile(a,1.1)",
            "approx_percentile(a,0.5,7)",
            "approx_percentile(a,0.5,16385)",
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

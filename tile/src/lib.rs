//! What a tile is: time, windows, selectors, views, partials, the merge algebra and the tile
//! block codec. Pure values: this crate knows nothing of files, sockets, clocks or tasks.

mod answer;
mod coverage;
mod error;
mod expression;
pub mod limits;
mod name;
mod rows;
mod scalar;
mod seal;
mod selector;
mod time;
mod value;
mod view;
mod window;

pub use answer::{AnswerColumn, Answers, Status, Values, WindowBounds};
pub use coverage::Coverage;
pub use error::{ErrorKind, TileError, printable};
pub use expression::{Expression, Function};
pub use name::{Identifier, KEYWORDS, Name, is_keyword};
pub use rows::{After, Cells, ProducerStamp, Rows, TypedColumn, check_entity};
pub use scalar::{ColumnType, Scalar, check_scalar, parse_scalar};
pub use seal::{KnownWalk, SealSet, check_tile_range};
pub use selector::{Selector, ViewSelector, WindowLength};
pub use time::{Span, Timestamp, floor_to};
pub use value::Value;
pub use view::{
    ColumnDefinition, Edge, FeatureDefinition, LateMode, SealMode, ViewChange, ViewDefinition,
};
pub use window::{EdgeInput, ResolvedWindow, horizon, resolve_window};

//! What a tile is: time, windows, selectors, views, partials, the merge algebra and the tile
//! block codec. Pure values: this crate knows nothing of files, sockets, clocks or tasks.

mod accumulator;
mod add_row;
mod answer;
mod block;
mod component;
mod coverage;
mod decimal;
mod double_double;
mod draft;
mod error;
mod exact;
mod expression;
mod extreme;
mod finish;
mod fixed_point;
mod float_sum;
mod fold;
mod frame;
#[cfg(test)]
mod golden;
mod integer_sum;
mod lane;
mod layout;
pub mod limits;
mod merge;
mod moments;
mod name;
mod number;
mod partial;
#[cfg(test)]
mod properties;
mod quantile;
mod record;
mod rows;
mod scalar;
mod seal;
mod selector;
mod side;
mod sweep;
mod time;
mod value;
mod view;
mod window;

pub use accumulator::{Accumulator, decode_accumulator, encode_accumulator};
pub use answer::{AnswerColumn, Answers, ListKind, Status, Values, WindowBounds};
pub use block::{Block, TileNumber, TileRow, encode_block};
pub use component::{Component, ComponentId, ComponentKind, components_of};
pub use coverage::Coverage;
pub use draft::accumulator_from_partials;
pub use error::{ErrorKind, TileError, printable};
pub use exact::encode_exact;
pub use expression::{Expression, Function};
pub use finish::Finisher;
pub use layout::{FeatureBinding, Layout};
pub use name::{Identifier, KEYWORDS, Name, is_keyword};
pub use quantile::Quantile;
pub use record::{
    ExpiryConditions, ExpiryTime, FieldsAnswer, Increment, Presence, RecordWrite, TextAnswer,
    TextExpiry, TextWrite,
};
pub use rows::{After, Cells, ProducerStamp, Rows, TypedColumn, check_entity};
pub use scalar::{ColumnType, Scalar, check_scalar, parse_scalar};
pub use seal::{KnownWalk, SealSet, check_tile_range, check_tile_start};
pub use selector::{Selector, ViewSelector, WindowLength};
pub use sweep::{Piece, Sweep};
pub use time::{Span, Timestamp, floor_to};
pub use value::Value;
pub use view::{
    ColumnDefinition, Edge, FeatureDefinition, KEY_SEPARATOR, LateMode, SealMode, ViewChange,
    ViewDefinition,
};
pub use window::{EdgeInput, ResolvedWindow, horizon, resolve_window};

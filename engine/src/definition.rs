//! Owns the stored form of a view definition, in the log and in the manifest ([RECORD-2]).

use tilekv_tile::{
    ColumnDefinition, ColumnType, Edge, Expression, FeatureDefinition, Identifier, LateMode, Name,
    SealMode, Span, ViewDefinition,
};

use crate::codec::{FieldError, Fields, PutFields, count_u32};

/// Appends `definition`.
pub(crate) fn encode_definition(definition: &ViewDefinition, out: &mut Vec<u8>) {
    out.put_short(definition.name.as_str().as_bytes());
    out.put_i64(definition.tile.millis());
    out.put_option(definition.retention.map(Span::millis));
    out.put_u8(u8::from(definition.edge == Edge::Live));
    out.put_u8(u8::from(definition.seal == SealMode::Required));
    out.put_u8(u8::from(definition.late == LateMode::Drop));
    out.put_option(definition.max_lag.map(Span::millis));
    out.put_u64(definition.min_rows);
    out.put_u8(u8::from(definition.levels.is_some()));
    if let Some(levels) = &definition.levels {
        out.put_u32(count_u32(levels.len()));
        levels.iter().for_each(|level| out.put_i64(level.millis()));
    }
    out.put_u32(count_u32(definition.keys.len()));
    definition.keys.iter().for_each(|key| out.put_short(key.as_str().as_bytes()));
    out.put_u32(count_u32(definition.columns.len()));
    for column in &definition.columns {
        out.put_short(column.name.as_str().as_bytes());
        out.put_u8(match column.kind {
            ColumnType::I64 => 0,
            ColumnType::F64 => 1,
            ColumnType::Str => 2,
        });
    }
    out.put_u32(count_u32(definition.features.len()));
    for feature in &definition.features {
        out.put_short(feature.name.as_str().as_bytes());
        out.put_short(feature.expression.to_string().as_bytes());
    }
}

/// Reads a definition back.
pub(crate) fn decode_definition(fields: &mut Fields<'_>) -> Result<ViewDefinition, FieldError> {
    Ok(ViewDefinition {
        name: Name::parse(fields.short()?).map_err(|_| FieldError::Value("view name"))?,
        tile: span(fields.i64()?)?,
        retention: optional_span(fields, "retention")?,
        edge: if fields.flag("edge")? { Edge::Live } else { Edge::Closed },
        seal: if fields.flag("seal")? { SealMode::Required } else { SealMode::Off },
        late: if fields.flag("late")? { LateMode::Drop } else { LateMode::Add },
        max_lag: optional_span(fields, "max lag")?,
        min_rows: fields.u64()?,
        levels: match fields.flag("levels")? {
            true => Some(list(fields, |fields| span(fields.i64()?))?),
            false => None,
        },
        keys: list(fields, identifier)?,
        columns: list(fields, column)?,
        features: list(fields, feature)?,
    })
}

fn list<'a, T>(
    fields: &mut Fields<'a>,
    mut item: impl FnMut(&mut Fields<'a>) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    let count = fields.u32()?;
    (0..count).map(|_| item(fields)).collect()
}

fn span(millis: i64) -> Result<Span, FieldError> {
    Span::from_millis(millis).map_err(|_| FieldError::Value("duration"))
}

fn optional_span(fields: &mut Fields<'_>, name: &'static str) -> Result<Option<Span>, FieldError> {
    fields.option(name)?.map(span).transpose()
}

fn identifier(fields: &mut Fields<'_>) -> Result<Identifier, FieldError> {
    Identifier::parse(fields.short()?).map_err(|_| FieldError::Value("identifier"))
}

fn column(fields: &mut Fields<'_>) -> Result<ColumnDefinition, FieldError> {
    let name = identifier(fields)?;
    let kind = match fields.u8()? {
        0 => ColumnType::I64,
        1 => ColumnType::F64,
        2 => ColumnType::Str,
        _ => return Err(FieldError::Value("column type")),
    };
    Ok(ColumnDefinition { name, kind })
}

fn feature(fields: &mut Fields<'_>) -> Result<FeatureDefinition, FieldError> {
    let name = identifier(fields)?;
    let expression =
        Expression::parse(fields.short()?).map_err(|_| FieldError::Value("expression"))?;
    Ok(FeatureDefinition { name, expression })
}

//! Takes generic replies apart into typed parts. Knows nothing of which command was answered.

use bytes::Bytes;
use tilekv_protocol::Reply;
use tilekv_tile::Value;

use crate::error::ClientError;

/// The pairs of a map, taken out by name.
#[derive(Debug)]
pub(crate) struct Fields {
    pairs: Vec<(Reply, Reply)>,
}

impl Fields {
    pub(crate) fn of(reply: Reply) -> Result<Self, ClientError> {
        match reply {
            Reply::Map(pairs) => Ok(Self { pairs }),
            other => Err(unexpected("a map", &other)),
        }
    }

    /// The value of a key; nil where the server does not tell it.
    pub(crate) fn take(&mut self, name: &str) -> Reply {
        let is_named = |(key, _): &(Reply, Reply)| match key {
            Reply::Bulk(text) => text == name.as_bytes(),
            Reply::Simple(text) => text == name,
            _ => false,
        };
        match self.pairs.iter().position(is_named) {
            Some(index) => self.pairs.swap_remove(index).1,
            None => Reply::Nil,
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, ClientError> {
        text(self.take(name))
    }

    pub(crate) fn integer(&mut self, name: &str) -> Result<i64, ClientError> {
        integer(self.take(name))
    }

    pub(crate) fn unsigned(&mut self, name: &str) -> Result<u64, ClientError> {
        unsigned(self.take(name))
    }

    pub(crate) fn optional_text(&mut self, name: &str) -> Result<Option<String>, ClientError> {
        optional(self.take(name), text)
    }

    pub(crate) fn optional_integer(&mut self, name: &str) -> Result<Option<i64>, ClientError> {
        optional(self.take(name), integer)
    }

    /// The items of a list; none where there is no list.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        item: impl Fn(Reply) -> Result<T, ClientError>,
    ) -> Result<Vec<T>, ClientError> {
        optional(self.take(name), |reply| list(reply, item)).map(Option::unwrap_or_default)
    }
}

/// `OK`, or 0 applied, which is an acknowledgement too.
pub(crate) fn done(reply: Reply) -> Result<(), ClientError> {
    match reply {
        Reply::Simple(text) if text == "OK" => Ok(()),
        Reply::Integer(_) => Ok(()),
        other => Err(unexpected("OK", &other)),
    }
}

pub(crate) fn integer(reply: Reply) -> Result<i64, ClientError> {
    match reply {
        Reply::Integer(value) => Ok(value),
        other => Err(unexpected("an integer", &other)),
    }
}

pub(crate) fn unsigned(reply: Reply) -> Result<u64, ClientError> {
    let value = match &reply {
        Reply::Integer(value) => u64::try_from(*value).ok(),
        Reply::Big(value) => u64::try_from(*value).ok(),
        _ => None,
    };
    value.ok_or_else(|| unexpected("an unsigned integer", &reply))
}

pub(crate) fn truth(reply: Reply) -> Result<bool, ClientError> {
    match reply {
        Reply::Bool(value) => Ok(value),
        Reply::Integer(value) => Ok(value != 0),
        other => Err(unexpected("a truth value", &other)),
    }
}

pub(crate) fn bytes(reply: Reply) -> Result<Bytes, ClientError> {
    match reply {
        Reply::Bulk(bytes) => Ok(bytes),
        Reply::Simple(text) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        other => Err(unexpected("a string", &other)),
    }
}

pub(crate) fn text(reply: Reply) -> Result<String, ClientError> {
    let bytes = bytes(reply)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(unexpected("UTF-8 text", &Reply::Bulk(bytes))),
    }
}

pub(crate) fn optional<T>(
    reply: Reply,
    read: impl FnOnce(Reply) -> Result<T, ClientError>,
) -> Result<Option<T>, ClientError> {
    match reply {
        Reply::Nil => Ok(None),
        other => read(other).map(Some),
    }
}

pub(crate) fn list<T>(
    reply: Reply,
    item: impl Fn(Reply) -> Result<T, ClientError>,
) -> Result<Vec<T>, ClientError> {
    match reply {
        Reply::Array(items) => items.into_iter().map(item).collect(),
        other => Err(unexpected("a list", &other)),
    }
}

/// A list of so many items.
pub(crate) fn tuple<const N: usize>(reply: Reply) -> Result<[Reply; N], ClientError> {
    match reply {
        Reply::Array(items) => <[Reply; N]>::try_from(items)
            .map_err(|items| unexpected("a list of another length", &Reply::Array(items))),
        other => Err(unexpected("a list", &other)),
    }
}

/// A finished value.
pub(crate) fn value(reply: Reply) -> Result<Value, ClientError> {
    Ok(match reply {
        Reply::Nil => Value::Nil,
        Reply::Integer(value) => Value::Int(value),
        Reply::Big(value) => Value::Big(value),
        Reply::Double(value) => Value::Double(value),
        Reply::Bulk(text) => Value::Text(text),
        Reply::Array(items) => Value::List(items.into_iter().map(value).collect::<Result<_, _>>()?),
        other => return Err(unexpected("a value", &other)),
    })
}

pub(crate) fn unexpected(expected: &'static str, found: &Reply) -> ClientError {
    const SHOWN_CHARS_MAX: usize = 200;
    let found = format!("{found:?}").chars().take(SHOWN_CHARS_MAX).collect();
    ClientError::UnexpectedAnswer { expected, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_by_name() {
        let pair = |name: &str, value| (Reply::text(name), value);
        let mut fields = Fields::of(Reply::Map(vec![
            pair("tiles", Reply::Integer(7)),
            pair("retention", Reply::Nil),
            pair("keys", Reply::Array(vec![Reply::text("entity")])),
        ]))
        .unwrap();
        assert_eq!(fields.unsigned("tiles").unwrap(), 7);
        assert_eq!(fields.optional_text("retention").unwrap(), None);
        assert_eq!(fields.list("keys", text).unwrap(), ["entity"]);
        assert!(fields.integer("tiles").is_err(), "a field is taken once");
        assert!(Fields::of(Reply::Integer(1)).is_err());
    }

    #[test]
    fn counts_do_not_go_below_zero() {
        assert_eq!(unsigned(Reply::Big(i128::from(u64::MAX))).unwrap(), u64::MAX);
        let error = unsigned(Reply::Integer(-1)).unwrap_err().to_string();
        assert!(error.contains("unsigned") && error.contains("-1"), "{error}");
    }
}

//! A question in JSON as the arguments of the command that asks the same, so that what may be
//! asked, and how much, is decided in one place. Knows nothing of HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tilekv_protocol::{Arguments, ErrorReply, Limits};

/// WINDOW.MGET as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Windows {
    view: String,
    entities: Vec<Key>,
    selectors: Vec<String>,
    at: Option<i64>,
    ats: Option<Vec<i64>>,
    known: Option<bool>,
    edge: Option<String>,
    status: Option<bool>,
}

/// SERVICE.GET as JSON, without the name of the service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    keys: Vec<String>,
    rows: Vec<Vec<Key>>,
    at: Option<i64>,
    ats: Option<Vec<i64>>,
    known: Option<bool>,
    status: Option<bool>,
}

/// An entity, or the value of a key.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "expected a string or {\"b64\": \"...\"}")]
enum Key {
    /// Bytes that are UTF-8.
    Text(String),
    /// Any bytes, in base64.
    Binary { b64: String },
}

/// The arguments of WINDOW.MGET.
pub(super) fn windows(body: &[u8]) -> Result<Arguments, ErrorReply> {
    let asked: Windows = parse(body)?;
    let mut words = Words::new("WINDOW.MGET", asked.view);
    words.count("ENTITIES", asked.entities.len());
    for entity in asked.entities {
        words.key(entity)?;
    }
    words.texts("SELECTORS", asked.selectors);
    words.time(asked.at, asked.ats, asked.known)?;
    if let Some(edge) = asked.edge {
        words.text("EDGE");
        words.text(edge);
    }
    words.end(asked.status)
}

/// The arguments of SERVICE.GET.
pub(super) fn service(name: String, body: &[u8]) -> Result<Arguments, ErrorReply> {
    let asked: Service = parse(body)?;
    if asked.keys.is_empty() {
        return Err(ErrorReply::usage("`keys` is empty, expected the name of at least one key"));
    }
    let width = asked.keys.len();
    let mut words = Words::new("SERVICE.GET", name);
    words.texts("KEYS", asked.keys);
    words.count("ROWS", asked.rows.len());
    for (index, row) in asked.rows.into_iter().enumerate() {
        if row.len() != width {
            return Err(ErrorReply::usage(format!(
                "row {}: {} values, expected one for each of {width} keys",
                index + 1,
                row.len()
            )));
        }
        for value in row {
            words.key(value)?;
        }
    }
    words.time(asked.at, asked.ats, asked.known)?;
    words.end(asked.status)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ErrorReply> {
    serde_json::from_slice(body).map_err(|error| ErrorReply::usage(format!("the body: {error}")))
}

/// Arguments in the making.
struct Words(Vec<Vec<u8>>);

impl Words {
    fn new(command: &str, name: String) -> Self {
        Self(vec![command.as_bytes().to_vec(), name.into_bytes()])
    }

    fn text(&mut self, text: impl Into<String>) {
        self.0.push(text.into().into_bytes());
    }

    fn count(&mut self, keyword: &str, count: usize) {
        self.text(keyword);
        self.text(count.to_string());
    }

    fn texts(&mut self, keyword: &str, items: Vec<String>) {
        self.count(keyword, items.len());
        self.0.extend(items.into_iter().map(String::into_bytes));
    }

    fn key(&mut self, key: Key) -> Result<(), ErrorReply> {
        self.0.push(match key {
            Key::Text(text) => text.into_bytes(),
            Key::Binary { b64 } => STANDARD.decode(b64).map_err(|error| {
                ErrorReply::bad_value(format!("`b64` is not base64 with padding: {error}"))
            })?,
        });
        Ok(())
    }

    fn time(
        &mut self,
        at: Option<i64>,
        ats: Option<Vec<i64>>,
        known: Option<bool>,
    ) -> Result<(), ErrorReply> {
        let has_time = at.is_some() || ats.is_some();
        if at.is_some() && ats.is_some() {
            return Err(ErrorReply::usage("`at` and `ats` exclude each other; give one"));
        }
        if let Some(at) = at {
            self.text("AT");
            self.text(at.to_string());
        }
        if let Some(times) = ats {
            self.texts("ATS", times.iter().map(i64::to_string).collect());
        }
        match (known.unwrap_or(false), has_time) {
            (true, false) => Err(ErrorReply::usage("`known` needs a time: `at` or `ats`")),
            (true, true) => {
                self.text("KNOWN");
                Ok(())
            }
            (false, _) => Ok(()),
        }
    }

    fn end(mut self, status: Option<bool>) -> Result<Arguments, ErrorReply> {
        if status.unwrap_or(false) {
            self.text("STATUS");
        }
        let (count, most) = (self.0.len(), Limits::authenticated().argument_count_max);
        if most < count {
            let sentence = format!("a question of {count} items, expected at most {most}");
            return Err(ErrorReply::limit(sentence));
        }
        let too_long = || ErrorReply::limit("a question of 4 GiB, expected less");
        Arguments::from_list(&self.0).ok_or_else(too_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: Result<Arguments, ErrorReply>) -> String {
        let arguments = arguments.unwrap();
        let words: Vec<_> = arguments.iter().map(String::from_utf8_lossy).collect();
        words.join(" ")
    }

    #[test]
    fn questions_become_commands() {
        let plain = br#"{"view": "v", "entities": ["u:1", {"b64": "QVQ="}], "selectors": ["n@7d"],
            "at": null}"#;
        let expected = "WINDOW.MGET v ENTITIES 2 u:1 AT SELECTORS 1 n@7d";
        assert_eq!(words(windows(plain)), expected);
        let full = br#"{"view": "v", "entities": ["e"], "selectors": ["n@7d", "s@1h"],
            "ats": [-5], "known": true, "edge": "live", "status": true}"#;
        let expected =
            "WINDOW.MGET v ENTITIES 1 e SELECTORS 2 n@7d s@1h ATS 1 -5 KNOWN EDGE live STATUS";
        assert_eq!(words(windows(full)), expected);
        let rows = br#"{"keys": ["a", "b"], "rows": [["1", ""], ["2", "x"]], "at": 7,
            "known": false, "status": true}"#;
        let expected = "SERVICE.GET s KEYS 2 a b ROWS 2 1  2 x AT 7 STATUS";
        assert_eq!(words(service("s".to_owned(), rows)), expected);
    }

    #[test]
    fn what_is_no_question_is_refused_in_words_of_json() {
        let about = |body: &str| windows(body.as_bytes()).unwrap_err().to_string();
        assert!(about("{").starts_with("ERR the body: EOF while parsing"), "{}", about("{"));
        assert!(about("{}").contains("missing field `view`"), "{}", about("{}"));
        let unknown = about(r#"{"view": "v", "colour": 1}"#);
        assert!(unknown.contains("unknown field `colour`, expected one of `view`"), "{unknown}");
        let with =
            |more: &str| about(&format!(r#"{{"view": "v", "selectors": ["n@7d"], {more}}}"#));
        let number = with(r#""entities": [1]"#);
        assert!(number.contains("expected a string or {\"b64\": \"...\"}"), "{number}");
        let base64 = with(r#""entities": [{"b64": "a"}]"#);
        assert!(base64.starts_with("BADVALUE `b64` is not base64"), "{base64}");
        let both = with(r#""entities": [], "at": 1, "ats": []"#);
        assert_eq!(both, "ERR `at` and `ats` exclude each other; give one");
        let known = with(r#""entities": [], "known": true"#);
        assert_eq!(known, "ERR `known` needs a time: `at` or `ats`");
        let rows = |body: &str| service("s".to_owned(), body.as_bytes()).unwrap_err().to_string();
        assert!(rows(r#"{"keys": [], "rows": []}"#).contains("`keys` is empty"));
        let short = rows(r#"{"keys": ["a", "b"], "rows": [["1", "2"], ["1"]]}"#);
        assert_eq!(short, "ERR row 2: 1 values, expected one for each of 2 keys");
    }

    #[test]
    fn a_question_has_as_many_items_as_a_command() {
        let most = Limits::authenticated().argument_count_max;
        let ask = |entities: usize| {
            let list = vec!["\"\""; entities].join(",");
            let body = format!(r#"{{"view": "v", "selectors": ["n@7d"], "entities": [{list}]}}"#);
            windows(body.as_bytes())
        };
        let around = words(ask(0)).split(' ').count();
        assert_eq!(ask(most - around).unwrap().len(), most);
        assert!(ask(most - around + 1).unwrap_err().to_string().starts_with("LIMIT "));
    }
}

//! The numbered sentences of the normative documents: code cites them, and only them.

use std::collections::{BTreeMap, BTreeSet};
use tilekv_tests::repository::{TextFile, text_files};

#[test]
fn sentences_and_citations_match() {
    let offences = citation_offences(&text_files());
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn a_citation_of_nothing_is_found() {
    let offences =
        planted("[LOG-1] Bytes.", "// [LOG-1] and [LOG-2]\n// not [LOG], [log-3], a[B-4]");
    assert_eq!(offences, ["wal/src/a.rs:1: cites [LOG-2], which no document holds"]);
}

#[test]
fn a_sentence_that_no_code_cites_is_found() {
    let offences = planted("[LOG-1] Bytes.\n\n[LOG-2] More, see [LOG-1].", "// [LOG-1]");
    assert_eq!(offences, ["docs/format/log.md:3: no code or test cites [LOG-2]"]);
}

#[test]
fn a_range_cites_all_of_its_sentences() {
    let document = "[LOG-1] Bytes.\n[LOG-2] More.\n[LOG-3] Most.\n[LOG-4] All.";
    let offences = planted(document, "//! Bytes ([LOG-1] to\n//! [LOG-3]).");
    assert_eq!(offences, ["docs/format/log.md:4: no code or test cites [LOG-4]"]);
}

#[test]
fn a_number_given_twice_is_found() {
    let offences = planted("[LOG-1] Bytes.\n- **[LOG-1]** More.", "// [LOG-1]");
    assert_eq!(offences, ["docs/format/log.md:2: [LOG-1] already stands in docs/format/log.md:1"]);
}

fn planted(document: &str, code: &str) -> Vec<String> {
    citation_offences(&[
        TextFile::new("docs/format/log.md", document),
        TextFile::new("wal/src/a.rs", code),
        TextFile::new("docs/style.md", "An example: [WAL-7]."),
    ])
}

fn citation_offences(files: &[TextFile]) -> Vec<String> {
    let (sentences, mut offences) = sentences(files);
    let mut cited = BTreeSet::new();
    for file in files.iter().filter(|file| file.has_extension("rs") && file.path != THIS_FILE) {
        for (line, label) in labels(&file.text) {
            if !sentences.contains_key(label) {
                let rule = "which no document holds";
                offences.push(format!("{}:{line}: cites [{label}], {rule}", file.path));
            }
            cited.insert(label.to_owned());
        }
        cited.extend(ranges(&file.text));
    }
    let uncited = sentences.iter().filter(|(label, _)| !cited.contains(**label));
    offences
        .extend(uncited.map(|(label, place)| format!("{place}: no code or test cites [{label}]")));
    offences
}

/// Every label of the normative documents with the place of its sentence (the first mention, where
/// none opens a line), and the labels that open more than one.
fn sentences(files: &[TextFile]) -> (BTreeMap<&str, String>, Vec<String>) {
    let mut places = BTreeMap::new();
    let mut offences = Vec::new();
    let mut opened: BTreeMap<&str, String> = BTreeMap::new();
    for file in files.iter().filter(|file| is_normative(&file.path)) {
        for (line, label) in labels(&file.text) {
            let place = format!("{}:{line}", file.path);
            places.entry(label).or_insert_with(|| place.clone());
        }
        for (line, text) in file.numbered_lines() {
            let Some(label) = opening_label(text) else {
                continue;
            };
            let place = format!("{}:{line}", file.path);
            if let Some(first) = opened.get(label) {
                offences.push(format!("{place}: [{label}] already stands in {first}"));
            } else {
                opened.insert(label, place);
            }
        }
    }
    places.extend(opened);
    (places, offences)
}

fn is_normative(path: &str) -> bool {
    let is_format = path.starts_with("docs/format/") && path.ends_with(".md");
    is_format || path == "docs/protocol.md"
}

/// The label at the head of a line, after list marks and emphasis.
fn opening_label(line: &str) -> Option<&str> {
    let line = line.trim_start_matches([' ', '-', '*', '|']);
    let inner = line.strip_prefix('[')?.split(']').next()?;
    is_label(inner).then_some(inner)
}

/// Every `[WORD-7]` of a text with its line, counted from 1.
fn labels(text: &str) -> Vec<(usize, &str)> {
    let mut labels = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for (open, _) in line.match_indices('[') {
            let joined = line[..open].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let inner = line[open + 1..].split(']').next().unwrap_or_default();
            if !joined && is_label(inner) {
                labels.push((number, inner));
            }
        }
    }
    labels
}

/// Every label of a range such as "[WORD-7] to [WORD-9]", which may break across comment lines.
fn ranges(text: &str) -> Vec<String> {
    let words = text.split_whitespace().filter(|word| !word.starts_with("//"));
    let words: Vec<_> = words.map(|word| word.trim_matches(PUNCTUATION)).collect();
    let mut labels = Vec::new();
    for window in words.windows(3) {
        let [first, "to", last] = window else {
            continue;
        };
        if let (Some((word, first)), Some((other, last))) = (label_parts(first), label_parts(last))
            && word == other
        {
            labels.extend((first..=last).map(|number| format!("{word}-{number}")));
        }
    }
    labels
}

/// The word and the number of a label in brackets.
fn label_parts(text: &str) -> Option<(&str, u32)> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let (word, number) = inner.split_once('-')?;
    Some((word, number.parse().ok().filter(|_| is_label(inner))?))
}

/// Capital letters, a dash, digits.
fn is_label(text: &str) -> bool {
    let Some((word, number)) = text.split_once('-') else {
        return false;
    };
    let is_word = !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase());
    is_word && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// What may stand right before or after a label.
const PUNCTUATION: &[char] = &['(', ')', '.', ',', ';', ':'];

/// The labels planted here stand for none.
const THIS_FILE: &str = "tests/all/citations.rs";

//! The rules of docs/style.md that a reader of the text can check, held against every file.

use tilekv_tests::repository::{TextFile, text_files};
use tilekv_tests::source::{code_only, outside_tests};

#[test]
fn every_file_keeps_the_rules() {
    let files = text_files();
    let rules = [
        header_offences,
        length_offences,
        width_offences,
        construct_offences,
        word_offences,
        marker_offences,
        lock_offences,
    ];
    let offences: Vec<_> = rules.iter().flat_map(|rule| rule(&files)).collect();
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn a_source_file_without_a_header_is_found() {
    assert_eq!(
        planted(header_offences, "a.rs", "use std::fs;\n"),
        ["a.rs: does not open with a //! comment that says what it owns"]
    );
    assert_clean(header_offences, "a.rs", "//! It owns a.\n");
    assert_clean(header_offences, "a.py", "import b\n");
}

#[test]
fn a_file_of_too_many_lines_is_found() {
    let lines = |count| "x\n".repeat(count);
    assert_clean(length_offences, "a.rs", &lines(LINES_MAX));
    assert_eq!(
        planted(length_offences, "a.rs", &lines(LINES_MAX + 1)),
        ["a.rs: has 701 lines, at most 700 are allowed"]
    );
}

#[test]
fn a_line_of_too_many_columns_is_found() {
    let line = |count| format!("first\n{}\n", "é".repeat(count));
    assert_clean(width_offences, "a.rs", &line(COLUMNS_MAX));
    assert_clean(width_offences, "a.md", &line(COLUMNS_MAX + 1));
    for path in ["a.rs", "b.py", "scripts/test"] {
        assert_eq!(
            planted(width_offences, path, &line(COLUMNS_MAX + 1)),
            [format!("{path}:2: has 101 columns, at most 100 are allowed")]
        );
    }
}

#[test]
fn unfinished_or_silenced_code_is_found() {
    for (construct, name) in [
        ("todo!()", "todo!"),
        ("unimplemented!(\"x\")", "unimplemented!"),
        ("#[ignore]", "#[ignore"),
        ("#[ignore = \"slow\"]", "#[ignore"),
        ("#[allow(dead_code)]", "#[allow"),
        ("#![allow(dead_code)]", "#![allow"),
        ("#[cfg_attr(x, allow(y))]", ", allow("),
    ] {
        let expected = [format!("a.rs:2: has {name}")];
        assert_eq!(
            planted(construct_offences, "a.rs", &format!("//! A.\n{construct}\n")),
            expected
        );
        assert_clean(construct_offences, "a.rs", &format!("//! No {construct}.\n"));
    }
}

#[test]
fn a_word_from_outside_the_project_is_found() {
    for word in FORBIDDEN_WORDS {
        let text = format!("a\nsee {word} there\n");
        assert_eq!(
            planted(word_offences, "docs/a.md", &text),
            [format!("docs/a.md:2: has {word}")]
        );
    }
    let path = format!("mkdir {TEMPORARY_FOLDER}x\n");
    assert_eq!(
        planted(word_offences, "scripts/a", &path),
        [format!("scripts/a:1: has {TEMPORARY_FOLDER}")]
    );
    assert_clean(word_offences, "tests/all/a.rs", &path);
    assert_clean(word_offences, "wal/src/a.rs", &format!("#[cfg(test)]\nmod t {{\n{path}"));
}

#[test]
fn a_note_of_work_left_is_found() {
    for marker in MARKERS {
        let text = format!("fn a() {{}} // {marker}: later\n");
        assert_eq!(planted(marker_offences, "a.rs", &text), [format!("a.rs:1: has {marker}")]);
        assert_clean(marker_offences, "a.rs", &format!("let {marker}ED = 1;\n"));
    }
}

#[test]
fn a_dependency_from_elsewhere_is_found() {
    let lock = "[[package]]\nname = \"a\"\nsource = \"git+https://example.org/a\"\n";
    assert_eq!(
        planted(lock_offences, "Cargo.lock", lock),
        ["Cargo.lock:3: takes a crate from outside the registry"]
    );
}

fn planted(rule: Rule, path: &str, text: &str) -> Vec<String> {
    rule(&[TextFile::new(path, text)])
}

fn assert_clean(rule: Rule, path: &str, text: &str) {
    assert_eq!(planted(rule, path, text), Vec::<String>::new(), "{path}: {text}");
}

type Rule = fn(&[TextFile]) -> Vec<String>;

fn header_offences(files: &[TextFile]) -> Vec<String> {
    rust(files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            let rule = "does not open with a //! comment that says what it owns";
            format!("{}: {rule}", file.path)
        })
        .collect()
}

fn length_offences(files: &[TextFile]) -> Vec<String> {
    files
        .iter()
        .filter(|file| is_code(file))
        .filter_map(|file| {
            let count = file.text.lines().count();
            let rule = format!("has {count} lines, at most {LINES_MAX} are allowed");
            (LINES_MAX < count).then(|| format!("{}: {rule}", file.path))
        })
        .collect()
}

fn width_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| is_code(file)) {
        for (number, line) in file.numbered_lines() {
            let count = line.chars().count();
            if COLUMNS_MAX < count {
                let rule = format!("has {count} columns, at most {COLUMNS_MAX} are allowed");
                offences.push(format!("{}:{number}: {rule}", file.path));
            }
        }
    }
    offences
}

fn construct_offences(files: &[TextFile]) -> Vec<String> {
    rust(files)
        .flat_map(|file| line_offences(&file.path, &code_only(&file.text), &CONSTRUCTS))
        .collect()
}

fn word_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path != LOCK_PATH) {
        offences.extend(line_offences(&file.path, &file.text, &FORBIDDEN_WORDS));
        if !file.path.starts_with("tests/") {
            let text = outside_tests(files, file);
            offences.extend(line_offences(&file.path, text, &[TEMPORARY_FOLDER]));
        }
    }
    offences
}

fn marker_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| is_code(file)) {
        for (number, line) in file.numbered_lines() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let found = words.filter(|word| MARKERS.contains(word));
            offences.extend(found.map(|word| format!("{}:{number}: has {word}", file.path)));
        }
    }
    offences
}

fn lock_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.path == LOCK_PATH) {
        for (number, line) in file.numbered_lines() {
            if line.starts_with("source = ") && !line.starts_with(REGISTRY_SOURCE) {
                let rule = "takes a crate from outside the registry";
                offences.push(format!("{}:{number}: {rule}", file.path));
            }
        }
    }
    offences
}

fn line_offences(path: &str, text: &str, words: &[&str]) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let found = words.iter().filter(|word| line.contains(**word));
        offences.extend(found.map(|word| format!("{path}:{number}: has {word}")));
    }
    offences
}

fn rust(files: &[TextFile]) -> impl Iterator<Item = &TextFile> {
    files.iter().filter(|file| file.has_extension("rs"))
}

fn is_code(file: &TextFile) -> bool {
    let folders = [".ci/", "scripts/"];
    ["rs", "py", "sh"].iter().any(|extension| file.has_extension(extension))
        || folders.iter().any(|folder| file.path.starts_with(folder))
}

const LINES_MAX: usize = 700;
const COLUMNS_MAX: usize = 100;
const LOCK_PATH: &str = "Cargo.lock";
const REGISTRY_SOURCE: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// What says that code is unfinished, not run or silenced.
const CONSTRUCTS: [&str; 6] =
    ["todo!", "unimplemented!", "#[ignore", "#[allow", "#![allow", ", allow("];

/// Words in a comment that put work off.
const MARKERS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

const TEMPORARY_FOLDER: &str = concat!("/t", "mp/");

/// Places that belong to one machine, and hosts that the ordinary clients know by themselves.
/// They are put together here so that this file does not hold them.
const FORBIDDEN_WORDS: [&str; 9] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
];

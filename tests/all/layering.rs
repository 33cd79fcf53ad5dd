//! The layers of docs/architecture.md, held against what the crates declare and mention.

use std::collections::{BTreeMap, BTreeSet};
use tilekv_tests::repository::{TextFile, text_files};
use tilekv_tests::source::{code_only, outside_tests};

/// What each crate may import, by folder.
type Edges = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_import_only_what_the_architecture_allows() {
    assert_clean(&import_offences(&text_files()));
}

#[test]
fn lower_crates_have_no_clock_randomness_tasks_files_or_sockets_of_their_own() {
    assert_clean(&mention_offences(&text_files()));
    assert_clean(&dependency_offences(&text_files()));
}

#[test]
fn every_crate_shares_the_workspace_settings() {
    assert_clean(&setting_offences(&text_files()));
}

#[test]
fn a_forbidden_import_is_found() {
    let mut files = planted_workspace();
    assert_eq!(import_offences(&files), Vec::<String>::new());
    files[2]
        .text
        .push_str("[dev-dependencies]\nother = { package = \"tilekv-high\", path = \"\" }\n");
    assert_eq!(
        import_offences(&files),
        ["low/Cargo.toml: imports high, which docs/architecture.md does not allow"]
    );
}

#[test]
fn a_crate_without_a_row_in_the_table_is_found() {
    let mut files = planted_workspace();
    files[1].text = files[1].text.replace("\"high\"", "\"high\", \"extra\"");
    files.push(TextFile::new("extra/Cargo.toml", ""));
    let offences = import_offences(&files);
    assert_eq!(offences, ["docs/architecture.md: the table of crates has no row for extra/"]);
}

#[test]
fn a_clock_in_a_lower_crate_is_found() {
    let plant = |path: &str, text: &str| mention_offences(&[TextFile::new(path, text)]);
    let clock = "use std::time::{Duration,\n    Instant};";
    assert_eq!(plant("wal/src/a.rs", clock), ["wal/src/a.rs:2: mentions Instant"]);
    assert_eq!(plant("server/src/a.rs", clock), Vec::<String>::new());
    assert_eq!(plant("engine/src/a.rs", "// no tokio, no Instant"), Vec::<String>::new());
    assert_eq!(plant("tile/src/a.rs", "let Instantly = operand;"), Vec::<String>::new());
    assert_eq!(plant("engine/src/a.rs", "x(rand::rng())"), ["engine/src/a.rs:1: mentions rand"]);
    let file = "std::fs::read(path)";
    assert_eq!(plant("engine/src/a.rs", file), ["engine/src/a.rs:1: mentions std::fs"]);
    let in_tests = "#[cfg(test)]\nmod t { std::fs::read }";
    assert_eq!(plant("engine/src/a.rs", in_tests), Vec::<String>::new());
}

#[test]
fn a_forbidden_dependency_of_a_lower_crate_is_found() {
    let manifest = "[dependencies]\nbytes.workspace = true\ntokio = \"1\"\n";
    let offences = dependency_offences(&[TextFile::new("protocol/Cargo.toml", manifest)]);
    assert_eq!(offences, ["protocol/Cargo.toml: depends on tokio"]);
    let offences = dependency_offences(&[TextFile::new("server/Cargo.toml", manifest)]);
    assert_eq!(offences, Vec::<String>::new());
}

#[test]
fn a_crate_with_settings_of_its_own_is_found() {
    let shared = "[package]\nversion.workspace = true\nedition.workspace = true\n\
        license.workspace = true\nrust-version.workspace = true\n[lints]\nworkspace = true\n";
    let root = TextFile::new("Cargo.toml", "[workspace]\nmembers = [\"low\"]");
    let offences =
        |text: &str| setting_offences(&[root.clone(), TextFile::new("low/Cargo.toml", text)]);
    assert_eq!(offences(shared), Vec::<String>::new());
    assert_eq!(
        offences(&shared.replace("[lints]\nworkspace = true\n", "")),
        ["low/Cargo.toml: lints are not the workspace's"]
    );
    assert_eq!(
        offences(&shared.replace("edition.workspace = true", "edition = \"2021\"")),
        ["low/Cargo.toml: edition is not the workspace's"]
    );
}

fn planted_workspace() -> Vec<TextFile> {
    let table = "| folder | owns | may import | never |\n|---|---|---|---|\n\
        | `low/` | x | nothing of ours | |\n| `high/` | x | low | |\n";
    vec![
        TextFile::new("docs/architecture.md", table),
        TextFile::new("Cargo.toml", "[workspace]\nmembers = [\"low\", \"high\"]"),
        TextFile::new("low/Cargo.toml", "[dependencies]\nbytes = \"1\"\n"),
        TextFile::new("high/Cargo.toml", "[dependencies]\ntilekv-low.workspace = true\n"),
    ]
}

fn import_offences(files: &[TextFile]) -> Vec<String> {
    let edges = allowed_edges(&text_of(files, "docs/architecture.md"));
    let mut offences = Vec::new();
    for member in members(files) {
        let Some(allowed) = edges.get(&member) else {
            let place = "docs/architecture.md: the table of crates";
            offences.push(format!("{place} has no row for {member}/"));
            continue;
        };
        let path = format!("{member}/Cargo.toml");
        for import in imports(&manifest(files, &path)) {
            if !allowed.contains(&import) && !allowed.contains(EVERYTHING) {
                let rule = "which docs/architecture.md does not allow";
                offences.push(format!("{path}: imports {import}, {rule}"));
            }
        }
    }
    offences
}

/// Reads the rows of the table whose first cell is a folder and whose third lists the imports.
fn allowed_edges(architecture: &str) -> Edges {
    let mut edges = Edges::new();
    for line in architecture.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, folder, _, imports, ..] = cells[..] else {
            continue;
        };
        if let Some(folder) = folder.strip_prefix('`').and_then(|f| f.strip_suffix("/`")) {
            let imports = imports.split(',').map(|import| import.trim().to_owned());
            edges.insert(folder.to_owned(), imports.collect());
        }
    }
    edges
}

fn members(files: &[TextFile]) -> Vec<String> {
    let manifest = manifest(files, "Cargo.toml");
    let members = manifest["workspace"]["members"].as_array().cloned();
    members
        .unwrap_or_default()
        .iter()
        .filter_map(|member| Some(member.as_str()?.to_owned()))
        .collect()
}

/// The folders of our crates that a manifest names in any table of dependencies.
fn imports(manifest: &toml::Table) -> BTreeSet<String> {
    all_dependencies(manifest)
        .iter()
        .filter_map(|name| Some(name.strip_prefix("tilekv-")?.to_owned()))
        .collect()
}

fn all_dependencies(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(table) = value.as_table() else {
            continue;
        };
        if key.ends_with("dependencies") {
            names.extend(table.iter().map(|(name, value)| package_name(name, value)));
        } else if key == "target" {
            let platforms = table.values().filter_map(toml::Value::as_table);
            names.extend(platforms.flat_map(all_dependencies));
        }
    }
    names
}

fn package_name(name: &str, value: &toml::Value) -> String {
    let renamed = value.get("package").and_then(toml::Value::as_str);
    renamed.unwrap_or(name).to_owned()
}

fn mention_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    for file in files.iter().filter(|file| file.has_extension("rs")) {
        let rules = MENTIONS.iter().filter(|(crates, _)| {
            crates.iter().any(|folder| file.path.starts_with(&format!("{folder}/src/")))
        });
        let code = code_only(outside_tests(files, file));
        for word in rules.flat_map(|(_, words)| *words) {
            let lines = (1..).zip(code.lines()).filter(|(_, line)| mentions(line, word));
            offences
                .extend(lines.map(|(line, _)| format!("{}:{line}: mentions {word}", file.path)));
        }
    }
    offences
}

/// Whether the word stands in the line with no letter, digit or underscore beside it.
fn mentions(line: &str, word: &str) -> bool {
    let joins =
        |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + word.len()..]);
        !joins(before.chars().next_back()) && !joins(after.chars().next())
    })
}

/// What the code of the lower crates uses outside tests is declared in their manifests.
fn dependency_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    for folder in LOWER_CRATES {
        let path = format!("{folder}/Cargo.toml");
        let manifest = manifest(files, &path);
        let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
        for (name, value) in dependencies.into_iter().flatten() {
            let name = package_name(name, value);
            if FORBIDDEN_DEPENDENCIES.contains(&name.as_str()) {
                offences.push(format!("{path}: depends on {name}"));
            }
        }
    }
    offences
}

fn setting_offences(files: &[TextFile]) -> Vec<String> {
    let mut offences = Vec::new();
    let shared = |value: Option<&toml::Value>| {
        value.and_then(|value| value.get("workspace")) == Some(&toml::Value::Boolean(true))
    };
    for member in members(files) {
        let path = format!("{member}/Cargo.toml");
        let manifest = manifest(files, &path);
        if !shared(manifest.get("lints")) {
            offences.push(format!("{path}: lints are not the workspace's"));
        }
        for key in ["version", "edition", "license", "rust-version"] {
            if !shared(manifest.get("package").and_then(|package| package.get(key))) {
                offences.push(format!("{path}: {key} is not the workspace's"));
            }
        }
    }
    offences
}

fn manifest(files: &[TextFile], path: &str) -> toml::Table {
    let text = text_of(files, path);
    text.parse().unwrap_or_else(|error| panic!("{path} is no manifest: {error}"))
}

fn text_of(files: &[TextFile], path: &str) -> String {
    let file = files.iter().find(|file| file.path == path);
    file.map(|file| file.text.clone()).unwrap_or_default()
}

fn assert_clean(offences: &[String]) {
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

const EVERYTHING: &str = "everything";

const LOWER_CRATES: [&str; 4] = ["tile", "wal", "protocol", "engine"];

/// Words that the code of some crates must not mention.
const MENTIONS: [(&[&str], &[&str]); 3] = [
    (
        &LOWER_CRATES,
        &["SystemTime", "Instant", "rand", "getrandom", "RandomState", "tokio", "std::net"],
    ),
    (&["tile", "protocol", "engine"], &["std::fs"]),
    (&["tile", "protocol"], &["std::thread"]),
];

const FORBIDDEN_DEPENDENCIES: [&str; 12] = [
    "async-std",
    "chrono",
    "fastrand",
    "getrandom",
    "mio",
    "rand",
    "rand_core",
    "rand_xoshiro",
    "socket2",
    "time",
    "tokio",
    "uuid",
];

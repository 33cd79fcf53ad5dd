//! The documents: every link leads somewhere, and every page is found from docs/README.md.

use std::collections::{BTreeMap, BTreeSet};
use tilekv_tests::repository::{TextFile, root, text_files};

#[test]
fn links_lead_somewhere_and_every_page_is_reachable() {
    let files = text_files();
    let exists = |path: &str| root().join(path).exists();
    let offences = [link_offences(&files, &exists), reach_offences(&files)].concat();
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let page = |text: &str| {
        let files =
            [TextFile::new("docs/a.md", text), TextFile::new("docs/b/c.md", "# The *end*\n")];
        link_offences(&files, &|path| path == "LICENSE" || path == "docs/b/c.md")
    };
    assert_eq!(page("[l](../LICENSE), [c](b/c.md#the-end)\n# Here\n[h](#here)"), NONE);
    assert_eq!(page("[web](https://example.org/x) `[no](link)`\n```\n[no](link)\n```\n"), NONE);
    assert_eq!(page("x\n[l](LICENSE)"), ["docs/a.md:2: LICENSE leads nowhere"]);
    assert_eq!(page("[c](b/c.md#start)"), ["docs/a.md:1: b/c.md#start names no heading"]);
    assert_eq!(page("[h](#here)"), ["docs/a.md:1: #here names no heading"]);
}

#[test]
fn a_page_that_nothing_links_to_is_found() {
    let mut files = vec![
        TextFile::new("README.md", "[docs](docs/README.md)"),
        TextFile::new("docs/README.md", "[a](a.md)"),
        TextFile::new("docs/a.md", "[b](format/b.md#x)"),
        TextFile::new("docs/format/b.md", ""),
        TextFile::new("docs/decisions/0000-template.md", ""),
    ];
    assert_eq!(
        reach_offences(&files),
        ["docs/decisions/0000-template.md: no chain of links from docs/README.md leads to it"]
    );
    files[2].text.push_str("[t](decisions/0000-template.md)");
    assert_eq!(reach_offences(&files), NONE);
    files[0].text.clear();
    assert_eq!(reach_offences(&files), ["README.md: does not link to docs/README.md"]);
}

fn link_offences(files: &[TextFile], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let pages = pages(files);
    let mut offences = Vec::new();
    for (path, text) in &pages {
        for (line, target) in links(text) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let resolved = if file.is_empty() { (*path).to_owned() } else { resolve(path, file) };
            if !file.is_empty() && !exists(&resolved) {
                offences.push(format!("{path}:{line}: {target} leads nowhere"));
            } else if !anchor.is_empty() && !has_heading(&pages, &resolved, anchor) {
                offences.push(format!("{path}:{line}: {target} names no heading"));
            }
        }
    }
    offences
}

fn reach_offences(files: &[TextFile]) -> Vec<String> {
    let pages = pages(files);
    let mut offences = Vec::new();
    if !linked_pages(&pages, ENTRANCE).contains(INDEX) {
        offences.push(format!("{ENTRANCE}: does not link to {INDEX}"));
    }
    let reached = reached_from(&pages, INDEX);
    let lost = pages.keys().filter(|path| path.starts_with("docs/") && !reached.contains(**path));
    let rule = format!("no chain of links from {INDEX} leads to it");
    offences.extend(lost.map(|path| format!("{path}: {rule}")));
    offences
}

fn reached_from(pages: &Pages<'_>, start: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([start.to_owned()]);
    let mut waiting = vec![start.to_owned()];
    while let Some(path) = waiting.pop() {
        for next in linked_pages(pages, &path) {
            if reached.insert(next.clone()) {
                waiting.push(next);
            }
        }
    }
    reached
}

fn linked_pages(pages: &Pages<'_>, path: &str) -> BTreeSet<String> {
    let text = pages.get(path).copied().unwrap_or_default();
    links(text)
        .into_iter()
        .map(|(_, target)| resolve(path, target.split('#').next().unwrap_or_default()))
        .filter(|target| pages.contains_key(target.as_str()))
        .collect()
}

type Pages<'a> = BTreeMap<&'a str, &'a str>;

fn pages(files: &[TextFile]) -> Pages<'_> {
    let pages = files.iter().filter(|file| file.has_extension("md"));
    pages.map(|file| (file.path.as_str(), file.text.as_str())).collect()
}

/// The targets of links to other files or headings, with their lines, code left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose_lines(text) {
        let line = without_code_spans(line);
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let local = targets.filter(|target| !target.contains("://"));
        links.extend(local.map(|target| (number, target.to_owned())));
    }
    links
}

/// The lines outside fenced blocks, counted from 1.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

fn without_code_spans(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// The path that a link means, seen from the page it stands on.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<_> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            name => parts.push(name),
        }
    }
    parts.join("/")
}

fn has_heading(pages: &Pages<'_>, path: &str, anchor: &str) -> bool {
    let text = pages.get(path).copied().unwrap_or_default();
    prose_lines(text)
        .filter(|(_, line)| line.starts_with('#'))
        .any(|(_, line)| slug(line.trim_start_matches('#')) == anchor)
}

/// The anchor that a renderer makes of a heading.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    });
    kept.flat_map(char::to_lowercase).collect()
}

const ENTRANCE: &str = "README.md";
const INDEX: &str = "docs/README.md";
const NONE: [&str; 0] = [];

//! Rust source without its comments and the insides of its literals, so that a search for a word
//! finds code alone. Lines stay where they are. It knows no grammar beyond the lexer's.

use crate::repository::TextFile;

/// The same text with comments, and what stands between quotes, turned into spaces.
pub fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let (length, blank) = token(rest, next, code.chars().next_back());
        let (token, after) = rest.split_at(length);
        if blank {
            code.extend(token.chars().map(blanked));
        } else {
            code.push_str(token);
        }
        rest = after;
    }
    code
}

/// The part of a source file that is no test: what stands before its unit tests, and nothing where
/// one of the files declares it as a module for tests.
pub fn outside_tests<'a>(files: &[TextFile], file: &'a TextFile) -> &'a str {
    if files.iter().any(|parent| test_modules(parent).any(|module| lies_in(&file.path, &module))) {
        return "";
    }
    let mut inline = file.text.match_indices(TEST_ATTRIBUTE).filter(|(start, _)| {
        let item = file.text[start + TEST_ATTRIBUTE.len()..].trim_start();
        let opener = item.find(['{', ';']).map(|at| &item[at..=at]);
        item.starts_with("mod ") && opener == Some("{")
    });
    inline.next().map_or(&file.text, |(start, _)| &file.text[..start])
}

/// The modules that a file declares for tests alone, as paths without extension.
fn test_modules(file: &TextFile) -> impl Iterator<Item = String> {
    let folder = module_folder(&file.path);
    file.text.split(TEST_ATTRIBUTE).skip(1).filter_map(move |rest| {
        let name = rest.trim_start().strip_prefix("mod ")?.split_once(';')?.0;
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_name.then(|| format!("{folder}/{name}"))
    })
}

/// Where the modules that a file declares lie.
fn module_folder(path: &str) -> &str {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    ["/lib", "/main", "/mod"].iter().find_map(|root| path.strip_suffix(root)).unwrap_or(path)
}

fn lies_in(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(module);
    rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// How many bytes belong together at the start of `rest`, and whether they are to be blanked.
fn token(rest: &str, next: char, previous: Option<char>) -> (usize, bool) {
    let in_word = previous.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        return (block_comment_length(rest), true);
    }
    if let Some(length) = raw_string_length(rest).filter(|_| !in_word) {
        return (length, true);
    }
    match next {
        '"' => (quoted_length(rest, '"'), true),
        '\'' => char_length(rest).map_or((1, false), |length| (length, true)),
        _ => (next.len_utf8(), false),
    }
}

fn blanked(character: char) -> char {
    if character == '\n' { '\n' } else { ' ' }
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        let step = if here.starts_with(b"/*") {
            depth += 1;
            2
        } else if here.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        position += step;
        if depth == 0 {
            return position;
        }
    }
    rest.len()
}

/// The length of `r"..."`, `r#"..."#`, `br"..."` and so on, if one starts here.
fn raw_string_length(rest: &str) -> Option<usize> {
    let after_prefix = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let body = after_prefix.trim_start_matches('#');
    let hashes = &after_prefix[..after_prefix.len() - body.len()];
    let body = body.strip_prefix('"')?;
    let end = format!("\"{hashes}");
    let inner = body.find(&end).unwrap_or(body.len());
    let length = rest.len() - body.len() + inner + end.len();
    Some(length.min(rest.len()))
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return position + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; none for a lifetime such as `'a`.
fn char_length(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    let (_, second) = characters.next()?;
    (first == '\\' || second == '\'').then(|| quoted_length(rest, '\''))
}

const TEST_ATTRIBUTE: &str = "#[cfg(test)]";

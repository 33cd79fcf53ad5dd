//! The tests of the reader that separates code from comments and literals.

use tilekv_tests::repository::TextFile;
use tilekv_tests::source::{code_only, outside_tests};

#[test]
fn comments_and_literals_are_blanked_and_lines_stay() {
    let source = concat!(
        "let a = \"no // code\"; // todo!()\n",
        "/* a /* nested */ comment\n */ let b = 'x';\n",
        "fn f<'a>(s: &'a str) -> char { '\\'' }\n",
        "let r = r#\"raw \"quoted\" // text\"#; let four = 4;\n",
        "let e = \"escaped \\\" quote\"; let done = 1;\n",
    );
    let code = code_only(source);
    assert_eq!(code.lines().count(), source.lines().count());
    for kept in ["let a =", "let b =", "fn f<'a>(s: &'a str)", "let four = 4", "let done = 1"] {
        assert!(code.contains(kept), "{kept} is code:\n{code}");
    }
    for blanked in ["todo", "nested", "comment", "raw", "quoted", "escaped", "no // code", "x"] {
        assert!(!code.contains(blanked), "{blanked} is no code:\n{code}");
    }
}

#[test]
fn an_unfinished_literal_or_comment_reaches_to_the_end() {
    for source in ["let a = \"open", "let a = /* open", "let a = r#\"open\""] {
        let code = code_only(source);
        assert_eq!(code.trim_end(), "let a =", "{source}");
    }
}

#[test]
fn tests_are_told_from_what_they_test() {
    let declarations = "#[cfg(test)]\nmod stories;\n#[cfg(test)]\nuse x;\nfn f() {}";
    let files = [
        TextFile::new("a/src/lib.rs", declarations),
        TextFile::new("a/src/b.rs", "code\n#[cfg(test)]\nmod tests { mod x; }"),
        TextFile::new("a/src/stories.rs", "story"),
        TextFile::new("a/src/stories/first.rs", "story"),
        TextFile::new("a/src/b/tests.rs", "no test: the module stands inline"),
        TextFile::new("a/src/stories_of.rs", "code"),
        TextFile::new("b/src/stories.rs", "code"),
    ];
    let kept = files.iter().map(|file| outside_tests(&files, file)).collect::<Vec<_>>();
    assert_eq!(
        kept,
        [declarations, "code\n", "", "", "no test: the module stands inline", "code", "code"]
    );
}

//! The tests of the reader that separates code from comments and literals.

use tilekv_tests::source::{before_tests, code_only};

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
fn unit_tests_are_told_from_what_they_test() {
    assert_eq!(before_tests("code\n#[cfg(test)]\nmod tests {}"), "code\n");
    assert_eq!(before_tests("only code"), "only code");
}

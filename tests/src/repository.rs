//! The repository's own files, as git lists them. It knows nothing of what they should hold.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFile {
    /// Where it lies, from the repository's root, with `/` between folders.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl TextFile {
    /// A file that exists only in a test.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether the name ends in this extension.
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The lines, counted from 1.
    pub fn numbered_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// The repository's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Every text file that git tracks or would add, ascending by path. Files that are not UTF-8 are
/// left out.
///
/// # Panics
/// Without git, or outside a work tree: the checks must not pass for want of files.
pub fn text_files() -> Vec<TextFile> {
    let root = root();
    let mut files: Vec<_> = listed(&root)
        .into_iter()
        .filter_map(|path| {
            let text = std::fs::read_to_string(root.join(&path)).ok()?;
            Some(TextFile { path, text })
        })
        .collect();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(files.len() > 10, "git lists hardly any file in {}", root.display());
    files
}

fn listed(root: &Path) -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .unwrap_or_else(|error| panic!("run git ls-files: {error}"));
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect()
}

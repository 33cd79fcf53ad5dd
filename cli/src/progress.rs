//! How far a long command is: a bar on standard error where somebody watches. Knows nothing of what
//! is done.

use std::io::Read;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::is_watched;

/// A bar over the bytes of a file, with rate and remaining time.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

const TEMPLATE: &str = "{prefix} {bar:30} {percent:>3}%  {bytes}/{total_bytes}  {msg}  {eta} left";

impl Progress {
    /// A bar over so many bytes; none is drawn where nobody watches.
    pub(crate) fn start(name: &str, bytes: u64) -> Self {
        let bar = if is_watched() { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(name.to_owned());
        Self { bar }
    }

    /// Moves the bar to `at` of `of` bytes.
    pub(crate) fn reach_of(&self, at: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(at);
    }

    /// A reader whose bytes move the bar.
    pub(crate) fn watch<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.bar.wrap_read(reader)
    }

    /// Moves the bar of a file that is not read from front to back.
    pub(crate) fn reach(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// What is said beside the bar.
    pub(crate) fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

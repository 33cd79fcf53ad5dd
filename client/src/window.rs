//! How many writes may be under way: fixed, or found by trying, as TCP does. Knows nothing of
//! what is written.

use crate::limits::WRITE_WINDOW_MAX;

/// A number of writes that may be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    size: usize,
    size_max: usize,
    successes: usize,
}

/// The size that an adaptive window begins with.
const SIZE_FIRST: usize = 2;

impl Window {
    /// A window that stays as it is until the server is busy.
    pub(crate) fn fixed(size: usize) -> Self {
        let size = size.clamp(1, WRITE_WINDOW_MAX);
        Self { size, size_max: size, successes: 0 }
    }

    /// A window that grows up to a size while the server keeps up.
    pub(crate) fn adaptive(size_max: usize) -> Self {
        let size_max = size_max.clamp(1, WRITE_WINDOW_MAX);
        Self { size: SIZE_FIRST.min(size_max), size_max, successes: 0 }
    }

    /// How many writes may be under way now.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// A write was acknowledged: after a windowful of them there is room for one more.
    pub(crate) fn succeed(&mut self) {
        self.successes += 1;
        if self.size <= self.successes && self.size < self.size_max {
            self.size += 1;
            self.successes = 0;
        }
    }

    /// The server was busy: half as many from now on, at least one.
    pub(crate) fn shrink(&mut self) {
        self.size = (self.size / 2).max(1);
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_for_each_windowful_and_halves_when_busy() {
        let mut window = Window::adaptive(5);
        let mut sizes = Vec::new();
        for _ in 0..14 {
            window.succeed();
            sizes.push(window.size());
        }
        assert_eq!(sizes, [2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5]);
        window.shrink();
        assert_eq!(window.size(), 2);
        window.shrink();
        window.shrink();
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn it_has_bounds_on_both_sides() {
        assert_eq!(Window::fixed(0).size(), 1);
        assert_eq!(Window::fixed(WRITE_WINDOW_MAX + 1).size(), WRITE_WINDOW_MAX);
        assert_eq!(Window::adaptive(0).size(), 1);
        let mut fixed = Window::fixed(3);
        (0..9).for_each(|_| fixed.succeed());
        assert_eq!(fixed.size(), 3);
    }
}

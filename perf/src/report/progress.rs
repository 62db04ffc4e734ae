//! How far loading has come, on stderr while somebody looks.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What the bar says: a share, a number, and how long it will take.
const BAR: &str = "{msg} [{bar:40}] {human_pos} of {human_len} keys, {eta} left";

/// A bar that goes when it is dropped; copies show the same one.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Of a system's keys; there is no bar where stderr is no terminal.
    pub(crate) fn of_keys(system: &str, keys: u64) -> Self {
        let progress = Self::shown_to(stderr().is_terminal(), keys);
        progress.bar.set_message(format!("loading {system}"));
        progress
    }

    /// A bar for somebody, or for nobody.
    pub(crate) fn shown_to(somebody: bool, keys: u64) -> Self {
        let target = if somebody {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template(BAR).expect("the template is a constant that a test builds");
        Self {
            bar: ProgressBar::with_draw_target(Some(keys), target).with_style(style),
        }
    }

    /// One more key is written.
    pub(crate) fn one_more(&self) {
        self.bar.inc(1);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_shown_a_bar_and_the_keys_are_counted_all_the_same() {
        let progress = Progress::shown_to(false, 3);
        assert!(progress.bar.is_hidden());
        let same = progress.clone();
        same.one_more();
        same.one_more();
        assert_eq!(progress.bar.position(), 2);
        progress.clear();
        assert!(progress.bar.is_finished());
    }
}

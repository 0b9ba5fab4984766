//! Colours, where a terminal shows them.

use std::io::IsTerminal as _;

/// Whether somebody sees colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    has_colours: bool,
}

impl Terminal {
    /// The standard error.
    pub(super) fn standard_error() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// The standard output.
    pub(super) fn standard_output() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// One without colours.
    #[cfg(test)]
    pub(super) fn plain() -> Self {
        Self::of(false)
    }

    fn of(is_terminal: bool) -> Self {
        Self { has_colours: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    pub(super) fn green(self, text: &str) -> String {
        self.coloured("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.coloured("33", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.coloured("31", text)
    }

    fn coloured(self, colour: &str, text: &str) -> String {
        if self.has_colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

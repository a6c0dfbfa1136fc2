//! A logger for terminals, for programs that have none.

use super::text::Escaped;
use crate::sync::{Mutex, lock};
use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

/// Whether a [`Terminal`] colours its lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Colors {
    /// When the output is a terminal and the environment variable `NO_COLOR` is not set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Writes log records, one line each, with colours by level.
///
/// Control characters in messages are escaped. What the output does not take is lost and counted nowhere: there is
/// no place left to say so.
pub struct Terminal {
    out: Mutex<Box<dyn Write + Send>>,
    level: LevelFilter,
    colored: bool,
}

impl Terminal {
    /// Writes to standard error.
    #[must_use]
    pub fn stderr(level: LevelFilter, colors: Colors) -> Terminal {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let auto = std::io::stderr().is_terminal() && !no_color;
        Terminal { colored: colors.resolve(auto), ..Terminal::to(Box::new(std::io::stderr()), level, colors) }
    }

    /// Writes to `out`, which [`Colors::Auto`] takes for no terminal.
    #[must_use]
    pub fn to(out: Box<dyn Write + Send>, level: LevelFilter, colors: Colors) -> Terminal {
        Terminal { out: Mutex::new(out), level, colored: colors.resolve(false) }
    }

    /// Makes this the program's logger.
    ///
    /// # Errors
    /// When the program has one already.
    pub fn install(self) -> Result<(), SetLoggerError> {
        let level = self.level;
        log::set_boxed_logger(Box::new(self))?;
        log::set_max_level(level);
        Ok(())
    }
}

impl Colors {
    fn resolve(self, auto: bool) -> bool {
        match self {
            Colors::Auto => auto,
            Colors::Always => true,
            Colors::Never => false,
        }
    }
}

impl Log for Terminal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let (color, plain) = if self.colored { (color(record.level()), "\x1b[0m") } else { ("", "") };
        let mut line = format!("{color}{:5}{plain} ", record.level());
        // Writing to a string cannot fail; a message whose own formatting fails is written as far as it goes.
        let _ = write!(Escaped(&mut line), "{}", record.args());
        line.push('\n');
        // One call a line, so that lines of other writers do not cut it.
        let _ = lock(&self.out).write_all(line.as_bytes());
    }

    fn flush(&self) {
        let _ = lock(&self.out).flush();
    }
}

fn color(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[1;31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[36m",
        Level::Trace => "\x1b[90m",
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(colors: Colors) -> String {
        let sink = Sink::default();
        let terminal = Terminal::to(Box::new(sink.clone()), LevelFilter::Info, colors);
        for level in [Level::Error, Level::Info, Level::Debug] {
            terminal.log(&Record::builder().level(level).args(format_args!("a\x1b[2Jb\n")).build());
        }
        let bytes = lock(&sink.0).clone();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_line_is_colored_only_when_asked_and_always_escaped() {
        assert_eq!(lines(Colors::Auto), "ERROR a\\u{1b}[2Jb\\n\nINFO  a\\u{1b}[2Jb\\n\n");
        let colored = lines(Colors::Always);
        assert_eq!(colored, "\x1b[1;31mERROR\x1b[0m a\\u{1b}[2Jb\\n\n\x1b[32mINFO \x1b[0m a\\u{1b}[2Jb\\n\n");
    }
}

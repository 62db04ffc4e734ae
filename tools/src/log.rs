//! The structured log on standard error.

use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::{LogFormat, LogLevel};

/// Installs the log for the rest of the process. `node` is named at the start of every text line, since
/// the nodes of `margate dev` share one standard error.
pub(crate) fn install(level: LogLevel, format: LogFormat, node: Option<u64>) {
    let filter = EnvFilter::new(directives(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let installed = match format {
        LogFormat::Json => tracing::subscriber::set_global_default(builder.json().finish()),
        LogFormat::Text => {
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            let lines = Named {
                node,
                lines: Format::default(),
            };
            tracing::subscriber::set_global_default(builder.with_ansi(colours).event_format(lines).finish())
        }
    };
    // Each command installs once, so it cannot find another log in place.
    debug_assert!(installed.is_ok(), "the log is installed once");
}

/// Libraries report at the level above ours: their debug output says nothing about Margate.
fn directives(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,margate=info,margate_engine=info,margate_client=info,margate_net=info",
        LogLevel::Debug => "info,margate=debug,margate_engine=debug,margate_client=debug,margate_net=debug",
        LogLevel::Trace => "trace",
    }
}

/// Text lines that start with the node's name.
struct Named {
    node: Option<u64>,
    lines: Format<Full, SystemTime>,
}

impl<S, N> FormatEvent<S, N> for Named
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &tracing::Event<'_>) -> fmt::Result {
        if let Some(node) = self.node {
            write!(writer, "node {node} ")?;
        }
        self.lines.format_event(context, writer, event)
    }
}

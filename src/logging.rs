//! Structured log lines: one JSON object each, on standard output, where Lambda picks them up.

use tracing_subscriber::EnvFilter;

/// Starts logging. `RUST_LOG` sets the level; without it, `info` for ours and `warn` for everything else.
///
/// Lines about a signal carry its id in `span.signal_id`.
pub fn start() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,vpn_revoker=info,revocation=info,revoker=info,connect_handler=info"));
    let lines = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    // A second start, as in tests, keeps the first.
    let _ = lines.with_env_filter(filter).try_init();
}

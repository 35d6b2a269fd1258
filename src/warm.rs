//! What a function does beside its first wait for work.

use std::future::Future;

use tokio::runtime::Handle;

/// Does this on a thread of its own: the first request for work must not wait until certificates are read and calls
/// signed, which on the runtime's one thread it would.
///
/// Must be called on a runtime, whose connections and timers the work uses.
pub fn beside_the_first_wait(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(work));
}

//! Ctrl-C: nothing stays half-said. A line that is being written is written to its end, half a file is removed, and what
//! goes on all the same is told.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use super::CliError;

/// As shells have it: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// What is to happen at an interruption.
struct Aftermath {
    /// What to tell.
    tell: Option<String>,
    /// A file that is not whole yet.
    unfinished: Option<PathBuf>,
    /// It is the way in which this ends.
    expected: bool,
}

static AFTERMATH: Mutex<Aftermath> = Mutex::new(Aftermath { tell: None, unfinished: None, expected: false });

/// Held while something is being written to standard output.
static WRITING: Mutex<()> = Mutex::new(());

/// Whatever was asked for is in force as long as this is kept.
#[derive(Debug)]
pub(super) struct Kept(());

impl Drop for Kept {
    fn drop(&mut self) {
        *aftermath() = Aftermath { tell: None, unfinished: None, expected: false };
    }
}

fn aftermath() -> MutexGuard<'static, Aftermath> {
    AFTERMATH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on interruptions are taken here.
pub(super) fn watch() -> Result<(), CliError> {
    ctrlc::set_handler(interrupted).map_err(|error| CliError::Output(io::Error::other(error)))
}

/// An interruption tells this.
pub(super) fn tells(text: String) -> Kept {
    aftermath().tell = Some(text);
    Kept(())
}

/// An interruption removes this file.
pub(super) fn removes(path: &Path) -> Kept {
    aftermath().unfinished = Some(path.to_owned());
    Kept(())
}

/// An interruption is how it ends.
pub(super) fn expected() -> Kept {
    aftermath().expected = true;
    Kept(())
}

/// Keeps interruptions waiting while a text is written.
pub(super) fn writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until what is being written is written, and lets nothing more begin. Whoever reads it may have stopped reading:
/// that is waited for a little, not for ever.
fn written() -> Option<MutexGuard<'static, ()>> {
    for _ in 0..100 {
        match WRITING.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    None
}

fn interrupted() {
    let _written = written();
    let aftermath = aftermath();
    if let Some(path) = &aftermath.unfinished {
        let _ = std::fs::remove_file(path);
    }
    if let Some(text) = &aftermath.tell {
        let _ = writeln!(io::stderr().lock(), "\nvpn-revoker: interrupted; {}", super::output::shown(text));
    }
    std::process::exit(if aftermath.expected { 0 } else { INTERRUPTED });
}

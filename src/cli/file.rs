//! Files that are whole or not there.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{CliError, interrupt};

/// A file on its way, under another name until it is whole, so that half of one never looks like one. Unless it is
/// finished, nothing is left of it.
pub(super) struct Unfinished {
    pub(super) file: File,
    part: PathBuf,
    path: PathBuf,
    finished: bool,
    _removed_when_interrupted: interrupt::Kept,
}

fn failed(path: &Path, error: std::io::Error) -> CliError {
    CliError::File { path: path.display().to_string(), error }
}

impl Unfinished {
    pub(super) fn begin(path: &Path) -> Result<Self, CliError> {
        let mut part = path.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let kept = interrupt::removes(&part);
        let file = File::create_new(&part).map_err(|error| failed(&part, error))?;
        Ok(Self { file, part, path: path.to_owned(), finished: false, _removed_when_interrupted: kept })
    }

    /// It is whole: from now on it has its name.
    pub(super) fn finish(mut self) -> Result<(), CliError> {
        self.file.sync_all().map_err(|error| failed(&self.part, error))?;
        std::fs::rename(&self.part, &self.path).map_err(|error| failed(&self.path, error))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}

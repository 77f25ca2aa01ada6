//! `--output KIND=FILE` and GitHub's step summary: opened before anything is sent, so that a bad path costs
//! nothing, and written at the end.

use crate::error::Error;
use crate::report::ReportError;
use crate::report::ci::{Kind, step_summary};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The variable in which GitHub names the file of a step's summary.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Files that wait for what is to be in them. One that was made for that and got nothing is taken away again: no
/// reader takes an empty file.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    files: Vec<Target>,
    step_summary: Option<(PathBuf, File)>,
}

/// One file.
#[derive(Debug)]
struct Target {
    kind: Kind,
    path: PathBuf,
    file: File,
    /// It was not there before, and nothing is in it yet.
    is_new: bool,
}

impl Drop for Outputs {
    fn drop(&mut self) {
        for target in self.files.iter().filter(|target| target.is_new) {
            let _ = std::fs::remove_file(&target.path);
        }
    }
}

impl Outputs {
    /// Opens what was asked for. What is in a file stays until there is something to replace it with.
    pub(super) fn open(asked: &[String], environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut outputs = Self::default();
        for one in asked {
            let wrong = || Error::OutputKind { value: one.clone() };
            let (kind, path) = one.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
            let kind = Kind::ALL.into_iter().find(|known| known.key() == kind).ok_or_else(wrong)?;
            let path = PathBuf::from(path);
            let is_new = !path.exists();
            let file = open(&path).map_err(|source| unwritable(&path, source))?;
            outputs.files.push(Target { kind, path, file, is_new });
        }
        if let Some(path) = environment.get(STEP_SUMMARY).filter(|path| !path.is_empty()).map(PathBuf::from) {
            let file = open(&path).map_err(|source| unwritable(&path, source))?;
            outputs.step_summary = Some((path, file));
        }
        Ok(outputs)
    }

    /// Writes all of them. One that cannot be made keeps no other from being written.
    pub(super) fn write(mut self, render: impl Fn(Kind) -> Result<Vec<u8>, ReportError>) -> Result<(), Error> {
        let mut failed = Vec::new();
        for target in &mut self.files {
            match render(target.kind) {
                Ok(bytes) => {
                    target.is_new = false;
                    replace(&mut target.file, &bytes)
                        .map_err(|source| Error::Output { path: target.path.clone(), source })?;
                }
                Err(error) => failed.push(error),
            }
        }
        if let Some((path, mut file)) = self.step_summary.take() {
            match render(Kind::Markdown) {
                Ok(bytes) => append(&mut file, &bytes).map_err(|source| Error::Output { path, source })?,
                Err(error) => failed.push(error),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(Error::Report(failed)) }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

fn replace(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    // A pipe has no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(bytes)
}

/// Behind what earlier commands of the step wrote.
fn append(file: &mut File, markdown: &[u8]) -> io::Result<()> {
    let used = if file.metadata()?.is_file() { file.seek(SeekFrom::End(0))? } else { 0 };
    file.write_all(&step_summary(markdown, used as usize))?;
    file.write_all(b"\n")
}

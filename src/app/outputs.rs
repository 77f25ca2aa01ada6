//! Files of `--output KIND=FILE` and GitHub's step summary. They are opened before any request is sent, so that a wrong
//! path costs nothing, and written at the end.

use crate::error::Error;
use crate::report::ReportError;
use crate::report::ci::{Kind, step_summary};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Environment variable with the path of GitHub's step summary.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Open output files. A file that was created but received no content is removed on drop, because no reader accepts an
/// empty file.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    files: Vec<OutputFile>,
    step_summary: Option<(PathBuf, File)>,
}

/// One file of `--output`.
#[derive(Debug)]
struct OutputFile {
    kind: Kind,
    path: PathBuf,
    file: File,
    /// Whether the file did not exist before and nothing has been written to it.
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
    /// Opens the files of the `KIND=FILE` arguments and the step summary. The content of an existing file is kept until
    /// it is replaced.
    ///
    /// # Errors
    /// If an argument is invalid or a file cannot be opened for writing.
    pub(super) fn open(arguments: &[String], environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let mut outputs = Self::default();
        for argument in arguments {
            let invalid = || Error::OutputKind { value: argument.clone() };
            let (kind, path) = argument.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or_else(invalid)?;
            let kind = Kind::ALL.into_iter().find(|known| known.key() == kind).ok_or_else(invalid)?;
            let path = PathBuf::from(path);
            let is_new = !path.exists();
            let file = open(&path).map_err(|source| unwritable(&path, source))?;
            outputs.files.push(OutputFile { kind, path, file, is_new });
        }
        if let Some(path) = environment.get(STEP_SUMMARY).filter(|path| !path.is_empty()).map(PathBuf::from) {
            let file = open(&path).map_err(|source| unwritable(&path, source))?;
            outputs.step_summary = Some((path, file));
        }
        Ok(outputs)
    }

    /// Renders and writes all files. If one cannot be rendered, the others are still written.
    ///
    /// # Errors
    /// All rendering errors together, or the first error while writing.
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
    // Pipes cannot be truncated.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(bytes)
}

/// Appends after the text that earlier commands of the step wrote.
fn append(file: &mut File, markdown: &[u8]) -> io::Result<()> {
    let length = if file.metadata()?.is_file() { file.seek(SeekFrom::End(0))? } else { 0 };
    file.write_all(&step_summary(markdown, length as usize))?;
    file.write_all(b"\n")
}

//! `templates`: writes the built-in templates to a directory. Also reads the user's own templates.

use crate::error::Error;
use crate::report::templates::{BUILT_IN, OwnTemplate, Templates};
use crate::units::text_file;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes the built-in templates to a directory. Existing files are the user's work and are kept. Returns the exit
/// code.
pub(super) fn write(dir: &Path) -> Result<u8, Error> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |source| Error::File { path, source }
    };
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    for (name, source) in BUILT_IN {
        let path = dir.join(name);
        let outcome = match std::fs::File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(source.as_bytes()).map_err(at(&path))?;
                "written"
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => "kept, exists already",
            Err(error) => return Err(at(&path)(error)),
        };
        let _ = writeln!(std::io::stdout(), "{}: {outcome}", path.display());
    }
    Ok(0)
}

/// Returns the templates to use: the built-in ones, and the user's own in place of those with the same name.
///
/// # Errors
/// If the directory or a template cannot be read, or the directory contains no template.
pub(super) fn read(dir: Option<&Path>) -> Result<Templates, Error> {
    let Some(dir) = dir else { return Ok(Templates::new(Vec::new())) };
    let unreadable = |path: &Path, source| Error::Templates { path: path.to_owned(), source };
    let mut own = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|source| unreadable(dir, source))? {
        let path = entry.map_err(|source| unreadable(dir, source))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // Take all files with a template's extension, since templates may include others. This skips the backups of
        // editors.
        let is_template = path
            .extension()
            .is_some_and(|end| BUILT_IN.iter().any(|(known, _)| Path::new(known).extension() == Some(end)));
        if is_template && path.is_file() {
            let source = text_file::read(&path).map_err(|source| unreadable(&path, source))?;
            own.push(OwnTemplate { name: name.to_owned(), path, source });
        }
    }
    if !own.iter().any(|template| BUILT_IN.iter().any(|(name, _)| *name == template.name)) {
        return Err(Error::NoTemplates { dir: dir.to_owned() });
    }
    own.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Templates::new(own))
}

//! Directories that this tool fills: results, reports, exchanges. Their content is untrusted. Files are opened relative
//! to a handle of the directory and never through a link, created for their owner alone (files 0600, directories 0700),
//! and replaced in one step. The directory itself may be a link. This module depends on no file name and no format.

use crate::units::file;
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, OpenOptions};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Start and end of the name of a file while it is being written; 16 random hexadecimal digits are in between. The name
/// does not contain the final one, which may already have the maximum length of the file system.
const TEMPORARY: (&str, &str) = (".bedrock-plan-", ".part");

/// An open directory. Names are relative to it and consist of plain components.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
    dir: Arc<Dir>,
}

impl Directory {
    /// Opens an existing directory. An empty path is the working directory.
    ///
    /// # Errors
    /// If it is not a directory or cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let ambient = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let dir = Dir::open_ambient_dir(ambient, ambient_authority())?;
        Ok(Self { path: path.to_owned(), dir: Arc::new(dir) })
    }

    /// Opens a directory like [`Self::open`], and creates it and its parents if they are missing.
    ///
    /// # Errors
    /// If it cannot be created or opened.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        if !path.as_os_str().is_empty() {
            builder.recursive(true).create(path)?;
        }
        Self::open(path)
    }

    /// Returns the path with which the directory was opened, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a directory inside this one.
    ///
    /// # Errors
    /// If it is missing, not a directory, or a link.
    pub(crate) fn subdirectory(&self, name: &Path) -> io::Result<Self> {
        self.descend(name, false)
    }

    /// Opens a directory like [`Self::subdirectory`]; `create` creates missing ones.
    fn descend(&self, name: &Path, create: bool) -> io::Result<Self> {
        let mut current = self.clone();
        for part in name.components() {
            let Component::Normal(part) = part else { return Err(not_plain(name)) };
            if create {
                let mut builder = DirBuilder::new();
                #[cfg(unix)]
                cap_std::fs::DirBuilderExt::mode(&mut builder, 0o700);
                match current.dir.create_dir_with(part, &builder) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            let below = current.dir.open_dir_nofollow(part).map_err(|error| current.explain(part, error))?;
            current = Self { path: current.path.join(part), dir: Arc::new(below) };
        }
        Ok(current)
    }

    /// Returns the directory that contains a name, and the last component of the name.
    fn parent<'a>(&self, name: &'a Path, create: bool) -> io::Result<(Self, &'a OsStr)> {
        let Some(Component::Normal(last)) = name.components().next_back() else { return Err(not_plain(name)) };
        Ok((self.descend(name.parent().unwrap_or(Path::new("")), create)?, last))
    }

    /// Replaces the system's error for a link by an error that names the link.
    fn explain(&self, name: &OsStr, error: io::Error) -> io::Error {
        if self.dir.symlink_metadata(name).is_ok_and(|metadata| metadata.is_symlink()) {
            let name = name.to_string_lossy();
            return io::Error::other(format!("`{name}` is a symbolic link, and links inside it are not followed"));
        }
        error
    }

    fn open_with(&self, name: &Path, options: &mut OpenOptions, create: bool) -> io::Result<File> {
        let (parent, last) = self.parent(name, create)?;
        options.follow(FollowSymlinks::No);
        #[cfg(unix)]
        {
            cap_std::fs::OpenOptionsExt::mode(options, 0o600);
            // Opening a pipe must not block.
            cap_fs_ext::OpenOptionsSyncExt::nonblock(options, true);
        }
        let file = parent.dir.open_with(last, options).map_err(|error| parent.explain(last, error))?.into_std();
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// If it is missing, a link, or not a regular file.
    pub(crate) fn read(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(name.as_ref(), OpenOptions::new().read(true), false)
    }

    /// Reads a text file.
    ///
    /// # Errors
    /// As [`Self::read`], and if it is not UTF-8 or larger than 512 MiB.
    pub(crate) fn read_to_string(&self, name: impl AsRef<Path>) -> io::Result<String> {
        file::read_text(self.read(name)?)
    }

    /// Opens a file for reading and appending, and creates it if it is missing.
    ///
    /// # Errors
    /// If it is a link or not a regular file, or the system refuses.
    pub(crate) fn append(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(name.as_ref(), OpenOptions::new().read(true).append(true).create(true), true)
    }

    /// Creates a new file.
    ///
    /// # Errors
    /// `AlreadyExists` if something has that name.
    pub(crate) fn create_new(&self, name: impl AsRef<Path>) -> io::Result<File> {
        self.open_with(name.as_ref(), OpenOptions::new().write(true).create_new(true), true)
    }

    /// Writes a file in one step: a reader sees either the old or the new content. A link with that name is replaced,
    /// not followed.
    ///
    /// # Errors
    /// If the system refuses; then the old content is unchanged.
    pub(crate) fn replace(&self, name: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        self.replace_with(name.as_ref(), |file| file.write_all(bytes))
    }

    /// Writes a file like [`Self::replace`], with content that `write` produces.
    ///
    /// # Errors
    /// As [`Self::replace`], and those of `write`.
    pub(crate) fn replace_with(&self, name: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let (parent, last) = self.parent(name, true)?;
        parent.written(write, |temporary| parent.dir.rename(temporary, &parent.dir, last))
    }

    /// Writes a file like [`Self::replace`], and waits until content and name are on disk.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub(crate) fn replace_synced(&self, name: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let (parent, last) = self.parent(name.as_ref(), true)?;
        let write = |file: &mut File| {
            file.write_all(bytes)?;
            // A rename may reach the disk before the content does: after a power failure the file would be empty.
            file.sync_all()
        };
        parent.written(write, |temporary| parent.dir.rename(temporary, &parent.dir, last))?;
        parent.sync()
    }

    /// Waits until the names of new files are on disk.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // The handle itself may not support syncing.
        if cfg!(unix) { self.dir.open(".")?.sync_all() } else { Ok(()) }
    }

    /// Creates a file with its content in one step. Returns whether it was created: an existing file, link or directory
    /// with that name is kept.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn create_whole(&self, name: impl AsRef<Path>, bytes: &[u8]) -> io::Result<bool> {
        let (parent, last) = self.parent(name.as_ref(), true)?;
        let linked = parent.written(
            |file| file.write_all(bytes),
            |temporary| {
                parent.dir.hard_link(temporary, &parent.dir, last)?;
                parent.dir.remove_file(temporary)
            },
        );
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    }

    /// Writes a temporary file in this directory and moves it into place with `place`; removes it if either step fails.
    fn written(
        &self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
        place: impl FnOnce(&str) -> io::Result<()>,
    ) -> io::Result<()> {
        let temporary = format!("{}{:016x}{}", TEMPORARY.0, rand::random::<u64>(), TEMPORARY.1);
        let mut file = self.create_new(&temporary)?;
        let placed = write(&mut file).and_then(|()| {
            drop(file);
            place(&temporary)
        });
        if placed.is_err() {
            let _ = self.dir.remove_file(&temporary);
        }
        placed
    }

    /// Returns whether anything, a link included, has this name.
    ///
    /// # Errors
    /// If a directory above it is a link or cannot be searched.
    pub(crate) fn has(&self, name: impl AsRef<Path>) -> io::Result<bool> {
        let found = self.parent(name.as_ref(), false).and_then(|(parent, last)| parent.dir.symlink_metadata(last));
        match found {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a file or a link. A missing file is not an error.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn remove(&self, name: impl AsRef<Path>) -> io::Result<()> {
        let removed =
            self.parent(name.as_ref(), false).and_then(|(parent, last)| parent.dir.remove_file_or_symlink(last));
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes a directory if it is empty.
    pub(crate) fn remove_empty(&self, name: &str) {
        let _ = self.dir.remove_dir(name);
    }

    /// Returns the names of the files in this directory. Links, directories, and names that are not UTF-8 are skipped.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(crate) fn files(&self) -> io::Result<Vec<String>> {
        self.entries(|kind| kind.is_file())
    }

    /// Returns the names of the directories in this directory, like [`Self::files`].
    ///
    /// # Errors
    /// As [`Self::files`].
    pub(crate) fn directories(&self) -> io::Result<Vec<String>> {
        self.entries(|kind| kind.is_dir())
    }

    fn entries(&self, wanted: impl Fn(cap_std::fs::FileType) -> bool) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.dir.entries()? {
            let entry = entry?;
            if wanted(entry.file_type()?) {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        Ok(names)
    }
}

/// Returns whether a name is that of a temporary file of [`Directory::replace`] or [`replace_named`].
pub(crate) fn is_temporary(name: &str) -> bool {
    let digits = name.strip_prefix(TEMPORARY.0).and_then(|rest| rest.strip_suffix(TEMPORARY.1));
    digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Replaces a file that the user named, in one step. It keeps its permissions; a new file gets those of the umask.
/// Missing parent directories are created. A link is followed, because it is the user's own.
///
/// # Errors
/// If the system refuses; then the old content is unchanged.
pub(crate) fn replace_named(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = |path: &Path| {
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
    };
    fs::create_dir_all(parent(path))?;
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temporary = parent(&target).join(format!("{}{:016x}{}", TEMPORARY.0, rand::random::<u64>(), TEMPORARY.1));
    let mut file = File::create_new(&temporary)?;
    let written = (|| {
        file.write_all(bytes)?;
        if let Ok(metadata) = fs::metadata(&target) {
            file.set_permissions(metadata.permissions())?;
        }
        drop(file);
        fs::rename(&temporary, &target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn not_plain(name: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is not the name of a file in it", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_with_a_path_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Directory::create(&scratch.path().join("results")).unwrap();
        for name in ["../evil", "charts/../../evil", "/evil", "", ".", "..", "test_x/../../../evil.csv"] {
            let refused = |result: io::Result<()>| result.unwrap_err().to_string();
            assert!(refused(dir.replace(name, b"x")).contains("not the name of a file"), "{name}");
            assert!(refused(dir.append(name).map(drop)).contains("not the name of a file"), "{name}");
            assert!(refused(dir.remove(name)).contains("not the name of a file"), "{name}");
        }
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn file_is_created_once_and_replaced_atomically() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = Directory::create(scratch.path()).unwrap();
        assert!(dir.create_whole("a/b/c.json", b"one").unwrap());
        assert!(!dir.create_whole("a/b/c.json", b"two").unwrap());
        assert_eq!(dir.read_to_string("a/b/c.json").unwrap(), "one");
        dir.replace("a/b/c.json", b"three").unwrap();
        dir.replace_synced("d", b"four").unwrap();
        assert_eq!(dir.read_to_string("a/b/c.json").unwrap(), "three");
        assert!(dir.replace_with(Path::new("d"), |_| Err(io::Error::other("full"))).is_err());
        assert_eq!((dir.read_to_string("d").unwrap(), dir.files().unwrap()), ("four".into(), vec!["d".into()]));
        assert_eq!(dir.subdirectory(Path::new("a/b")).unwrap().files().unwrap(), ["c.json"]);
        assert_eq!(dir.directories().unwrap(), ["a"]);
        // The longest name that file systems allow.
        dir.replace("x".repeat(255), b"").unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_link_inside_is_followed_and_the_directory_may_be_one() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("elsewhere")).unwrap();
        fs::write(at("elsewhere/own.txt"), "mine").unwrap();
        symlink(at("real"), at("results")).unwrap();
        fs::create_dir(at("real")).unwrap();
        let dir = Directory::open(&at("results")).unwrap();
        symlink(at("elsewhere/own.txt"), at("real/file")).unwrap();
        symlink(at("elsewhere"), at("real/charts")).unwrap();
        let refused = |result: io::Result<()>| result.unwrap_err().to_string();
        assert!(refused(dir.read("file").map(drop)).contains("`file` is a symbolic link"));
        assert!(refused(dir.append("file").map(drop)).contains("`file` is a symbolic link"));
        assert!(refused(dir.replace("charts/own.txt", b"x")).contains("`charts` is a symbolic link"));
        assert!(refused(dir.remove("charts/own.txt")).contains("`charts` is a symbolic link"));
        assert!(refused(dir.has("charts/own.txt").map(drop)).contains("`charts` is a symbolic link"));
        assert!(dir.subdirectory(Path::new("charts")).is_err());
        dir.replace("file", b"new").unwrap();
        assert_eq!(fs::read_to_string(at("elsewhere/own.txt")).unwrap(), "mine");
        assert_eq!(fs::read_to_string(at("real/file")).unwrap(), "new");
        dir.replace("new/file", b"new").unwrap();
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(["real/file", "real/new/file"].map(mode), [0o600; 2]);
        assert_eq!(mode("real/new"), 0o700);
    }

    #[cfg(unix)]
    #[test]
    fn named_file_keeps_its_permissions_and_link() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        replace_named(&at("new/baseline.json"), b"1").unwrap();
        fs::write(at("umask"), "").unwrap();
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("new/baseline.json"), mode("umask"));
        fs::set_permissions(at("new/baseline.json"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink(at("new/baseline.json"), at("link.json")).unwrap();
        replace_named(&at("link.json"), b"2").unwrap();
        assert_eq!(
            (fs::read_to_string(at("new/baseline.json")).unwrap().as_str(), mode("new/baseline.json")),
            ("2", 0o640)
        );
        assert!(fs::symlink_metadata(at("link.json")).unwrap().is_symlink());
        assert_eq!(fs::read_dir(at("new")).unwrap().count(), 1);
    }
}

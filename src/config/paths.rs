//! Paths that users write: `~/` is the home directory, and a path of a plan is written relative to the
//! file that contains it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Replaces `~` or `~/` at the start of a path by the home directory. Shells do this only at the start of
/// a word, so that `--flag=~/x`, a variable in YAML, and a plan contain the tilde itself.
///
/// # Errors
/// No home directory is known, or the path starts with `~NAME`: another user's home is not looked up.
pub(crate) fn expand_home<'p>(path: &'p str, environment: &BTreeMap<String, String>) -> Result<Cow<'p, str>, String> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(Cow::Borrowed(path)) };
    if !rest.is_empty() && !rest.starts_with(['/', '\\']) {
        return Err(format!(
            "`{path}`: `~NAME` is not supported; write the full path, or `./{path}` for a file of this name"
        ));
    }
    let home = ["HOME", "USERPROFILE"].iter().find_map(|name| environment.get(*name).filter(|home| !home.is_empty()));
    let home = home.ok_or_else(|| format!("`{path}`: unknown home directory; set HOME or write the full path"))?;
    Ok(Cow::Owned(format!("{}{rest}", home.trim_end_matches(['/', '\\']))))
}

/// Returns a path relative to a directory. If one of them is relative, or on different drives, returns the path unchanged.
pub(crate) fn relative_to(path: &Path, dir: &Path) -> PathBuf {
    if !path.is_absolute() || !dir.is_absolute() {
        return path.to_owned();
    }
    let (path_parts, dir_parts) = (normalized(path), normalized(dir));
    let shared = path_parts.iter().zip(&dir_parts).take_while(|(a, b)| a == b).count();
    // The root is the first part: without a common one the drives differ.
    if shared == 0 {
        return path.to_owned();
    }
    let up = std::iter::repeat_n(Component::ParentDir, dir_parts.len() - shared);
    up.chain(path_parts[shared..].iter().copied()).collect()
}

/// Returns the parts of a path without `.` and `..`.
fn normalized(path: &Path) -> Vec<Component<'_>> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(parts.last(), Some(Component::Normal(_))) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tilde_is_expanded_or_refused() {
        let environment = BTreeMap::from([("HOME".to_owned(), "/home/ada/".to_owned())]);
        let expand = |path| expand_home(path, &environment);
        assert_eq!(expand("~/x").unwrap(), "/home/ada/x");
        assert_eq!(expand("~").unwrap(), "/home/ada");
        assert_eq!(expand("a/~/x").unwrap(), "a/~/x");
        assert!(expand("~eve/x").unwrap_err().contains("`./~eve/x`"));
        assert!(expand_home("~/x", &BTreeMap::new()).unwrap_err().contains("set HOME"));
    }

    #[cfg(unix)]
    #[test]
    fn relative_paths_start_at_the_directory() {
        let cases = [
            ("/a/b/prompts.json", "/a/b", "prompts.json"),
            ("/a/prompts/p.json", "/a/plans", "../prompts/p.json"),
            ("/a/plans/../prompts/p.json", "/a/plans/./x/..", "../prompts/p.json"),
            ("/p.json", "/a/b", "../../p.json"),
            ("p.json", "/a", "p.json"),
        ];
        for (path, dir, expected) in cases {
            assert_eq!(relative_to(Path::new(path), Path::new(dir)), Path::new(expected), "{path} from {dir}");
        }
    }
}

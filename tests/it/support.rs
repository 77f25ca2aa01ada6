//! Commands with a clean environment, and the one redactor.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary in a directory, with no environment but the path.
pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bedrock-plan"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    command
}

/// Exit code, standard output and standard error, redacted, for a snapshot.
pub(crate) fn shown(dir: &Path, output: &Output) -> String {
    let text = format!(
        "exit code: {}\n----- stdout -----\n{}----- stderr -----\n{}",
        output.status.code().map_or("none".into(), |code| code.to_string()),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    redact(dir, &text)
}

/// Directories become placeholders; nothing else in what is snapshotted changes from run to run.
pub(crate) fn redact(dir: &Path, text: &str) -> String {
    let canonical = dir.canonicalize().unwrap();
    let text = text.replace(&*canonical.to_string_lossy(), "[DIR]").replace(&*dir.to_string_lossy(), "[DIR]");
    text.replace(env!("CARGO_MANIFEST_DIR"), "[REPOSITORY]")
}

/// Whether Python has a module; says on stderr where a test is skipped for want of it.
#[allow(clippy::print_stderr)]
pub(crate) fn python_has(module: &str) -> bool {
    let import = format!("import {module}");
    let has = Command::new("python3").args(["-c", &import]).output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: python3 with {module} is not installed");
    }
    has
}

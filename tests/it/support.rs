//! Commands with a clean environment, and redaction of output.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Returns a command that runs the binary in a directory, with only `PATH` from the environment.
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

/// Returns exit code, standard output and standard error, redacted, for a snapshot.
pub(crate) fn shown(dir: &Path, output: &Output) -> String {
    let text = format!(
        "exit code: {}\n----- stdout -----\n{}----- stderr -----\n{}",
        output.status.code().map_or("none".into(), |code| code.to_string()),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    redact(dir, &text)
}

/// Replaces directories, which differ between runs, by placeholders.
pub(crate) fn redact(dir: &Path, text: &str) -> String {
    let canonical = dir.canonicalize().unwrap();
    let text = text.replace(&*canonical.to_string_lossy(), "[DIR]").replace(&*dir.to_string_lossy(), "[DIR]");
    text.replace(env!("CARGO_MANIFEST_DIR"), "[REPOSITORY]")
}

/// Returns whether Python has a module; reports on stderr that the test is skipped if not.
#[allow(clippy::print_stderr)]
pub(crate) fn python_has(module: &str) -> bool {
    let import = format!("import {module}");
    let has = Command::new("python3").args(["-c", &import]).output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: python3 with {module} is not installed");
    }
    has
}

//! The workflow in the README: valid for actionlint (if installed), with valid shell scripts and existing flags.

use crate::support::{command, python_has};
use std::io::Write;
use std::process::{Command, Stdio};

/// Returns the text of the workflow.
fn workflow() -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let from = readme.find("<!-- workflow: begin").unwrap();
    let block = &readme[from..readme.find("<!-- workflow: end").unwrap()];
    block.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

/// Prints each script, terminated by NUL.
const SCRIPTS: &str = "
import sys, yaml
workflow = yaml.safe_load(sys.stdin)
on = workflow.get('on', workflow.get(True))
assert on['schedule'][0]['cron'] and workflow['permissions']['id-token'] == 'write'
for job in workflow['jobs'].values():
    assert job['runs-on'] and job['timeout-minutes'] and job['env']['TEST_DURATION']
    for step in job['steps']:
        assert ('uses' in step) != ('run' in step), step
        if 'run' in step: sys.stdout.write(step['run'] + '\\0')
";

fn piped(mut command: Command, text: &str) -> (bool, String) {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let bytes = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(bytes).unwrap())
}

#[test]
fn documented_workflow_is_valid() {
    if !python_has("yaml") {
        return;
    }
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPTS]);
    let (good, scripts) = piped(python, &workflow());
    assert!(good, "{scripts}");
    let dir = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for script in scripts.split('\0').filter(|script| !script.trim().is_empty()) {
        let mut shell = Command::new("bash");
        shell.arg("-n");
        let (good, errors) = piped(shell, script);
        assert!(good, "{script}: {errors}");
        let words: Vec<&str> = script.split_whitespace().collect();
        if words.first() != Some(&"bedrock-plan") {
            continue;
        }
        commands += 1;
        let help = command(dir.path(), &[words[1], "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{flag} of {script}");
        }
    }
    assert_eq!(commands, 2, "run and compare");
}

#[test]
#[allow(clippy::print_stderr)]
fn actionlint_accepts_the_workflow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("workflow.yml");
    std::fs::write(&path, workflow()).unwrap();
    match Command::new("actionlint").arg(&path).output() {
        Err(_) => eprintln!("skipped: actionlint is not installed"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
    }
}

//! `submit`: the written script, its execution by a shell, and the arguments of `sbatch`.

use crate::run::scene::{SHORT, Scene};
use crate::support::{command, redact, shown};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bedrock-plan");

/// Creates a plan in a directory whose name contains blanks and shell syntax.
fn plan_in_awkward_dir() -> (tempfile::TempDir, PathBuf) {
    let base = tempfile::tempdir().unwrap();
    let dir = base.path().join("my load's $HOME");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("plan b.toml"), SHORT.replace("\"simulated\"", "\"http://127.0.0.1:9\"")).unwrap();
    (base, dir)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Replaces paths that differ between machines; `base` contains no quote.
fn redacted(base: &Path, output: &Output) -> String {
    let mut output = output.clone();
    output.stdout = text(&output.stdout).replace(PROGRAM, "[PROGRAM]").into_bytes();
    shown(base, &output)
}

/// Writes a bash script as a program of this name.
fn fake(dir: &Path, name: &str, body: &str) -> PathBuf {
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    let path = dir.join("bin").join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Puts the fake programs first in `PATH`.
fn with_fake_programs(mut command: Command, dir: &Path) -> Command {
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", dir.join("bin").display()));
    command
}

fn assert_bash_parses(script: &[u8]) {
    use std::io::Write;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

/// All options, with values that contain shell syntax.
const ALL_OPTIONS: &[&str] = &[
    "submit",
    "plan b.toml",
    "--tasks",
    "4",
    "--print",
    "--exchange",
    "s3://bucket/a load",
    "--to",
    "merged results",
    "--time",
    "1-00:00:00",
    "--barrier-timeout",
    "90s",
    "--only",
    "us_*",
    "--prompt-sizes=small",
    "--set",
    "request.system=\"it's $PATH `id`\"",
    "--include-ramp",
    "--",
    "--partition=load",
    "-c",
    "4",
    "--comment=it's a load",
];

#[test]
fn minimal_script_has_the_required_slurm_options() {
    let (base, dir) = plan_in_awkward_dir();
    let output = command(&dir, &["submit", "plan b.toml", "--tasks", "2", "--print"]).output().unwrap();
    assert_bash_parses(&output.stdout);
    insta::assert_snapshot!("script", redacted(base.path(), &output));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing is written");
}

#[test]
fn script_contains_all_options() {
    let (base, dir) = plan_in_awkward_dir();
    let mut submit = command(&dir, ALL_OPTIONS);
    submit.env("TEST_DURATION", "90").env("BEDROCK_PLAN_RESULTS_DIR", "else where");
    let output = submit.output().unwrap();
    assert_bash_parses(&output.stdout);
    insta::assert_snapshot!("script_with_everything", redacted(base.path(), &output));
}

/// Runs the script with bash as Slurm does, with fakes of `srun` and of this program that log each argument.
#[test]
fn script_passes_arguments_unchanged() {
    let (base, dir) = plan_in_awkward_dir();
    let mut submit = command(&dir, ALL_OPTIONS);
    submit.env("TEST_DURATION", "90").env("BEDROCK_PLAN_RESULTS_DIR", "else where");
    let script = text(&submit.output().unwrap().stdout);
    fake(
        base.path(),
        "srun",
        r#"[ "$1 $2 $3 $4" = "--label --no-kill --wait=0 --kill-on-bad-exit=0" ] || exit 9; shift 4; "$@"; exit 137"#,
    );
    let log = base.path().join("log");
    let program = fake(
        base.path(),
        "program",
        &format!(
            r#"{{ printf '[%s]\n' "$@" "in $PWD" "TEST_DURATION=$TEST_DURATION cores=$SRUN_CPUS_PER_TASK"; echo; }} >> '{}'; [ "$1" = run ] || exit 3"#,
            log.display()
        ),
    );
    let script = script.replace(PROGRAM, &program.to_string_lossy());
    let path = base.path().join("script");
    std::fs::write(&path, script).unwrap();
    let mut job = with_fake_programs(Command::new("bash"), base.path());
    let output = job.arg(&path).env("SLURM_JOB_ID", "17").env("SLURM_CPUS_PER_TASK", "4").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "the merge's: {}", text(&output.stderr));
    insta::assert_snapshot!("arguments_of_the_script", redact(base.path(), &std::fs::read_to_string(log).unwrap()));
}

#[test]
fn script_merges_after_a_cancelled_job() {
    let (base, dir) = plan_in_awkward_dir();
    let output = command(&dir, &["submit", "plan b.toml", "--tasks", "2", "--print"]).output().unwrap();
    fake(base.path(), "srun", "kill -TERM $PPID; exit 143");
    let program = fake(base.path(), "program", "echo merging; exit 130");
    let path = base.path().join("script");
    std::fs::write(&path, text(&output.stdout).replace(PROGRAM, &program.to_string_lossy())).unwrap();
    let output = with_fake_programs(Command::new("bash"), base.path()).arg(&path).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(130), "merging\n".into()));
}

#[test]
fn results_directory_with_a_time_uses_the_job_id_instead() {
    let scene = Scene::new().plan(&format!("results_dir = \"runs/{{started}}-{{name}}\"\n{SHORT}"));
    let output = scene.expect(0, scene.command(&["submit", "plan.toml", "--tasks", "2", "--print"]));
    let script = redact(&scene.path(""), &text(&output.stdout));
    let line = script.lines().find(|line| line.starts_with("results=")).unwrap();
    assert!(line.ends_with("runs/job_${SLURM_JOB_ID}-plan"), "{line}");
}

#[test]
fn sbatch_is_run_on_request_and_its_output_is_shown() {
    let scene = Scene::new().plan(SHORT);
    let dir = scene.path("");
    fake(&dir, "sbatch", r#"echo "$@" > arguments; grep -c SBATCH "$1" > lines; echo "Submitted batch job 7""#);
    let submit = |more: &[&str]| {
        let mut arguments = vec!["submit", "plan.toml", "--tasks", "4"];
        arguments.extend(more);
        with_fake_programs(scene.command(&arguments), &dir)
    };
    let output = scene.expect(0, submit(&["--sbatch"]));
    assert_eq!(text(&output.stdout), "Submitted batch job 7\n");
    assert_eq!(std::fs::read_to_string(scene.path("arguments")).unwrap(), "plan.sbatch\n");
    assert_eq!(std::fs::read_to_string(scene.path("lines")).unwrap(), "7\n");

    std::fs::remove_file(scene.path("arguments")).unwrap();
    let output = scene.expect(0, submit(&["--script", "jobs/my load.sh", "--simulated"]));
    assert!(!scene.path("arguments").exists(), "without --sbatch nothing is submitted");
    let messages = redact(&dir, &text(&output.stderr));
    assert_bash_parses(&std::fs::read(scene.path("jobs/my load.sh")).unwrap());
    // A generated script is replaced, a foreign script is not.
    scene.expect(0, submit(&["--script", "jobs/my load.sh", "--time", "5"]));
    std::fs::write(scene.path("mine.sh"), "#!/bin/bash\nsrun something\n").unwrap();
    let refused = scene.expect(2, submit(&["--script", "mine.sh"]));
    assert!(std::fs::read_to_string(scene.path("mine.sh")).unwrap().contains("something"));

    fake(&dir, "sbatch", "echo 'sbatch: error: invalid partition specified: x' >&2; exit 1");
    let no = scene.expect(2, submit(&["--sbatch", "--", "-p", "x"]));
    let mut nowhere = submit(&["--sbatch"]);
    nowhere.env("PATH", "/nowhere");
    let absent = scene.expect(2, nowhere);
    let all = [&refused, &no, &absent].map(|output| redact(&dir, &text(&output.stderr)));
    insta::assert_snapshot!("submitted", format!("{messages}\n{}", all.join("\n")));
}

#[test]
fn invalid_jobs_are_not_submitted() {
    let scene = Scene::new().plan(SHORT);
    std::fs::create_dir(scene.path("there")).unwrap();
    std::fs::write(scene.path("there/manifest.json"), "{}").unwrap();
    let cases: &[&[&str]] = &[
        &["--tasks", "0"],
        &["--tasks", "2", "--user-counts", "0"],
        &["--tasks", "2", "--only", "nothing"],
        &["--tasks", "2", "--exchange", "http://bucket/x"],
        &["--tasks", "2", "--exchange", "s3://"],
        &["--tasks", "2", "--to", "there"],
        &["--tasks", "2", "--time", "an hour"],
        &["--tasks", "2", "--barrier-timeout", "-5"],
        &["--tasks", "2", "--", "--array=0-3"],
        &["--tasks", "2", "--", "--comment=two\nlines"],
        &["--tasks", "2", "--sbatch", "--print"],
    ];
    let mut all = String::new();
    for more in cases {
        let mut arguments = vec!["submit", "plan.toml"];
        arguments.extend(*more);
        let output = scene.expect(2, scene.command(&arguments));
        assert!(output.stdout.is_empty());
        all += &format!("{}\n{}\n", more.join(" "), redact(&scene.path(""), &text(&output.stderr)));
    }
    insta::assert_snapshot!("refused", all);
    assert!(!scene.path("plan.sbatch").exists());
}

#[test]
fn likely_problems_of_a_job_cause_warnings() {
    let scene = Scene::new().plan(SHORT);
    let arguments =
        ["submit", "plan.toml", "--tasks", "8", "--print", "--user-counts", "3,5,8", "--time", "10", "--drain=9m"];
    let output = scene.expect(0, scene.command(&arguments));
    insta::assert_snapshot!("warnings", text(&output.stderr));
    let script = text(&output.stdout);
    assert!(script.contains("--signal=TERM@570"), "what is in flight may take its time: {script}");

    // One minute of load and ten of drain; the signal is sent before the time limit.
    let mut submit = vec!["submit", "plan.toml", "--tasks", "2", "--print", "--test-duration", "60", "--drain", "10m"];
    submit.extend(["--barrier-timeout", "1s"]);
    let script = text(&scene.expect(0, scene.command(&submit)).stdout);
    assert!(script.contains("--time=00:30:00\n") && script.contains("--signal=TERM@630\n"), "{script}");
}

//! Who may know whom: the walls of DESIGN's house, read off the sources.

use std::path::{Path, PathBuf};

/// Room, and the rooms that it must not name.
const WALLS: &[(&str, &[&str])] = &[
    (
        "files",
        &[
            "plan",
            "config",
            "prompts",
            "matrix",
            "estimate",
            "record",
            "executor",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "units",
        &[
            "plan",
            "config",
            "prompts",
            "matrix",
            "estimate",
            "record",
            "executor",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "simulator",
        &[
            "plan", "config", "prompts", "matrix", "estimate", "record", "executor", "guard", "stats", "verdict",
            "report", "terminal", "cli", "error", "cluster", "app",
        ],
    ),
    (
        "plan",
        &[
            "config", "prompts", "matrix", "estimate", "record", "executor", "guard", "stats", "verdict", "report",
            "terminal", "cli", "error", "cluster", "app",
        ],
    ),
    (
        "matrix",
        &[
            "config",
            "prompts",
            "estimate",
            "record",
            "executor",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "prompts",
        &[
            "config",
            "matrix",
            "estimate",
            "record",
            "executor",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "record",
        &[
            "config",
            "prompts",
            "estimate",
            "executor",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "executor",
        &[
            "config",
            "estimate",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "stats",
        &[
            "config",
            "prompts",
            "estimate",
            "executor",
            "guard",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "verdict",
        &[
            "config",
            "prompts",
            "estimate",
            "executor",
            "guard",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "prices",
        &[
            "config",
            "prompts",
            "estimate",
            "record",
            "executor",
            "guard",
            "stats",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    (
        "cluster",
        &[
            "config",
            "prompts",
            "estimate",
            "guard",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    ("guard", &["config", "report", "terminal", "cli", "error", "cluster", "app", "simulator"]),
    (
        "report",
        &[
            "config",
            "prompts",
            "estimate",
            "executor",
            "guard",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    ("terminal", &["config", "executor", "guard", "record", "verdict", "cli", "error", "cluster", "app", "simulator"]),
    (
        "estimate",
        &[
            "config",
            "executor",
            "guard",
            "record",
            "stats",
            "verdict",
            "report",
            "terminal",
            "cli",
            "error",
            "cluster",
            "app",
            "simulator",
        ],
    ),
    ("cli", &["executor", "guard", "record", "stats", "verdict", "report", "terminal", "app", "simulator"]),
];

/// Crates that one place alone may use.
const OWNERS: &[(&str, &[&str])] = &[
    ("figment", &["src/config/merge.rs"]),
    ("hdrhistogram", &["src/stats/histogram.rs"]),
    ("aws_sdk_bedrockruntime", &["src/executor/bedrock.rs", "src/executor/prepared.rs", "src/executor/stream.rs"]),
    (
        "rustix",
        &[
            "src/executor/health.rs",
            "src/executor/cpu_quota.rs",
            "src/executor/pacer.rs",
            "src/app/limits.rs",
            "src/cluster/host.rs",
            "src/units/file.rs",
        ],
    ),
    ("cap_std", &["src/files.rs"]),
    ("cap_fs_ext", &["src/files.rs"]),
    ("object_store", &["src/cluster/store.rs", "src/cluster/http.rs"]),
    ("rtime_clock", &["src/cluster/clock.rs"]),
    ("indicatif", &["src/terminal/bar.rs"]),
    ("quick_xml", &["src/report/ci/junit.rs"]),
    ("minijinja", &["src/cluster/slurm.rs", "src/report/templates.rs"]),
    ("clap", &["src/cli.rs", "src/app/mod.rs"]),
];

fn sources() -> Vec<(String, String)> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(&root.join("src"), &mut files);
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Code without comments and without the tests at the end of a file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// A file of nothing but tests.
fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs") || name.contains("/tests/")
}

#[test]
fn rooms_know_only_what_they_may() {
    let sources = sources();
    let mut looked_at = 0;
    for (room, forbidden) in WALLS {
        let own = sources.iter().filter(|(name, _)| {
            *name == format!("src/{room}.rs") || name.starts_with(&format!("src/{room}/")) && !is_test(name)
        });
        for (name, text) in own {
            looked_at += 1;
            for other in *forbidden {
                assert!(!code(text).contains(&format!("crate::{other}")), "{name} knows {other}");
            }
        }
    }
    assert!(looked_at > 60, "only {looked_at} files");
}

#[test]
fn a_crate_that_has_an_owner_is_used_nowhere_else() {
    for (name, text) in sources().into_iter().filter(|(name, _)| !is_test(name)) {
        for (library, owners) in OWNERS {
            let uses = code(&text).contains(&format!("{library}::"));
            assert!(!uses || owners.contains(&name.as_str()), "{name} uses {library}");
        }
    }
}

#[test]
fn files_are_read_in_one_sitting_and_begin_with_what_they_are_for() {
    for (name, text) in sources() {
        assert!(text.lines().count() <= 600, "{name} is too long");
        assert!(text.starts_with("//!"), "{name} does not say what it is for");
    }
}

//! Which module may use which, and which file may import which: the rules of DESIGN's "Modules", read from the sources.

mod imports;

use imports::{Crate, sources, top_module};
use std::collections::{BTreeMap, BTreeSet};

/// Each top-level module of `src` and the modules that it may use. `units` may be used by all, `plan` by all but `units`,
/// `files` and `simulator`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("units", &[]),
    // Files below a directory, whatever their content.
    ("files", &[]),
    ("simulator", &[]),
    ("plan", &["simulator"]),
    ("matrix", &[]),
    ("prompts", &[]),
    ("prices", &["matrix"]),
    // The cost and duration of a plan before it runs.
    ("estimate", &["matrix", "prompts", "prices"]),
    // `simulator`: the simulator's settings are a part of the plan, with its defaults.
    ("config", &["matrix", "prompts", "prices", "simulator"]),
    // `files`: results are written below a directory handle, and never through a link.
    ("record", &["files", "matrix", "prices"]),
    ("result", &["matrix"]),
    ("executor", &["matrix", "prompts", "record"]),
    ("stats", &["matrix", "record", "prices", "result"]),
    ("verdict", &["matrix", "stats", "record", "result"]),
    ("guard", &["executor", "matrix", "prompts", "prices", "record", "stats", "verdict"]),
    // `files`: an exchange in a directory, and the results of a shard.
    ("cluster", &["matrix", "record", "executor", "files"]),
    // Beside the result: the view of thresholds, tiers, machines and prices is computed from what `stats` and `verdict` keep.
    ("report", &["result", "matrix", "record", "stats", "verdict", "prices"]),
    // `estimate`, `matrix`, `prices`: the plan is printed before it runs. `report`: tables print the views of a report.
    ("terminal", &["result", "stats", "report", "estimate", "matrix", "prices"]),
    ("cli", &["config"]),
    ("error", &["config", "executor", "cluster", "matrix", "record", "report", "verdict"]),
    // Tests of the parsers of several modules.
    ("fuzz", EVERYTHING),
    ("app", EVERYTHING),
];

const EVERYTHING: &[&str] = &["*"];

/// Modules that others use through one file.
const INTERFACES: &[(&str, &str, &str)] =
    &[("guard", "executor", "src/executor/port.rs"), ("cluster", "executor", "src/executor/port.rs")];

/// Crates that only some files may use.
const OWNERS: &[(&str, &[&str])] = &[
    ("figment", &["src/config/merge.rs"]),
    ("hdrhistogram", &["src/stats/histogram.rs"]),
    (
        "aws_sdk_bedrockruntime",
        &["src/executor/answer.rs", "src/executor/bedrock.rs", "src/executor/prepared.rs", "src/executor/stream.rs"],
    ),
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
    ("quick_junit", &["src/report/ci/junit.rs"]),
    ("minijinja", &["src/cluster/slurm.rs", "src/report/templates.rs"]),
    ("clap", &["src/cli.rs", "src/app/mod.rs"]),
];

/// The most lines of a source file without its tests.
const MAX_LINES: usize = 513;

fn may_use(module: &str, used: &str) -> bool {
    let allowed = ALLOWED.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
    let allowed = allowed.unwrap_or_else(|| panic!("module `{module}` has no row in ALLOWED"));
    match used {
        "units" => true,
        "plan" => !["files", "simulator"].contains(&module),
        _ => allowed == EVERYTHING || allowed.contains(&used),
    }
}

#[test]
fn modules_use_only_the_modules_below_them() {
    let krate = Crate::new(&sources());
    let imports = krate.imports();
    let mut forbidden = Vec::new();
    for file in krate.files().filter(|file| !file.is_root()) {
        let module = file.top_module();
        for import in imports[&file.name[..]].iter().filter(|import| import.module != module) {
            let interface = INTERFACES.iter().find(|(user, used, _)| (*user, *used) == (module, &import.module));
            if !may_use(module, &import.module) || interface.is_some_and(|(_, _, file)| import.file != *file) {
                forbidden.push(format!("{} uses {} ({})", file.name, import.module, import.file));
            }
        }
    }
    assert!(forbidden.is_empty(), "not allowed by ALLOWED or INTERFACES: {forbidden:#?}");
}

#[test]
fn allowed_dependencies_have_no_cycle() {
    for (place, (module, allowed)) in ALLOWED.iter().enumerate() {
        // A row may only name modules of rows above it.
        let below: Vec<&str> = ALLOWED[..place].iter().map(|(name, _)| *name).collect();
        let wrong: Vec<_> = allowed.iter().filter(|used| **used != "*" && !below.contains(used)).collect();
        assert!(wrong.is_empty(), "`{module}` may use {wrong:?}, which are not above it");
    }
}

#[test]
fn no_files_of_a_module_import_each_other_in_a_cycle() {
    let cycles = cycles(&Crate::new(&sources()));
    assert!(cycles.is_empty(), "move what they share to a file below them: {cycles:#?}");
}

/// Returns the groups of files of one module that import each other directly or through others.
fn cycles(krate: &Crate) -> Vec<Vec<String>> {
    let imports = krate.imports();
    let imported = |file: &str| -> BTreeSet<String> {
        let own = imports[file].iter().filter(|import| top_module(&import.file) == top_module(file));
        own.map(|import| import.file.clone()).collect()
    };
    let reachable = |file: &str| {
        let (mut found, mut open) = (BTreeSet::new(), imported(file));
        while let Some(next) = open.pop_first() {
            open.extend(imported(&next).difference(&found).cloned());
            found.insert(next);
        }
        found
    };
    let reachable: BTreeMap<&str, BTreeSet<String>> = imports.keys().map(|file| (*file, reachable(file))).collect();
    let cycle = |file: &str| -> Vec<String> {
        reachable[file].iter().filter(|other| reachable[&other[..]].contains(file)).cloned().collect()
    };
    let mut cycles: Vec<_> = imports.keys().map(|file| cycle(file)).filter(|cycle| !cycle.is_empty()).collect();
    cycles.sort();
    cycles.dedup();
    cycles
}

#[test]
fn imports_are_resolved_to_the_defining_file() {
    let sources = [
        ("src/lib.rs", "mod a; mod b;"),
        ("src/a/mod.rs", "mod one; mod two; pub(crate) use one::One; pub(crate) use two::{Two as Second, *};"),
        (
            "src/a/one.rs",
            "//! use crate::b::B;\nuse super::Second; use std::fmt; struct One; fn f() -> fmt::Result { \"crate::b::B\" }",
        ),
        ("src/a/two.rs", "use super::one; pub struct Two(one::One); pub fn third() { let path = '\"'; crate::b::f() }"),
        ("src/b.rs", "use crate::a::{One, third}; fn f() {} #[cfg(test)] mod tests { use crate::c::D; }"),
    ];
    let krate = Crate::new(&sources.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let imports = krate.imports();
    let files = |name: &str| imports[name].iter().map(|import| &import.file[..]).collect::<Vec<_>>();
    assert_eq!(files("src/a/mod.rs"), [""; 0], "it only re-exports");
    assert_eq!(files("src/a/one.rs"), ["src/a/two.rs", "src/b.rs"]);
    assert_eq!(files("src/a/two.rs"), ["src/a/one.rs", "src/b.rs"]);
    assert_eq!(files("src/b.rs"), ["src/a/one.rs", "src/a/two.rs"]);
    assert_eq!(cycles(&krate), [["src/a/one.rs", "src/a/two.rs"]]);
}

#[test]
fn crates_with_owners_are_used_nowhere_else() {
    for file in Crate::new(&sources()).files() {
        for (library, owners) in OWNERS.iter().filter(|(library, _)| file.uses_crate(library)) {
            assert!(owners.contains(&&file.name[..]), "{} uses {library}", file.name);
        }
    }
}

#[test]
fn files_are_short_and_start_with_their_purpose() {
    for (name, text) in sources() {
        let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
        let (code, max_lines) = match text.split_once("#[cfg(test)]\nmod tests") {
            _ if is_test => (&text[..], 700),
            Some((code, _)) => (code, MAX_LINES),
            None => (&text[..], MAX_LINES),
        };
        let lines = code.lines().count();
        assert!(lines <= max_lines, "{name} has {lines} lines, tests excluded: at most {max_lines} are allowed");
        assert!(text.starts_with("//!"), "{name} does not state its purpose");
    }
}

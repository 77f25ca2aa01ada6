//! `docs/architecture.md` names files and types that exist.

use regex_lite::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn page() -> String {
    fs::read_to_string(root().join("docs/architecture.md")).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn captures(pattern: &str, text: &str) -> Vec<Vec<String>> {
    let captures = Regex::new(pattern).unwrap();
    captures.captures_iter(text).map(|found| (1..found.len()).map(|group| found[group].to_owned()).collect()).collect()
}

#[test]
fn paths_and_links_exist() {
    let page = page();
    let paths = captures(r"`((?:src|tests|docs|templates|plans|prices|benches|deploy|prompts)/[\w./-]*)`", &page);
    let links = captures(r"\]\(([^)#]+)\)", &page).into_iter().filter(|link| !link[0].starts_with("http"));
    let files: Vec<String> =
        paths.into_iter().flatten().chain(links.flatten().map(|link| format!("docs/{link}"))).collect();
    assert!(files.len() > 80, "{}", files.len());
    let missing: Vec<&String> = files.iter().filter(|file| !root().join(file).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Checks each walk: its steps are numbered, each names a type that occurs in its file, and the totals are right.
#[test]
fn steps_of_the_walks_name_types_of_their_files() {
    let page = page();
    for name in ["user_counts", "p95"] {
        let walk = page.split_once(&format!("<!-- walk: {name} -->\n")).unwrap().1;
        let (steps, end) = walk.split_once("\nFiles: ").unwrap();
        let (mut files, mut types) = (BTreeSet::new(), BTreeSet::new());
        let found = captures(r"(?m)^(\d+)\. `(src/[\w/]+\.rs)`: `(\w+)`: .+$", steps);
        assert_eq!(found.len(), steps.lines().filter(|line| !line.is_empty()).count(), "{name}");
        for (index, step) in found.iter().enumerate() {
            let [number, file, kind] = step.as_slice() else { unreachable!() };
            assert_eq!(*number, (index + 1).to_string());
            let source = fs::read_to_string(root().join(file)).unwrap();
            let is_named = Regex::new(&format!(r"\b{kind}\b")).unwrap().is_match(&source);
            assert!(is_named, "step {number} of {name}: {file} does not name `{kind}`");
            files.insert(file);
            types.insert(kind);
        }
        assert!(
            end.starts_with(&format!("{}. Types: {}.", files.len(), types.len())),
            "{name}: {} {}",
            files.len(),
            types.len()
        );
    }
}

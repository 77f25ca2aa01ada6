//! `show` and `--help`, and every shipped plan.

use crate::support::{command, shown};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn plans() -> Vec<PathBuf> {
    let mut plans: Vec<PathBuf> = std::fs::read_dir(repository().join("plans"))
        .unwrap()
        .map(|entry| PathBuf::from("plans").join(entry.unwrap().file_name()))
        .collect();
    plans.sort();
    plans
}

#[test]
fn every_shipped_plan_expands() {
    let plans = plans();
    assert!(plans.len() >= 5);
    for plan in plans {
        let output = command(repository(), &["show", plan.to_str().unwrap()]).output().unwrap();
        let name = format!("plan_{}", plan.file_stem().unwrap().to_str().unwrap());
        insta::assert_snapshot!(name, shown(repository(), &output));
    }
}

#[test]
fn without_a_plan_the_defaults_are_the_27_cells() {
    let dir = tempfile::tempdir().unwrap();
    let output = command(dir.path(), &["show", "--format", "json"]).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["cells"].as_array().unwrap().len(), 27);
    insta::assert_snapshot!(shown(dir.path(), &output));
}

#[test]
fn printed_plan_has_the_same_matrix() {
    let dir = tempfile::tempdir().unwrap();
    // File paths in a printed plan are relative to the plan, so the copy is written to the same directory.
    for folder in ["plans", "prompts"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
        for file in std::fs::read_dir(repository().join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), dir.path().join(folder).join(file.file_name())).unwrap();
        }
    }
    for plan in plans() {
        let plan = dir.path().join(plan);
        let show = |arguments: &[&str]| command(dir.path(), arguments).output().unwrap().stdout;
        let toml = show(&["show", plan.to_str().unwrap(), "--format", "toml", "--set", "simulator.ttft=33ms"]);
        std::fs::write(dir.path().join("plans/again.toml"), &toml).unwrap();
        let json = |stdout: Vec<u8>| serde_json::from_slice::<Value>(&stdout).unwrap();
        let first = json(show(&["show", plan.to_str().unwrap(), "--format", "json", "--set", "simulator.ttft=33ms"]));
        let again = json(show(&["show", "plans/again.toml", "--format", "json"]));
        for part in ["plan", "cells", "estimate"] {
            assert_eq!(first[part], again[part], "{part} of {}", plan.display());
        }
    }
}

#[test]
fn ids_stay_unique_and_safe_with_several_models() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "show",
        "--model-id",
        "amazon.nova-2-lite-v1:0,vendor.nova-2-lite-v2:0,arn:aws:bedrock:us-east-1:1:inference-profile/us.x",
        "--region-prefixes",
        "none",
        "--service-tiers",
        "flex",
        "--prompt-sizes",
        "small",
        "--user-counts",
        "1",
        "--format",
        "json",
    ];
    let json: Value = serde_json::from_slice(&command(dir.path(), &arguments).output().unwrap().stdout).unwrap();
    let ids: Vec<&str> = json["cells"].as_array().unwrap().iter().map(|cell| cell["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["nova-2-lite_none_flex_small_u1", "nova-2-lite-2_none_flex_small_u1", "x_none_flex_small_u1"]);
}

#[test]
fn help_lists_all_options() {
    let dir = tempfile::tempdir().unwrap();
    for subcommand in ["run", "show", "report", "baseline", "compare", "simulate"] {
        let output = command(dir.path(), &[subcommand, "--help"]).output().unwrap();
        insta::assert_snapshot!(format!("help_{subcommand}"), shown(dir.path(), &output));
    }
    let output = command(dir.path(), &["--help"]).output().unwrap();
    insta::assert_snapshot!("help", shown(dir.path(), &output));
}

#[test]
fn estimate_is_the_same_in_every_unit() {
    let dir = tempfile::tempdir().unwrap();
    let seconds = |duration: &str| {
        let arguments = [
            "show",
            "--format",
            "json",
            "--user-counts",
            "1",
            "--prompt-sizes",
            "small",
            "--service-tiers",
            "flex,default",
            "--test-duration",
            duration,
        ];
        let json: Value = serde_json::from_slice(&command(dir.path(), &arguments).output().unwrap().stdout).unwrap();
        json["estimate"]["seconds"].as_f64().unwrap()
    };
    // Two cells and one cool-down of two seconds.
    assert!(
        (seconds("30s") - 62.0).abs() < 1e-9
            && (seconds("5m") - 602.0).abs() < 1e-9
            && (seconds("1h30m") - 10_802.0).abs() < 1e-9
    );
}

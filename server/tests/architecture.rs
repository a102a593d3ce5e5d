//! Holds the map of docs/ARCHITECTURE.md: which crate may use which, what each manifest may hold, how files begin.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Normal dependencies of each crate of ours, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    packages
        .iter()
        .map(|package| {
            let normal = package["dependencies"]
                .as_array()
                .expect("dependencies")
                .iter()
                .filter(|d| d["kind"].is_null());
            (text(&package["name"]), normal.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

#[test]
fn crates_use_only_the_crates_below_them() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("protocol", &[][..]),
        ("tenancy", &[]),
        ("realtime", &["protocol"]),
        ("api", &["protocol", "realtime", "tenancy"]),
        ("outbound", &[]),
        ("billing", &["outbound", "tenancy"]),
        ("dashboard", &["billing", "outbound", "protocol", "tenancy"]),
        ("fakestripe", &[]),
        ("bench", &[]),
        ("fanfare", &["protocol", "realtime", "tenancy", "billing", "outbound", "api", "dashboard", "bench"]),
    ]);
    let all = dependencies();
    let ours: BTreeSet<&str> = all.keys().map(String::as_str).collect();
    assert_eq!(ours, allowed.keys().copied().collect(), "a new crate needs a line here and on the map");
    for (name, uses) in &all {
        for used in uses.iter().filter(|used| ours.contains(used.as_str())) {
            assert!(allowed[name.as_str()].contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn the_protocol_does_no_io_and_only_storage_knows_sql() {
    let all = dependencies();
    for forbidden in ["tokio", "mio", "sqlx", "hyper", "axum"] {
        assert!(!all["protocol"].contains(forbidden), "protocol must not use {forbidden}");
    }
    for (name, uses) in all.iter().filter(|(name, _)| *name != "tenancy") {
        assert!(!uses.contains("sqlx"), "{name} must not use sqlx");
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != "target" && name != "node_modules" {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let mut files = Vec::new();
    for member in [
        "protocol",
        "realtime",
        "tenancy",
        "outbound",
        "billing",
        "fakestripe",
        "api",
        "dashboard",
        "bench",
        "server",
        "fuzz",
    ] {
        rust_files(&root().join(member), &mut files);
    }
    assert!(files.len() > 50, "the crates are where this test looks for them");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        assert!(text.starts_with("//!"), "{} must open with its purpose", file.display());
    }
}

#[test]
fn every_setting_is_documented() {
    let docs = std::fs::read_to_string(root().join("docs/CONFIG.md")).expect("docs/CONFIG.md");
    for setting in server::config::SETTINGS {
        let name = format!("`FANFARE_{}`", setting.name.to_uppercase());
        assert!(docs.contains(&name), "docs/CONFIG.md must name {name}");
    }
}

//! Who may depend on whom: `layers.txt` held against what cargo says.

use crate::finding::Finding;
use serde_json::Value;
use std::collections::BTreeMap;

const PREFIX: &str = "milena-";

/// What one line of `layers.txt` allows.
#[derive(Default)]
struct Allowed {
    always: Vec<String>,
    tests: Vec<String>,
}

pub(super) fn check(layers: &str, metadata: &Value) -> Result<Vec<Finding>, String> {
    let allowed = parse(layers)?;
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    for package in metadata["packages"].as_array().ok_or("cargo metadata lists no packages")? {
        let Some(name) = package["name"].as_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        seen.push(name);
        match allowed.get(name) {
            Some(allowed) => findings.extend(check_package(name, package, allowed)),
            None => findings.push(Finding::of(name, "is not named in crates/xtask/layers.txt")),
        }
    }
    let gone = allowed.keys().filter(|name| !seen.contains(&name.as_str()));
    findings.extend(gone.map(|name| Finding::of(name, "stands in crates/xtask/layers.txt but is no crate")));
    Ok(findings)
}

fn check_package(name: &str, package: &Value, allowed: &Allowed) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let Some(on) = dependency["name"].as_str().and_then(|on| on.strip_prefix(PREFIX)) else { continue };
        let for_tests = dependency["kind"].as_str() == Some("dev");
        let permitted = |list: &[String]| list.iter().any(|entry| entry == on);
        if !(permitted(&allowed.always) || for_tests && permitted(&allowed.tests)) {
            findings.push(Finding::of(name, format!("may not depend on {on} (crates/xtask/layers.txt)")));
        }
        if name == "server" && on == "client" && dependency["uses_default_features"].as_bool() != Some(false) {
            let what = "takes the whole client; it may take the transport alone (default-features = false)";
            findings.push(Finding::of(name, what));
        }
    }
    findings
}

fn parse(layers: &str) -> Result<BTreeMap<String, Allowed>, String> {
    let mut all = BTreeMap::new();
    for line in layers.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, rest) = line.split_once(':').ok_or_else(|| format!("layers.txt: no colon in {line:?}"))?;
        let (always, tests) = rest.split_once("tests:").unwrap_or((rest, ""));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        all.insert(name.trim().to_owned(), Allowed { always: words(always), tests: words(tests) });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LAYERS: &str = "# why\nbase:\nclient: base\npartition: base tests: disk\nserver: base client\ndisk: base";

    fn check_one(name: &str, dependency: Value) -> Vec<String> {
        let names = ["base", "client", "partition", "server", "disk"].into_iter();
        let mut packages: Vec<Value> =
            names.filter(|other| *other != name).map(|other| json!({"name": format!("milena-{other}")})).collect();
        packages.push(json!({"name": format!("milena-{name}"), "dependencies": [dependency]}));
        let findings = check(LAYERS, &json!({ "packages": packages })).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_allowed_dependency_passes() {
        assert!(check_one("client", json!({"name": "milena-base", "kind": null})).is_empty());
        assert!(check_one("partition", json!({"name": "milena-disk", "kind": "dev"})).is_empty());
        assert!(check_one("client", json!({"name": "bytes", "kind": null})).is_empty());
    }

    #[test]
    fn a_dependency_that_the_file_does_not_allow_is_found() {
        let found = check_one("base", json!({"name": "milena-client", "kind": null}));
        assert_eq!(found, ["base: may not depend on client (crates/xtask/layers.txt)"]);
    }

    #[test]
    fn what_tests_may_use_the_crate_itself_may_not() {
        assert_eq!(check_one("partition", json!({"name": "milena-disk", "kind": null})).len(), 1);
    }

    #[test]
    fn the_server_may_not_take_the_whole_client() {
        let dependency = json!({"name": "milena-client", "kind": null, "uses_default_features": true});
        assert_eq!(check_one("server", dependency).len(), 1);
    }

    #[test]
    fn a_crate_without_a_line_and_a_line_without_a_crate_are_found() {
        let findings = check("base:\nghost:", &json!({"packages": [{"name": "milena-new"}, {"name": "milena-base"}]}));
        assert_eq!(findings.unwrap().len(), 2);
    }
}

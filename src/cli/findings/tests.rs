use clap::Parser as _;

use super::*;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    report: ReportArgs,
}

fn findings() -> Vec<Finding> {
    let finding = |code, name, path: &str, place: Option<(&str, u32)>| Finding {
        code,
        object: Some(ObjectRef::new("VirtualService", "default", name)),
        path: path.to_owned(),
        value: None,
        message: "is wrong".to_owned(),
        place: place.map(|(file, line)| Place { file: file.into(), line }),
    };
    vec![
        finding(Code::GatewayUnknown, "b", "spec.gateways", None),
        finding(Code::PortProtocolGuessed, "a", "", Some(("b.yaml", 3))),
        finding(Code::SchemaViolated, "a", "spec.http", Some(("b.yaml", 2))),
        finding(Code::GatewayUnknown, "c", "spec.gateways", Some(("a.yaml", 7))),
    ]
}

fn render(args: &[&str]) -> (String, bool) {
    let cli = Cli::try_parse_from(std::iter::once("x").chain(args.iter().copied())).unwrap();
    let scope = Scope { objects: 4, files: 2, skipped: 1 };
    let unchecked = vec!["Secrets: they may not be listed".to_owned()];
    let report = Report { findings: findings(), scope, unchecked };
    let (text, code) = cli.report.render(report, Terminal::plain()).unwrap();
    (text, code == ExitCode::SUCCESS)
}

#[test]
fn findings_are_in_the_order_of_files_and_lines() {
    let (text, clean) = render(&[]);
    let heads: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(
        heads,
        [
            "a.yaml:7: warning: VirtualService default/c: spec.gateways: is wrong [MZ1001]",
            "b.yaml:2: error: VirtualService default/a: spec.http: is wrong [MZ0011]",
            "b.yaml:3: info: VirtualService default/a: is wrong [MZ1110]",
            "warning: VirtualService default/b: spec.gateways: is wrong [MZ1001]",
            "not checked: Secrets: they may not be listed",
            "1 error, 2 warnings, 1 info in 4 objects of 2 files (1 of other kinds skipped)",
        ]
    );
    assert!(!clean && text.contains(&format!("\n    hint: {}\n", Code::SchemaViolated.hint())));
}

#[test]
fn what_is_shown_and_what_fails_can_be_chosen() {
    let (text, clean) = render(&["--severity", "error", "--suppress", "MZ1001=*/*/c"]);
    assert!(text.ends_with("(1 of other kinds skipped, 1 suppressed, 2 below --severity not shown)\n"), "{text}");
    assert!(!clean && !text.contains("MZ1001"));
    assert!(render(&["--suppress", "schema-violated"]).1);
    assert!(!render(&["--suppress", "schema-violated", "--fail-on", "warning"]).1);
    assert!(render(&["--suppress", "MZ*", "--fail-on", "info"]).1);
}

#[test]
fn machines_read_the_same() {
    let json: Value = serde_json::from_str(&render(&["-o", "json"]).0).unwrap();
    let yaml: Value = serde_yaml_ng::from_str(&render(&["-o", "yaml"]).0).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(json["findings"][1]["code"], "MZ0011");
    assert_eq!((&json["findings"][1]["file"], &json["findings"][1]["line"]), (&json!("b.yaml"), &json!(2)));
    assert_eq!(json["summary"]["warnings"], 2);
    assert_eq!(json["unchecked"], json!(["Secrets: they may not be listed"]));
    let sarif: Value = serde_json::from_str(&render(&["-o", "sarif"]).0).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["results"].as_array().map(Vec::len), Some(4));
    let notes = &run["invocations"][0]["toolExecutionNotifications"];
    assert_eq!(notes[0]["message"]["text"], "Secrets: they may not be listed");
    let results = run["results"].as_array().unwrap();
    for result in results {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!((&rule["id"], rule["help"]["text"].is_string()), (&result["ruleId"], true));
    }
    assert_eq!(results[1]["locations"][0]["physicalLocation"]["region"]["startLine"], 2);
}

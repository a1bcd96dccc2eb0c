//! `truc edxml check --json` reads a packet to the fields that the axis SDK's parser gives for it (`testdata/*.json`), but for what that one
//! makes of them: midnight behind every date, `cid:` before content ids.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// A field of the SDK's model under the name that it has in the packet, and whether its list has elements of another name inside.
fn element(name: &str) -> (String, Option<&'static str>) {
    match name {
        "toes" => ("To".into(), None),
        "references" => ("Reference".into(), None),
        "attachments" => ("Attachment".into(), None),
        "traceHeaders" => ("TraceHeader".into(), None),
        "name" => ("AttachmentName".into(), None),
        "size" => ("bytes".into(), None),
        "sha256" => ("sha256".into(), None),
        "appendixes" => ("Appendixes".into(), Some("Appendix")),
        "toPlaces" => ("ToPlaces".into(), Some("Place")),
        "receiverList" => ("ReceiverList".into(), Some("Receiver")),
        name => (name.get(..1).unwrap_or_default().to_uppercase() + name.get(1..).unwrap_or_default(), None),
    }
}

/// The SDK's object as paths and texts.
fn expected(value: &Value, path: &str, found: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, field) in fields {
                // Levels that the model has and the packet has not.
                if matches!(name.as_str(), "header" | "body" | "manifest" | "content") && field.is_object() {
                    expected(field, path, found);
                    continue;
                }
                let (name, inside) = element(name);
                let name = inside.map_or(name.clone(), |inside| format!("{name}/{inside}"));
                match field {
                    Value::Array(items) => {
                        for (n, item) in items.iter().enumerate() {
                            let number = if items.len() > 1 { format!("[{}]", n + 1) } else { String::new() };
                            expected(item, &below(&format!("{name}{number}")), found);
                        }
                    }
                    field => expected(field, &below(&name), found),
                }
            }
        }
        Value::String(text) => {
            let text = text.strip_suffix(" 00:00:00").unwrap_or(text).trim_start_matches("cid:");
            found.insert(path.to_owned(), text.to_owned());
        }
        other => _ = found.insert(path.to_owned(), other.to_string()),
    }
}

#[test]
fn a_packet_is_read_to_the_same_fields_as_by_the_sdks_parser() {
    let mut packets = 0;
    for entry in std::fs::read_dir(testdata()).unwrap() {
        let packet = entry.unwrap().path();
        if packet.extension().is_none_or(|extension| extension != "edxml") {
            continue;
        }
        let model: Value = serde_json::from_slice(&std::fs::read(packet.with_extension("json")).unwrap()).unwrap();
        let mut wanted = BTreeMap::new();
        expected(&model, "", &mut wanted);
        let arguments = ["--json", "edxml", "check", packet.to_str().unwrap()];
        let output = Command::new(env!("CARGO_BIN_EXE_truc")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let field =
            |field: &Value| (field["path"].as_str().unwrap().to_owned(), field["value"].as_str().unwrap().to_owned());
        let mut read: BTreeMap<String, String> = report["fields"].as_array().unwrap().iter().map(field).collect();
        // How it travelled is nothing that the SDK tells.
        read.retain(|path, _| !path.ends_with("/form"));
        assert_eq!(read, wanted, "{}", packet.display());
        assert_eq!(report["warnings"], serde_json::json!([]), "{}", packet.display());
        packets += 1;
    }
    assert!(packets > 0);
}

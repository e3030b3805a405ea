//! Writes, for every struct, what the proof of the codec needs: its values told by Kafka's names, and values made up.

use std::fmt::Write;

use crate::definition::{Field, Message, Struct, Type, Versions};
use crate::emit::{condition, differs, ident};

/// `Prove` for all structs of a message.
pub(crate) fn prove(message: &Message, out: &mut String) {
    for shape in &message.structs {
        let _ = writeln!(
            out,
            "impl crate::proof::Prove for {} {{\n{}{}}}",
            shape.name,
            tell(message, shape),
            make_up(message, shape)
        );
    }
}

/// Tells the fields that the version has; of tagged ones those that are written.
fn tell(message: &Message, shape: &Struct) -> String {
    let mut out = String::from("fn tell(&self, version: i16, json: &mut crate::proof::Json) {\njson.open('{');\n");
    for field in &shape.fields {
        let name = camel(&field.name);
        let place = format!("self.{}", ident(field));
        let line = match field.kind {
            Type::Records => format!("json.records(\"{name}\", &{place});\n"),
            _ => format!("json.field(\"{name}\");\ncrate::proof::Prove::tell(&{place}, version, json);\n"),
        };
        let mut tests = Vec::new();
        tests.extend(condition(field.versions, message.versions));
        if let Some((_, tagged)) = field.tag {
            let written = differs(field);
            tests.push(match condition(tagged, message.versions) {
                None => format!("({written})"),
                Some(tagged) => format!("(!({tagged}) || {written})"),
            });
        }
        match tests.is_empty() {
            true => out += &line,
            false => {
                let _ = writeln!(out, "if {} {{\n{line}}}", tests.join(" && "));
            }
        }
    }
    out += "let _ = version;\njson.close('}');\n}\n";
    out
}

/// Makes up the fields that the version has; the others keep their defaults.
fn make_up(message: &Message, shape: &Struct) -> String {
    let mut out = String::from(
        "fn make_up(chance: &mut crate::proof::Chance, version: i16) -> Self {\nlet mut value = Self::default();\n",
    );
    for field in &shape.fields {
        let made = made_up(message, field);
        let line = format!("value.{} = {made};\n", ident(field));
        match condition(field.versions, message.versions) {
            None => out += &line,
            Some(test) => {
                let _ = writeln!(out, "if {test} {{\n{line}}}");
            }
        }
    }
    out += "let _ = (chance, version);\nvalue\n}\n";
    out
}

fn made_up(message: &Message, field: &Field) -> String {
    let any = "crate::proof::Prove::make_up(chance, version)".to_owned();
    if field.nullable == Versions::NONE {
        return any;
    }
    let (some, none) = match field.kind {
        Type::Records => (any, "Records::Null"),
        _ => (format!("Some({any})"), "None"),
    };
    let allowed = condition(field.nullable, message.versions).map_or(String::new(), |test| format!("{test} && "));
    format!("if {allowed}chance.one_in(3) {{ {none} }} else {{ {some} }}")
}

/// `TopicId` becomes `topicId`.
fn camel(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or(String::new(), |first| first.to_ascii_lowercase().to_string() + characters.as_str())
}

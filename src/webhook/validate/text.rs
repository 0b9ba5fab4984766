//! Findings as an API server passes them on.

use crate::{model::Severity, validate::Finding};

/// How a refusal begins (contract §10).
const INVALID: &str = "configuration is invalid:";
/// How many errors are told; whoever mends them hears of the rest.
const MOST_ERRORS: usize = 20;
/// The longest line of a refusal, in bytes.
const LONGEST_LINE: usize = 1024;
/// The longest warning that reaches a client for certain, in bytes.
const LONGEST_WARNING: usize = 256;
/// All warnings of a request together have 4,096 bytes, and the API server's own count too.
const MOST_WARNINGS: usize = 12;

/// Why an object is refused; `None` without errors.
pub(super) fn refusal(findings: &[Finding]) -> Option<String> {
    let lines: Vec<String> = of(findings, Severity::Error).map(line).collect();
    match &lines[..] {
        [] => None,
        [one] => Some(format!("{INVALID} {one}")),
        _ => {
            let more = lines.len().saturating_sub(MOST_ERRORS);
            let mut text = INVALID.to_owned();
            lines.iter().take(MOST_ERRORS).for_each(|line| text += &format!("\n  {line}"));
            if more > 0 {
                text += &format!("\n  and {more} more errors: `mizzen validate` lists them");
            }
            Some(text)
        }
    }
}

/// An error and what to do.
fn line(finding: &Finding) -> String {
    format!("{}: {}", cut(finding, LONGEST_LINE), finding.code.hint())
}

/// What is told to the user although the object is taken, or beside why it is not.
pub(super) fn warnings(findings: &[Finding]) -> Vec<String> {
    let mut all: Vec<String> = of(findings, Severity::Warning).map(|finding| cut(finding, LONGEST_WARNING)).collect();
    let more = all.len().saturating_sub(MOST_WARNINGS);
    if more > 0 {
        all.truncate(MOST_WARNINGS);
        all.push(format!("and {more} more warnings: `mizzen validate` lists them"));
    }
    all
}

fn of(findings: &[Finding], severity: Severity) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(move |finding| finding.code.severity() == severity)
}

/// A finding on one line of so many bytes at most. The code at its end stays.
fn cut(finding: &Finding, longest: usize) -> String {
    // What a user wrote may be quoted; a control character would make the API server drop all of it.
    let text = finding.to_string().replace(char::is_control, " ");
    if text.len() <= longest {
        return text;
    }
    let end = format!("… [{}]", finding.code);
    format!("{}{end}", &text[..text.floor_char_boundary(longest - end.len())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Code, ObjectRef};

    fn finding(code: Code, path: &str, message: &str) -> Finding {
        let object = ObjectRef::new("Gateway", "ns", "g");
        Finding { code, object, path: path.to_owned(), value: None, message: message.to_owned() }
    }

    #[test]
    fn a_refusal_tells_each_error_with_what_to_do() {
        let port = finding(Code::PortOutOfRange, "spec.servers[0].port.number", "0 is no port");
        let hint = Code::PortOutOfRange.hint();
        let one = refusal(std::slice::from_ref(&port)).expect("refused");
        let line = format!("spec.servers[0].port.number: 0 is no port [MZ0106]: {hint}");
        assert_eq!(one, format!("configuration is invalid: {line}"));
        let warning = finding(Code::FieldNotHonoured, "spec.x", "not honoured yet");
        let two = refusal(&[port.clone(), warning.clone(), port.clone()]).expect("refused");
        assert_eq!(two, format!("configuration is invalid:\n  {line}\n  {line}"));
        assert_eq!(refusal(&[warning]), None);
        let many = refusal(&vec![port; 50]).expect("refused");
        assert!(many.ends_with("\n  and 30 more errors: `mizzen validate` lists them"), "{many}");
    }

    #[test]
    fn warnings_are_bounded_and_keep_their_codes() {
        let long = finding(Code::FieldNotHonoured, "spec.x", &format!("is\n{}", "é".repeat(400)));
        let told = warnings(&vec![long; 20]);
        assert_eq!(told.len(), MOST_WARNINGS + 1);
        assert!(told[0].len() <= LONGEST_WARNING && told[0].starts_with("spec.x: is éé"), "{}", told[0]);
        assert!(told[0].ends_with("é… [MZ0101]"), "{}", told[0]);
        assert_eq!(told[MOST_WARNINGS], "and 8 more warnings: `mizzen validate` lists them");
        assert!(told.iter().map(String::len).sum::<usize>() < 4096);
    }
}

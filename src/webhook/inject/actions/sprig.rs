//! Functions of the library sprig, which Istio's templates may call. Those that change a map in place, ask for the time or
//! for random numbers are not there.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gotmpl::Value;

use super::{
    functions::{Function, Given, count, exactly, shown, text, whole},
    json::{entries, map},
};

/// By name.
pub(super) const FUNCTIONS: &[Function] = &[
    // Texts.
    ("b64dec", |args| {
        let bytes = STANDARD.decode(one_text(args)?).map_err(|error| error.to_string())?;
        Ok(Value::from(String::from_utf8(bytes).map_err(|error| error.to_string())?))
    }),
    ("b64enc", |args| Ok(Value::from(STANDARD.encode(one_text(args)?)))),
    ("contains", |args| two_texts(args).map(|(part, text)| Value::Bool(text.contains(part)))),
    ("hasPrefix", |args| two_texts(args).map(|(part, text)| Value::Bool(text.starts_with(part)))),
    ("hasSuffix", |args| two_texts(args).map(|(part, text)| Value::Bool(text.ends_with(part)))),
    ("indent", |args| indented(args).map(Value::from)),
    ("join", join),
    ("lower", |args| Ok(Value::from(one_text(args)?.to_lowercase()))),
    ("nindent", |args| Ok(Value::from(format!("\n{}", indented(args)?)))),
    ("nospace", |args| Ok(Value::from(one_text(args)?.split_whitespace().collect::<String>()))),
    ("quote", |args| Ok(Value::from(quoted(args, |text| serde_json::Value::from(text).to_string())))),
    ("regexMatch", regex_match),
    ("regexReplaceAll", regex_replace_all),
    ("repeat", |args| {
        let [times, part] = exactly(args)?;
        Ok(Value::from(text(part)?.repeat(count(times)?)))
    }),
    ("replace", |args| {
        let [old, new, whole] = exactly(args)?;
        Ok(Value::from(text(whole)?.replace(text(old)?, text(new)?)))
    }),
    ("split", |args| Ok(map(parts(args)?.into_iter().enumerate().map(|(at, part)| (format!("_{at}"), part))))),
    ("splitList", |args| parts(args).map(Value::from)),
    ("squote", |args| Ok(Value::from(quoted(args, |text| format!("'{text}'"))))),
    ("toString", |args| Ok(Value::from(shown(&exactly::<1>(args)?[0])))),
    ("trim", |args| Ok(Value::from(one_text(args)?.trim()))),
    ("trimAll", |args| two_texts(args).map(|(letters, text)| Value::from(text.trim_matches(|c| letters.contains(c))))),
    ("trimPrefix", |args| two_texts(args).map(|(part, text)| Value::from(text.strip_prefix(part).unwrap_or(text)))),
    ("trimSuffix", |args| two_texts(args).map(|(part, text)| Value::from(text.strip_suffix(part).unwrap_or(text)))),
    ("trunc", truncated),
    ("upper", |args| Ok(Value::from(one_text(args)?.to_uppercase()))),
    // What is there.
    ("coalesce", |args| Ok(args.iter().find(|value| value.is_truthy()).cloned().unwrap_or(Value::Nil))),
    ("default", default),
    ("empty", |args| Ok(Value::Bool(!exactly::<1>(args)?[0].is_truthy()))),
    ("fail", |args| Err(one_text(args)?.to_owned())),
    ("required", |args| {
        let [reason, value] = exactly(args)?;
        let is_none = matches!(value, Value::Nil) || value.as_str() == Some("");
        if is_none { Err(text(reason)?.to_owned()) } else { Ok(value.clone()) }
    }),
    ("ternary", |args| {
        let [yes, no, condition] = exactly(args)?;
        Ok(if condition.is_truthy() { yes.clone() } else { no.clone() })
    }),
    // Maps and lists.
    ("append", |args| {
        let [all, one] = exactly(args)?;
        Ok(Value::from(items(all)?.iter().chain([one]).cloned().collect::<Vec<_>>()))
    }),
    ("concat", |args| {
        let lists = args.iter().map(items).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::from(lists.concat()))
    }),
    ("dict", dict),
    ("dig", dig),
    ("first", |args| Ok(items(&exactly::<1>(args)?[0])?.first().cloned().unwrap_or(Value::Nil))),
    ("get", |args| {
        let [from, key] = exactly(args)?;
        Ok(from.field(text(key)?).cloned().unwrap_or_else(|| Value::from("")))
    }),
    ("has", |args| {
        let [one, all] = exactly(args)?;
        Ok(Value::Bool(items(all)?.contains(one)))
    }),
    ("hasKey", |args| {
        let [map, key] = exactly(args)?;
        Ok(Value::Bool(map.field(text(key)?).is_some()))
    }),
    // Go's own, for maps of texts: what is absent is empty there.
    ("index", index),
    ("keys", |args| of_entries(args, |key, _| Value::from(key))),
    ("last", |args| Ok(items(&exactly::<1>(args)?[0])?.last().cloned().unwrap_or(Value::Nil))),
    ("list", |args| Ok(Value::from(args.to_vec()))),
    ("merge", |args| merged(args.iter().rev())),
    ("mergeOverwrite", |args| merged(args.iter())),
    ("omit", |args| chosen(args, false)),
    ("pick", |args| chosen(args, true)),
    ("until", |args| {
        let end = i64::try_from(count(&exactly::<1>(args)?[0])?).unwrap_or_default();
        Ok(Value::from((0..end).map(Value::Int).collect::<Vec<_>>()))
    }),
    ("values", |args| of_entries(args, |_, value| value.clone())),
    // Numbers.
    ("add", |args| number(args, i64::checked_add)),
    ("div", |args| number(args, i64::checked_div)),
    ("int", |args| Ok(Value::Int(whole(&exactly::<1>(args)?[0])?))),
    ("int64", |args| Ok(Value::Int(whole(&exactly::<1>(args)?[0])?))),
    ("max", |args| number(args, |a, b| Some(a.max(b)))),
    ("min", |args| number(args, |a, b| Some(a.min(b)))),
    ("mod", |args| number(args, i64::checked_rem)),
    ("mul", |args| number(args, i64::checked_mul)),
    ("sub", |args| number(args, i64::checked_sub)),
];

fn one_text(args: &[Value]) -> Result<&str, String> {
    let [value] = exactly(args)?;
    text(value)
}

fn two_texts(args: &[Value]) -> Result<(&str, &str), String> {
    let [one, other] = exactly(args)?;
    Ok((text(one)?, text(other)?))
}

fn items(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::List(items) => Ok(items),
        Value::Nil => Ok(&[]),
        other => Err(format!("takes a list, not a {}", other.type_name())),
    }
}

fn indented(args: &[Value]) -> Result<String, String> {
    let [blanks, lines] = exactly(args)?;
    let blanks = " ".repeat(count(blanks)?);
    let lines = shown(lines);
    Ok(lines.split('\n').map(|line| format!("{blanks}{line}")).collect::<Vec<_>>().join("\n"))
}

fn quoted(args: &[Value], quote: impl Fn(&str) -> String) -> String {
    let there = args.iter().filter(|value| !matches!(value, Value::Nil));
    there.map(|value| quote(&shown(value))).collect::<Vec<_>>().join(" ")
}

fn join(args: &[Value]) -> Given {
    let [between, all] = exactly(args)?;
    Ok(Value::from(items(all)?.iter().map(shown).collect::<Vec<_>>().join(text(between)?)))
}

fn parts(args: &[Value]) -> Result<Vec<Value>, String> {
    let (between, whole) = two_texts(args)?;
    Ok(whole.split(between).map(Value::from).collect())
}

fn truncated(args: &[Value]) -> Given {
    let [length, whole_text] = exactly(args)?;
    let (length, letters) = (whole(length)?, text(whole_text)?.chars().collect::<Vec<_>>());
    let kept = usize::try_from(length.unsigned_abs()).unwrap_or(usize::MAX).min(letters.len());
    let kept = if length < 0 { &letters[letters.len() - kept..] } else { &letters[..kept] };
    Ok(Value::from(kept.iter().collect::<String>()))
}

fn pattern(value: &Value) -> Result<regex::Regex, String> {
    regex::RegexBuilder::new(text(value)?).size_limit(1 << 20).build().map_err(|error| error.to_string())
}

fn regex_match(args: &[Value]) -> Given {
    let [expression, whole] = exactly(args)?;
    Ok(Value::Bool(pattern(expression)?.is_match(text(whole)?)))
}

fn regex_replace_all(args: &[Value]) -> Given {
    let [expression, whole, new] = exactly(args)?;
    Ok(Value::from(pattern(expression)?.replace_all(text(whole)?, text(new)?).into_owned()))
}

/// Of a value that may be left out: what comes by a pipe comes last.
fn default(args: &[Value]) -> Given {
    match args {
        [default] => Ok(default.clone()),
        [default, value] => Ok(if value.is_truthy() { value.clone() } else { default.clone() }),
        _ => Err(format!("takes 2 arguments, not {}", args.len())),
    }
}

fn dict(args: &[Value]) -> Given {
    let pairs = args.chunks(2).map(|pair| (shown(&pair[0]), pair.get(1).cloned().unwrap_or_else(|| Value::from(""))));
    Ok(map(pairs))
}

/// `dig "a" "b" default map`.
fn dig(args: &[Value]) -> Given {
    let [path @ .., default, from] = args else { return Err("takes names, a default and a map".to_owned()) };
    let mut found = from;
    for name in path {
        match found.field(text(name)?) {
            Some(value) => found = value,
            None => return Ok(default.clone()),
        }
    }
    Ok(found.clone())
}

fn index(args: &[Value]) -> Given {
    let [from, keys @ ..] = args else { return Err("takes something and keys".to_owned()) };
    keys.iter().try_fold(from.clone(), |from, key| {
        let is_of_texts = |mut values: std::collections::btree_map::Values<'_, _, Value>| {
            values.all(|value| matches!(value, Value::String(_)))
        };
        match (&from, key) {
            (Value::Map(map), Value::String(key)) => Ok(match map.get(key) {
                Some(value) => value.clone(),
                None if is_of_texts(map.values()) => Value::from(""),
                None => Value::Nil,
            }),
            _ => from.index(key).map_err(|error| error.to_string()),
        }
    })
}

fn of_entries(args: &[Value], take: impl Fn(&str, &Value) -> Value) -> Given {
    let [value] = exactly(args)?;
    let entries = entries(value).ok_or_else(|| format!("takes a map, not a {}", value.type_name()))?;
    Ok(Value::from(entries.map(|(key, value)| take(key, value)).collect::<Vec<_>>()))
}

/// A map with, or without, the keys that follow it.
fn chosen(args: &[Value], wanted: bool) -> Given {
    let [value, keys @ ..] = args else { return Err("takes a map and keys".to_owned()) };
    let keys = keys.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let entries = entries(value).ok_or_else(|| format!("takes a map, not a {}", value.type_name()))?;
    let stay = entries.filter(|(key, _)| keys.contains(&&***key) == wanted);
    Ok(map(stay.map(|(key, value)| (key.to_string(), value.clone()))))
}

/// Maps laid over each other, and the maps within them.
fn merged<'a>(maps: impl Iterator<Item = &'a Value>) -> Given {
    maps.filter(|one| !matches!(one, Value::Nil)).try_fold(map([]), |below, above| {
        let entries = entries(above).ok_or_else(|| format!("takes maps, not a {}", above.type_name()))?;
        let mut all: Vec<(String, Value)> =
            super::json::entries(&below).into_iter().flatten().map(|(k, v)| (k.to_string(), v.clone())).collect();
        for (key, value) in entries {
            let both = below.field(key).filter(|old| matches!((old, value), (Value::Map(_), Value::Map(_))));
            let value = both.map_or_else(|| Ok(value.clone()), |old| merged([old, value].into_iter()))?;
            all.push((key.to_string(), value));
        }
        Ok(map(all))
    })
}

fn number(args: &[Value], step: impl Fn(i64, i64) -> Option<i64>) -> Given {
    let [first, others @ ..] = args else { return Err("takes numbers".to_owned()) };
    let sum = others.iter().try_fold(whole(first)?, |sum, next| {
        step(sum, whole(next)?).ok_or_else(|| "the numbers are too large, or it is divided by 0".to_owned())
    })?;
    Ok(Value::Int(sum))
}

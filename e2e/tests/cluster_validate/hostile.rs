//! Requests that nobody who means well would send.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, stream};
use mizzen_e2e::{Client, Request};
use serde_json::{Value, json};

use crate::world::{World, matching, post, review, valid};

/// How long an answer may take, on a machine that does much else.
const PROMPT: Duration = Duration::from_secs(5);
/// How much memory strangers may make the process take, in KiB.
const MEMORY: u64 = 400 * 1024;

/// The most memory that a process has had, in KiB.
fn peak(id: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The status of an answer, its body, and how long it took.
async fn send(client: &Client, request: &Request) -> Result<(u16, String, Duration)> {
    let begun = Instant::now();
    let reply = client.send(request).await?;
    Ok((reply.status, reply.text(), begun.elapsed()))
}

/// A review whose object is this text.
fn around(object: &str) -> Vec<u8> {
    String::from_utf8_lossy(&review(&json!("HERE"))).replace("\"HERE\"", object).into_bytes()
}

/// What is no request, with the status and a part of the answer.
fn cases() -> Vec<(Request, u16, &'static str)> {
    let long = format!("{{\"a\": [{}]}}", "[],".repeat(1 << 20) + "[]");
    let twice = r#"{"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "kind": "VirtualService"}"#;
    let deep = ["[".repeat(1 << 20), "]".repeat(1 << 20)].concat();
    let nested = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let of_type =
        |content_type: &str| Request::get("/validate").method(http::Method::POST).header("content-type", content_type);
    vec![
        (of_type("text/plain").body("{}"), 415, "content type \"text/plain\""),
        (of_type("application/yaml").body("{}"), 415, "application/json"),
        (post(""), 400, "the body is empty"),
        (post("{"), 400, "the body is no AdmissionReview"),
        (post(&b"\xff\xfe{"[..]), 400, "the body is no AdmissionReview"),
        (post("{}"), 400, "it must be AdmissionReview"),
        (post(around("{\"a\": ")), 400, "the body is no AdmissionReview"),
        (post(around(&deep)), 400, "recursion limit"),
        (post(around(&nested)), 400, "recursion limit"),
        (post(around(twice)), 400, "the key \"kind\" is there twice"),
        (post(vec![b' '; 10 << 20]), 413, "more than"),
        (post(around(&format!("\"{}\"", "x".repeat(10 << 20)))), 413, "more than"),
        // A request, if a foolish one.
        (post(around(&long)), 200, "\"allowed\":false"),
        (post(around("null")), 200, "\"allowed\":false"),
        (post(around("[[1], {}]")), 200, "\"allowed\":false"),
    ]
}

#[tokio::test]
async fn malformed_huge_and_hostile_reviews_are_refused_in_bounded_time_and_memory() -> Result<()> {
    let world = World::without_webhooks(&[]).await?;
    let client = world.client()?;
    let id = world.mizzen.id().context("it runs")?;
    let before = peak(id)?;
    for (request, status, message) in cases() {
        let (found, said, took) = send(&client, &request).await.context(message)?;
        ensure!(found == status && said.contains(message), "{message}: {found} {said}");
        ensure!(took < PROMPT, "{message}: {took:?}");
    }
    // Regular expressions that would be large, or slow where one goes back.
    for regex in
        ["(a+)+b", "((a{1,100}){1,100}){1,100}", "(((((a{9}){9}){9}){9}){9}){9}", "\\pL{500}\\pL{500}", "(x+x+)+y"]
    {
        let (status, said, took) = send(&client, &post(review(&matching("v", regex)))).await.context(regex)?;
        ensure!(status == 200 && took < PROMPT, "{regex}: {status} {took:?} {said}");
    }
    // Very many of them.
    let mut many = valid("v");
    let one = json!({"uri": {"regex": "((a{1,90}){1,90}){1,9}"}});
    many["spec"]["http"][0]["match"] = vec![one; 20_000].into();
    let (status, said, took) = send(&client, &post(review(&many))).await.context("many expressions")?;
    ensure!(status == 200 && took < PROMPT * 3, "{status} {took:?} {said:.300}");
    let grown = peak(id)?.saturating_sub(before);
    ensure!(grown < MEMORY, "{grown} KiB");
    assert!(send(&client, &post(review(&valid("v")))).await?.1.contains("\"allowed\":true"));
    Ok(())
}

#[tokio::test]
async fn many_large_requests_do_not_keep_ordinary_ones_from_an_answer() -> Result<()> {
    let world = World::without_webhooks(&[]).await?;
    let client = world.client()?;
    let id = world.mizzen.id().context("it runs")?;
    let before = peak(id)?;
    let large = post(around(&format!("[{}1]", "1,".repeat(3 << 19))));
    let floods = stream::iter(0..64).map(|_| send(&client, &large)).buffer_unordered(64).collect::<Vec<_>>();
    let ordinary = async {
        let (mut slowest, request) = (Duration::ZERO, post(review(&valid("v"))));
        for _ in 0..50 {
            let (status, said, took) = send(&client, &request).await?;
            ensure!(status == 200 && said.contains("\"allowed\":true"), "{status} {said}");
            slowest = slowest.max(took);
        }
        anyhow::Ok(slowest)
    };
    let (floods, slowest) = tokio::join!(floods, ordinary);
    let slowest = slowest?;
    ensure!(slowest < PROMPT, "{slowest:?}");
    for answer in floods {
        let (status, said, _) = answer?;
        let is_answer = || serde_json::from_str::<Value>(&said).is_ok_and(|said| said["response"]["allowed"] == false);
        ensure!(status == 503 || status == 200 && is_answer(), "{status} {said}");
    }
    let grown = peak(id)?.saturating_sub(before);
    ensure!(grown < MEMORY, "{grown} KiB");
    // What was held is free again.
    let (status, said, _) = send(&client, &large).await?;
    ensure!(status == 200, "{status} {said}");
    Ok(())
}

//! Something bad beside all that works.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Client, Envoy, EnvoyOptions, Mizzen, Node, Objects, PATIENCE, Request, Upstream, eventually, free_port,
};

use crate::{
    SOURCE,
    cases::{Case, good},
};

pub(crate) const NONE: &[&str] = &[];

/// A mesh that works: a gateway that sends `good.test` to an upstream, and a sidecar.
pub(crate) struct Rig {
    pub(crate) config: Objects,
    pub(crate) mizzen: Mizzen,
    envoy: Envoy,
    pub(crate) gateway: u16,
    _upstream: Upstream,
}

impl Rig {
    pub(crate) async fn start(arguments: &[&str]) -> Result<Self> {
        let upstream = SOURCE.upstream("good").await?;
        let gateway = free_port()?;
        let config = Objects::new(SOURCE).await?;
        config.write("good.yaml", good(gateway, upstream.address()))?;
        let mizzen = Mizzen::start(arguments.iter().fold(config.options(), |all, a| all.arg(*a))).await?;
        let node = Node::router("gw", "default");
        let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(node, mizzen.grpc())).await?;
        Ok(Self { config, mizzen, envoy, gateway, _upstream: upstream })
    }

    /// The status of a request through the gateway, and who answered.
    pub(crate) async fn ask(&self, host: &str) -> Result<(u16, String)> {
        let client = Client::http(SocketAddr::from(([127, 0, 0, 1], self.gateway)));
        let reply = client.send(&Request::get("/").host(host)).await?;
        Ok((reply.status, reply.upstream().to_owned()))
    }

    pub(crate) async fn until_status(&self, host: &str, status: u16) -> Result<()> {
        eventually(&format!("{status} from {host}"), PATIENCE, || async {
            let got = self.ask(host).await?;
            ensure!(got.0 == status, "{got:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// The problems that exist now, files without their folder, all without their codes.
    pub(crate) async fn problems(&self) -> Result<Vec<String>> {
        let folder = format!("{}/", self.config.folder().display());
        let page = self.mizzen.json("/debug/problems").await?;
        let all = page.as_array().context("a list")?.iter();
        let without_code = |line: &str| line.rsplit_once(" [MZ").map_or(line, |(said, _)| said).to_owned();
        let mut lines: Vec<String> =
            all.map(|p| without_code(&p["message"].as_str().unwrap_or_default().replace(&folder, ""))).collect();
        lines.sort();
        Ok(lines)
    }

    pub(crate) async fn until_problems(&self, expected: &[impl AsRef<str>]) -> Result<()> {
        let expected: BTreeSet<&str> = expected.iter().map(AsRef::as_ref).collect();
        let expected: Vec<&str> = expected.into_iter().collect();
        eventually("the problems", PATIENCE, || async {
            let found = self.problems().await?;
            ensure!(found == expected, "expected {expected:#?}, found {found:#?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Puts something bad beside the good: told, counted, without harm; gone with its cause.
    pub(crate) async fn check(&self, case: &Case) -> Result<()> {
        self.config.write(case.file, &case.content)?;
        self.until_problems(&case.problems).await?;
        let series = format!("mizzen_config_problems{{kind=\"{}\"}}", case.kind);
        let counted = self.mizzen.metric(&series).await?;
        ensure!(counted == Some(case.problems.len() as f64), "{series}: {counted:?}");
        for (host, status) in &case.requests {
            self.until_status(host, *status).await?;
        }
        let good = self.ask("good.test").await?;
        ensure!(good == (200, "good".to_owned()), "good.test: {good:?}");

        self.config.remove(case.file)?;
        self.until_problems(NONE).await?;
        ensure!(self.mizzen.metric(&series).await? == Some(0.0), "{series} stays");
        let log = self.mizzen.log().replace(&format!("{}/", self.config.folder().display()), "");
        for problem in &case.problems {
            // The log is JSON or text: quotes may be escaped.
            let log = log.replace("\\\"", "\"").replace("\\\\", "\\");
            let told = log.matches(&format!("problem: {problem}")).count();
            ensure!(told == 1, "told {told} times in the log: {problem}\n{log}");
        }
        Ok(())
    }
}

pub(crate) async fn check_all(rig: &Rig, cases: &[Case]) -> Result<()> {
    rig.until_status("good.test", 200).await?;
    let mut failed = Vec::new();
    for case in cases {
        if let Err(error) = rig.check(case).await {
            failed.push(format!("{error:#}"));
            drop(rig.config.remove(case.file));
            rig.until_problems(NONE).await?;
        }
    }
    ensure!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n\n"));
    let refused = rig.envoy.admin().stats("update_rejected$").await?;
    ensure!(refused.values().all(|n| *n == 0), "{refused:?}");
    Ok(())
}

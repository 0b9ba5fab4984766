//! Authorities that an operator plugs in.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use mizzen_e2e::{
    Authority, Client, KeyPairPem, Mizzen, PATIENCE, PluggedIn, Request, eventually, revocations,
    workload::{ask, connect},
};
use rcgen::{Issuer, KeyPair};

use crate::{is_of_web, world::World};

/// Writes an authority below an operator's root, with these roots.
fn plug_in(operator: &Authority, dir: &Path, roots: &str) -> Result<Issuer<'static, KeyPair>> {
    let PluggedIn { files, issuer } = operator.plug_in(roots)?;
    for (name, text) in files {
        fs::write(dir.join(name), text)?;
    }
    Ok(issuer)
}

#[tokio::test]
async fn a_plugged_in_authority_is_replaced_step_by_step_without_a_restart() -> Result<()> {
    let world = World::start().await?;
    let (dir, old, new) = (tempfile::tempdir()?, Authority::new("old")?, Authority::new("new")?);
    let (old_root, new_root) = (old.pem(), new.pem());
    let both = format!("{old_root}{new_root}");
    plug_in(&old, dir.path(), old_root)?;
    let options = world.options("one").env("ROOT_CA_DIR", &dir.path().display().to_string());
    let mizzen = Mizzen::start(options).await?;
    let token = world.token("web", "istio-ca")?;
    let first = ask(&connect(mizzen.secure_grpc(), old_root, None).await?, Some(&token)).await?;
    assert_eq!(first.chain.len(), 3, "a leaf, the authority, the root");
    first.verify(old_root)?;
    world.until_roots("shop", &first.chain[2]).await?;

    // Another root at once would part the mesh.
    plug_in(&new, dir.path(), new_root)?;
    eventually("the refusal", PATIENCE, || async {
        ensure!(mizzen.log().contains("neither contain the old ones nor are among them"), "{}", mizzen.log());
        anyhow::Ok(())
    })
    .await?;
    ask(&connect(mizzen.secure_grpc(), old_root, None).await?, Some(&token)).await?.verify(old_root)?;

    let until = async |roots: &str, by: &str| {
        eventually("the new authority", PATIENCE, || async {
            let issued = ask(&connect(mizzen.secure_grpc(), by, None).await?, Some(&token)).await?;
            ensure!(issued.chain.last().is_some_and(|last| same_certificates(last, roots)), "other roots");
            issued.verify(by)?;
            anyhow::Ok(issued)
        })
        .await
    };
    plug_in(&old, dir.path(), &both)?;
    until(&both, old_root).await?;
    plug_in(&new, dir.path(), &both)?;
    let moved = until(&both, new_root).await?;
    // Certificates of before are good still: of the server's clients too.
    let renewing = connect(mizzen.secure_grpc(), new_root, Some(&first.pair)).await?;
    is_of_web(&ask(&renewing, None).await?)?;
    plug_in(&new, dir.path(), new_root)?;
    let last = until(new_root, new_root).await?;
    world.until_roots("shop", &last.chain[2]).await?;
    is_of_web(&ask(&connect(mizzen.secure_grpc(), new_root, Some(&moved.pair)).await?, None).await?)
}

fn same_certificates(one: &str, other: &str) -> bool {
    let text = |pem: &str| pem.split_whitespace().collect::<String>();
    text(one) == text(other)
}

#[tokio::test]
async fn an_authority_in_parts_is_an_error_at_the_start() -> Result<()> {
    let world = World::start().await?;
    let (dir, operator) = (tempfile::tempdir()?, Authority::new("root")?);
    plug_in(&operator, dir.path(), operator.pem())?;
    fs::remove_file(dir.path().join("ca-key.pem"))?;
    let options = world.options("one").env("ROOT_CA_DIR", &dir.path().display().to_string());
    let mut mizzen = Mizzen::launch(options)?;
    let ended = mizzen.wait_ready(PATIENCE).await.expect_err("it does not start");
    assert!(mizzen.log().contains("ca-key.pem is missing"), "{ended:#}");
    let reached = Client::http(mizzen.http()).send(&Request::get("/ready")).await;
    assert!(reached.is_err(), "it runs");
    Ok(())
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_and_all_are_told() -> Result<()> {
    let world = World::start().await?;
    let (dir, operator) = (tempfile::tempdir()?, Authority::new("root")?);
    let root = operator.pem().to_owned();
    let issuer = plug_in(&operator, dir.path(), &root)?;
    let options = world.options("one").env("ROOT_CA_DIR", &dir.path().display().to_string());
    let mizzen = Mizzen::start(options).await?;
    let token = world.token("web", "istio-ca")?;
    let channel = connect(mizzen.secure_grpc(), &root, None).await?;
    let (bad, good) = (ask(&channel, Some(&token)).await?, ask(&channel, Some(&token)).await?);
    let renews = async |own: &KeyPairPem| {
        let channel = connect(mizzen.secure_grpc(), &root, Some(own)).await?;
        anyhow::Ok(ask(&channel, None).await?)
    };
    is_of_web(&renews(&bad.pair).await?)?;

    let pem = revocations(&issuer, &[&bad.chain[0]])?;
    fs::write(dir.path().join("ca-crl.pem"), &pem)?;
    eventually("the list in a namespace", PATIENCE, || async {
        let found = world.field("shop", "configmap/istio-ca-crl", ".data.ca-crl\\.pem")?;
        ensure!(found == pem, "{found}");
        anyhow::Ok(())
    })
    .await?;
    eventually("the refusal", PATIENCE, || async {
        ensure!(renews(&bad.pair).await.is_err(), "a revoked certificate is taken");
        anyhow::Ok(())
    })
    .await?;
    is_of_web(&renews(&good.pair).await?)
}

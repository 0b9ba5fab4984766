//! What changes while requests come: none of them may fail, and only what changed may be sent. Objects are files;
//! `cluster_change` is the same with an API server.

mod cases;

use std::time::Duration;

use anyhow::Result;
use mizzen_e2e::{Load, Scene, Source, Upstream, XdsTransport, route_all, service};

use self::cases::{endpoints, in_service, request, rule};

const SOURCE: Source = Source::Files;

#[tokio::test]
async fn a_stream_that_ends_between_a_cluster_and_its_endpoints_is_made_good() -> Result<()> {
    let a = Upstream::http("a").await?;
    let scene = Scene::start(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a"))).await?;
    scene.answered_by("a", &request()).await?;
    let load = Load::start(&scene.client(), &request(), 1);
    for n in 0..12 {
        scene.config.write("rule.yaml", rule(3000 + n))?;
        // Not a wait for anything: the cut falls at another point of the exchange each time.
        tokio::time::sleep(Duration::from_millis(n * 7)).await;
        scene.link.cut();
        scene.link.mend();
        in_service(&scene, 3000 + n).await?;
    }
    load.stop_unharmed().await?;
    scene.nothing_refused().await
}

#[tokio::test]
async fn a_killed_control_plane_comes_back_over_state_of_the_world() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let objects = service("a", "http", &[&a]) + &service("b", "http", &[&b]);
    let mut scene = Scene::start_over(XdsTransport::Sotw, &objects).await?;
    scene.config.write("s.yaml", service("s", "http", &[&a]))?;
    scene.config.write("v.yaml", route_all("v", "v.test", "a"))?;
    scene.answered_by("a", &request()).await?;
    let load = Load::start(&scene.client(), &request(), 2);
    for endpoints_now in [&[&a, &b][..], &[&b]] {
        scene.mizzen.kill();
        load.more(30).await?;
        scene.config.write("s.yaml", service("s", "http", endpoints_now))?;
        scene.mizzen.restart().await?;
        endpoints(&scene, "s", endpoints_now).await?;
    }
    scene.mizzen.kill();
    scene.config.write("v.yaml", route_all("v", "v.test", "s"))?;
    scene.config.remove("objects.yaml")?;
    scene.mizzen.restart().await?;
    scene.answered_by("b", &request()).await?;
    load.more(30).await?;
    let tally = load.stop_unharmed().await?;
    assert_eq!(tally.connections, 2, "{tally}");
    assert!(tally.of("a") > 0 && tally.of("b") > 0, "{tally}");
    scene.nothing_refused().await
}

//! What changes while requests come: none of them may fail, and only what changed may be sent. Objects are files;
//! `cluster_change` is the same with an API server.

mod cases;

use std::time::Duration;

use anyhow::Result;
use mizzen_e2e::{Load, Scene, Source, Upstream, route_all, service};

use self::cases::{in_service, request, rule};

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

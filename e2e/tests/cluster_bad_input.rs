//! What is wrong with an object of a real API server, though its schema lets it pass, is told exactly, once and as long
//! as it is so, and hurts nothing else.

#[path = "bad_input/cases.rs"]
#[expect(
    dead_code,
    reason = "an API server refuses texts that are no objects, and decides itself when objects were made"
)]
mod cases;
#[path = "bad_input/rig.rs"]
mod rig;

use anyhow::Result;
use mizzen_e2e::Source;

use self::{
    cases::{not_honoured, wrong_others, wrong_routes},
    rig::{Rig, check_all},
};

const SOURCE: Source = Source::Cluster;

#[tokio::test]
async fn bad_objects_are_told_exactly_and_hurt_nothing_else() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    let mut cases = wrong_routes();
    cases.extend(wrong_others(rig.gateway)?);
    cases.extend(not_honoured());
    check_all(&rig, &cases).await
}

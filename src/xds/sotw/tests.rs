use crate::{
    snapshot::ResourceType,
    xds::{Protocol, testing::Script},
};

fn run(script: &str) {
    Script::new(Protocol::Sotw).run(script);
}

const CONNECTED: &str = "
    = cds a@1 eds=a | cds z@1 | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
    > cds
    < cds a z
    > eds a
    < eds a
    ack cds
    ack eds
    > lds
    < lds l
    > rds r
    < rds r
    ack lds
    ack rds";

fn connected(script: &str) {
    Script::new(Protocol::Sotw).run(CONNECTED).run(script);
}

#[test]
fn clusters_and_listeners_are_full_sets() {
    connected(
        "
        = cds a@1 eds=a | cds b@1 | cds z@2 | eds a@1 | lds l@1 rds=r | lds m@1 | rds r@1 cds=a
        < cds a b z
        < lds l m
    ",
    );
}

#[test]
fn named_types_send_what_changed() {
    connected(
        "
        = cds a@1 eds=a | cds z@1 | eds a@2 | eds other@1 | lds l@1 rds=r | rds r@1 cds=a
        < eds a
    ",
    );
}

#[test]
fn added_names_are_answered_with_those_only() {
    run("
        = eds a@1 | eds b@1
        > eds a
        < eds a
        > eds a b
        < eds b
        > eds a b missing
        < eds
        > eds b
        = eds a@2 | eds b@1
    ");
}

#[test]
fn no_names_of_a_named_type_unsubscribe() {
    run("
        > rds
        = rds r@1
        > rds r
        < rds r
        > rds
        = rds r@2
    ");
}

#[test]
fn a_wildcard_type_ignores_names() {
    run("
        = cds a@1 | cds b@1
        > cds a
        < cds a b
    ");
}

#[test]
fn a_first_request_with_a_foreign_nonce_is_a_subscription() {
    let mut script = Script::new(Protocol::Sotw);
    script.run("= cds a@1");
    script.answer(ResourceType::Cluster, "2026-01-01", None);
    script.run("< cds a");
    // A second one is stale.
    script.answer(ResourceType::Cluster, "2026-01-01", None);
    script.answer(ResourceType::Listener, "x", Some("refused what was never sent"));
    script.run("");
}

#[test]
fn endpoints_follow_a_changed_cluster() {
    connected(
        "
        = cds a@2 eds=a | cds z@1 | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
        < cds a z
        < eds a
    ",
    );
}

#[test]
fn a_route_waits_for_endpoints_and_a_dropped_cluster_stays_in_the_set() {
    connected(
        "
        = cds b@1 eds=b | cds z@1 | eds b@1 | lds l@1 rds=r | rds r@2 cds=b
        < cds a b z
        > eds a b
        < eds b
        ack eds
        < rds r
        ack rds
        wait 5.1
        < cds b z
    ",
    );
}

#[test]
fn a_refused_resource_keeps_its_last_good_form_in_the_set() {
    let mut script = Script::new(Protocol::Sotw);
    script.run(CONNECTED).run(
        "
        = cds a@1 eds=a | cds b@1 | cds z@2 | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
        < cds a b z
        nack cds cluster z: bad
        < cds a b z
        ack cds
        < cds a b z
        nack cds cluster z: bad
        < cds a b z
        ! cds z refused cluster z: bad
        ack cds
        = cds a@1 eds=a | cds b@2 | cds z@2 | eds a@1 | lds l@1 rds=r | rds r@1 cds=a
        < cds a b z
        ack cds
    ",
    );
    let z = script.machine.contents(ResourceType::Cluster)["z"].body_bytes();
    assert_eq!(&z[..], b"z@1");
}

#[test]
fn the_culprit_of_a_first_set_is_left_out() {
    run("
        = lds a@1 | lds b@1 | lds c@1
        > lds
        < lds a b c
        nack lds ?
        < lds a
        ack lds
        < lds a b c
        nack lds ?
        < lds a b
        nack lds ?
        < lds a c
        ! lds b refused ?
        ack lds
    ");
}

#[test]
fn secrets_that_are_denied_are_left_out() {
    run("
        = sds s@1 | sds denied@1
        > sds s denied
        < sds s
    ");
}

#[test]
fn a_client_that_resumes_loses_clusters_when_its_routes_have_let_go_of_them() {
    run("
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=r | rds r@2 cds=a
        >> cds
        >> eds a gone
        < eds a
        >> lds
        < lds l
        >> rds r
        < rds r
        ack lds
        ack rds
        < cds a
        < eds a
    ");
}

#[test]
fn a_client_that_resumes_has_new_clusters_before_what_leads_to_them() {
    run("
        = cds a@1 eds=a | cds new@1 eds=new | eds a@1 | eds new@1 | lds l@1 rds=r cds=new | rds r@2 cds=new
        >> cds
        >> eds a gone
        < eds a
        >> lds
        < cds a new
        < eds a
        >> rds r
        >> eds a new
        < eds new
        ack eds
        ack eds
        ack eds
        < lds l
        < rds r
    ");
}

#[test]
fn clusters_wait_for_a_client_that_resumes_no_longer_than_a_barrier() {
    run("
        = cds a@1 eds=a | eds a@1
        >> cds
        wait 9
        wait 2
        < cds a
    ");
}

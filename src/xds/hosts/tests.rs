//! Conversations about virtual hosts, with the traps of envoy-increments §1. Names that hold no slash in other types.

use crate::{
    snapshot::{ResourceType, Version},
    xds::{Protocol, Request, testing::Script},
};

fn run(script: &str) -> Script {
    let mut made = Script::new(Protocol::Delta);
    made.run(script);
    made
}

/// A proxy with a listener, its route configuration and virtual hosts, to go on from.
const CONNECTED: &str = "
    = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@1 cds=a | vhds 80/any@1
    > cds
    < cds a
    > eds a
    < eds a
    ack cds
    ack eds
    > lds
    < lds l
    > rds 80
    < rds 80
    > vhds
    < vhds 80/a 80/any
    ack lds
    ack rds
    ack vhds";

fn connected(script: &str) {
    run(CONNECTED).run(script);
}

#[test]
fn one_subscription_without_names_is_for_all_route_configurations() {
    connected("");
}

#[test]
fn only_the_changed_host_is_sent() {
    connected(
        "
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@2 cds=a | vhds 80/any@1
        < vhds 80/a
        ack vhds
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/b@1 cds=a | vhds 80/any@1
        < vhds 80/b -80/a
    ",
    );
}

#[test]
fn a_second_route_configuration_brings_its_hosts_without_another_request() {
    connected(
        "
        = cds a@1 eds=a | eds a@1 | lds l@2 rds=80,81 | rds 80@1 | rds 81@1 | vhds 80/a@1 cds=a | vhds 80/any@1 | vhds 81/any@1 | vhds 81/b@1
        < lds l
        > rds 81
        < rds 81
        < vhds 81/any 81/b
        ack lds
        ack rds
        ack vhds
    ",
    );
}

#[test]
fn hosts_of_configurations_that_nobody_asked_for_are_not_sent() {
    connected(
        "
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | rds 81@1 | vhds 80/a@1 cds=a | vhds 80/any@1 | vhds 81/any@1
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | rds 81@1 | vhds 80/a@1 cds=a | vhds 80/any@1 | vhds 81/any@2
    ",
    );
}

#[test]
fn a_dropped_configuration_takes_its_versions_along_and_comes_back_whole() {
    connected(
        "
        > rds -80
        < vhds -80/a -80/any
        ack vhds
        > rds 80
        < rds 80
        < vhds 80/a 80/any
        ack rds
        ack vhds
    ",
    );
}

#[test]
fn a_configuration_asked_for_again_at_once_is_sent_whole() {
    connected(
        "
        > rds 80 -80
        < vhds -80/a -80/any
        < rds 80
        < vhds 80/a 80/any
        ack vhds
        > rds 80
        < vhds -80/a -80/any
        < rds 80
        < vhds 80/a 80/any
    ",
    );
}

#[test]
fn a_configuration_that_is_gone_keeps_its_hosts_while_it_is_in_use() {
    connected(
        "
        = cds a@1 eds=a | eds a@1 | lds l@2
        < lds l
        ack lds
        < rds -80
        ack rds
        > rds -80
        < vhds -80/a -80/any
        ack vhds
    ",
    );
}

#[test]
fn what_a_reconnected_proxy_has_is_not_sent_again() {
    run("
        = rds 80@1 | rds 81@1 | vhds 80/a@1 | vhds 80/any@1 | vhds 81/any@1
        > rds 80@1 81@1
        > vhds 80/a@1 80/any@1 81/any@1
        = rds 80@1 | rds 81@1 | vhds 80/a@2 | vhds 80/any@1 | vhds 81/any@1
        < vhds 80/a
    ");
}

#[test]
fn a_reconnected_proxy_gets_what_changed_meanwhile() {
    run("
        = rds 80@1 | vhds 80/a@2 | vhds 80/new@1 | vhds 80/any@1
        > rds 80@1
        > vhds 80/a@1 80/any@1 80/gone@1
        < vhds 80/a 80/new -80/gone
    ");
}

#[test]
fn claims_are_judged_once_the_route_configurations_are_known() {
    run("
        = rds 80@1 | rds 81@1 | vhds 80/a@1 | vhds 80/any@1 | vhds 81/any@1
        > vhds 80/a@1 80/any@1 81/any@1
        > rds 80@1
        < vhds -81/any
    ");
}

#[test]
fn a_claim_is_not_believed_without_its_route_configuration() {
    // The proxy dropped 80 and asks for it anew: it lists the versions of hosts that it no longer has.
    run("
        = rds 80@1 | rds 81@1 | vhds 80/a@1 | vhds 80/any@1 | vhds 81/any@1
        > rds 81@1 80
        > vhds 80/a@1 80/any@1 80/gone@1 81/any@1
        < vhds -80/a -80/any -80/gone
        < rds 80
        < vhds 80/a 80/any
    ");
}

#[test]
fn a_client_that_comes_back_without_hosts_is_not_waited_for_long() {
    run("
        = cds a@1 | rds 80@1 | vhds 80/a@1
        > cds a@1
        > rds 80
        wait 1
        < rds 80
        > vhds
        < vhds 80/a
    ");
}

#[test]
fn a_bad_host_is_isolated() {
    connected(
        "
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@2 cds=a | vhds 80/any@2 | vhds 80/b@1
        < vhds 80/a 80/any 80/b
        nack vhds bad regex
        < vhds 80/a
        < vhds 80/any 80/b
        ack vhds
        nack vhds bad regex
        < vhds 80/any
        < vhds 80/b
        ack vhds
        nack vhds bad regex
        ! vhds 80/b refused bad regex
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@3 cds=a | vhds 80/any@2 | vhds 80/b@1
        < vhds 80/a
        ack vhds
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@3 cds=a | vhds 80/any@2 | vhds 80/b@2
        < vhds 80/b
        ack vhds
        ! vhds 80/b withdrawn
    ",
    );
}

#[test]
fn a_host_that_was_refused_for_a_domain_is_tried_again_when_the_domain_is_free() {
    connected(
        "
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/c@1 | vhds 80/any@1 | vhds 80/d@2 | vhds 80/e@1
        < vhds 80/c 80/d 80/e -80/a
        ack vhds
        # 80/d now has the domain that 80/e had; 80/c is bad.
        = cds a@1 eds=a | eds a@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/c@2 | vhds 80/any@1 | vhds 80/d@3 | vhds 80/e@2 vhds=80/d
        < vhds 80/c 80/d 80/e
        nack vhds bad regex
        < vhds 80/c
        < vhds 80/d 80/e
        nack vhds bad regex
        ! vhds 80/c refused bad regex
        nack vhds twice
        < vhds 80/d
        < vhds 80/e
        nack vhds twice
        ! vhds 80/d refused twice
        ack vhds
        < vhds 80/d
        ! vhds 80/d withdrawn
        ack vhds
    ",
    );
}

#[test]
fn a_new_host_waits_for_the_endpoints_of_its_cluster_and_others_do_not() {
    connected(
        "
        = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@2 cds=a | vhds 80/b@1 cds=b | vhds 80/any@1
        < cds b
        < vhds 80/a
        ack vhds
        > eds b
        < eds b
        ack cds
        ack eds
        < vhds 80/b
    ",
    );
}

#[test]
fn a_domain_moves_in_one_response() {
    // 80/b waits for its cluster, and takes a domain from 80/a.
    connected(
        "
        = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@2 cds=a vhds=80/b | vhds 80/b@1 cds=b | vhds 80/any@1
        < cds b
        > eds b
        < eds b
        ack cds
        ack eds
        < vhds 80/a 80/b
        ack vhds
        # And gives it back: 80/a waits, so 80/b stays.
        = cds a@1 eds=a | cds b@1 eds=b | cds c@1 eds=c | eds a@1 | eds b@1 | eds c@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@3 cds=c | vhds 80/any@1
        < cds c
        > eds c
        < eds c
        ack cds
        ack eds
        < vhds 80/a -80/b
    ",
    );
}

#[test]
fn the_first_hosts_of_a_configuration_come_together() {
    connected(
        "
        = cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | lds l@2 rds=80,81 | rds 80@1 | rds 81@1 | vhds 80/a@1 cds=a | vhds 80/any@1 | vhds 81/any@1 | vhds 81/b@1 cds=b
        < cds b
        < lds l
        > rds 81
        < rds 81
        ack lds
        ack rds
        > eds b
        < eds b
        ack cds
        ack eds
        < vhds 81/any 81/b
    ",
    );
}

#[test]
fn a_cluster_goes_once_the_host_that_led_to_it_is_replaced() {
    connected(
        "
        = cds b@1 eds=b | eds b@1 | lds l@1 rds=80 | rds 80@1 | vhds 80/a@2 cds=b | vhds 80/any@1
        < cds b
        > eds b
        < eds b
        ack cds
        ack eds
        < vhds 80/a
        wait 8
        ack vhds
        wait 5
        < cds -a
        < eds -a
    ",
    );
}

#[test]
fn state_of_the_world_has_no_virtual_hosts() {
    Script::new(Protocol::Sotw).run(
        "
        = rds 80@1 | vhds 80/a@1
        > rds 80
        < rds 80
        > vhds 80/a
    ",
    );
}

#[test]
fn a_reconnecting_client_with_a_route_configuration_in_another_form_keeps_that_form() {
    let made = run("= rds 80@1 | rds whole@1 | vhds 80/any@1");
    let current = |name: &str| made.machine.snapshot.views[ResourceType::Route].get(name).expect("is there").version;
    let has_whole = |claims: &[(&str, Version)]| {
        let texts: Vec<_> = claims.iter().map(|(name, version)| (*name, version.to_string())).collect();
        let versions = texts.iter().map(|(name, version)| (*name, version.as_str())).collect();
        made.machine.has_whole_routes(ResourceType::Route, &Request { versions, ..Request::default() })
    };
    assert!(!has_whole(&[]), "it has nothing yet");
    assert!(!has_whole(&[("80", current("80"))]), "it has this form");
    assert!(has_whole(&[("80", Version(7))]), "it may be a whole one");
    assert!(!has_whole(&[("whole", Version(7))]), "there is no other form of this");
    assert!(!has_whole(&[("gone", Version(7))]));
}

#[test]
fn claims_for_a_route_configuration_that_was_just_sent_are_void() {
    run("
        = rds 80@1 | vhds 80/a@1 | vhds 80/any@1
        > rds 80
        < rds 80
        > vhds 80/a@1 80/any@1
        < vhds 80/a 80/any
    ");
}
